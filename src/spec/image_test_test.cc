// ImageTest: what is made of `image.test`, and what is said about a wrong one.
#include "spec/image_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "spec/app.h"

namespace kiln::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kHead =
    "app: web\nimage:\n  from: debian:bookworm\n  steps:\n    - packages: [nginx]\n  test:\n";

ImageTest read(const std::string& lines) { return parse_app(std::string(kHead) + lines).image.test; }

std::vector<std::string> texts(const ImageTest& test) {
  std::vector<std::string> all;
  for (const ImageCheck& check : test) all.push_back(check.text());
  return all;
}

std::string refused(const std::string& lines) {
  try {
    read(lines);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.message() + " / " + error.next();
  }
  ADD_FAILURE() << "accepted: " << lines;
  return {};
}

TEST(ImageTest, ReadsTheShortFormOfEachCheck) {
  EXPECT_THAT(
      texts(read("    - unit: nginx\n    - port: 80\n    - only_ports: [443, 80, 80]\n    - http: 8080\n"
                 "    - run: nginx -t\n    - boot: 10s\n    - memory: 200MiB\n    - file: /etc/nginx\n"
                 "    - no_secrets: true\n    - read_only: true\n")),
      ElementsAre("unit nginx.service", "port 80", "only ports 80 443", "http :8080/ 200", "run nginx -t",
                  "boot within 10s", "memory within 200 MiB", "file /etc/nginx", "no secrets", "read-only root"));
}

TEST(ImageTest, ReadsTheLongForms) {
  const ImageTest test = read(
      "    - unit: [nginx.service, backup.timer]\n"
      "    - http: {port: 80, path: /healthz, status: 204, body: o.k, headers: {Server: nginx}, timeout: 3s}\n"
      "    - run: {command: [cd /, ls], status: 2, output: no such, timeout: 5s}\n"
      "    - file: {path: /etc/a, mode: 0640, owner: root:33, content: \"a\\nb\"}\n"
      "    - file: {path: /etc/b, absent: true}\n"
      "    - no_secrets: {except: /etc/ssl/private/snakeoil.key}\n");
  EXPECT_THAT(texts(test), ElementsAre("unit nginx.service", "unit backup.timer",
                                       "http :80/healthz 204 Server~'nginx' body~'o.k' within 3s",
                                       "run cd / && ls status=2 output~'no such' within 5s",
                                       "file /etc/a mode=0640 owner=root:33 content=sha256:7e18f737311b",
                                       "file /etc/b absent", "no secrets but /etc/ssl/private/snakeoil.key"));
  EXPECT_EQ(test[0].where, (Location{7, 7}));
  EXPECT_EQ(test[1].where, (Location{7, 7}));
  EXPECT_EQ(test[2].where, (Location{8, 7}));
}

TEST(ImageTest, SaysWhereSomethingIsWrong) {
  EXPECT_THAT(refused("    - units: nginx\n"), HasSubstr("kiln.yaml:7:7: unknown key 'units'; did you mean 'unit'?"));
  EXPECT_THAT(refused("    - http: {body: \"[a\"}\n"), HasSubstr("kiln.yaml:7:20: '[a' is no regular expression"));
  EXPECT_THAT(refused("    - port: 70000\n"), HasSubstr("'port' must be a whole number from 1 to 65535"));
  EXPECT_THAT(refused("    - http: []\n"), HasSubstr("kiln.yaml:7:13: 'http' must be a whole number"));
  EXPECT_THAT(refused("    - unit: a\n      port: 80\n"), HasSubstr("exactly one of the keys"));
  EXPECT_THAT(refused("    - boot: 10\n"), HasSubstr("'boot' needs a unit: '10s'"));
  EXPECT_THAT(refused("    - memory: 200MB\n"), HasSubstr("a size such as 200MiB or 2GiB"));
  EXPECT_THAT(refused("    - file: {path: /a, absent: true, mode: 0644}\n"),
              HasSubstr("a file that is absent has no mode"));
  EXPECT_THAT(refused("    - file: {mode: 0644}\n"), HasSubstr("lacks the key 'path'"));
  EXPECT_THAT(refused("    - run: {status: 1}\n"), HasSubstr("lacks the key 'command'"));
  EXPECT_THAT(refused("    - read_only: false\n"), HasSubstr("'read_only' must be one of true"));
  EXPECT_THAT(refused("    - no_secrets: {except: a}\n"), HasSubstr("an absolute path"));
  EXPECT_THAT(refused("    []\n"), HasSubstr("'test' is empty"));
}

TEST(ImageTest, OfAFileWithoutOneIsEmpty) {
  EXPECT_TRUE(
      parse_app("app: web\nimage:\n  from: debian:bookworm\n  steps:\n    - packages: [nginx]\n").image.test.empty());
}

}  // namespace
}  // namespace kiln::spec
