// Credentials: the files and helpers of docker, podman and skopeo.
#include "registry/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/encoding.h"
#include "base/testing/errors.h"
#include "host/file.h"

namespace kiln::registry {
namespace {

using testing::failure;
using ::testing::HasSubstr;

class CredentialsTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& content, unsigned mode = 0600) {
    host::make_folders((folder_.path() / name).parent_path());
    host::write_file(folder_.path() / name, content, mode);
  }
  std::optional<Credentials> find(const std::string& registry, const std::string& repository = "team/web") {
    return find_credentials(registry, repository, [this](const char* name) -> std::optional<std::string> {
      const auto found = env_.find(name);
      return found == env_.end() ? std::nullopt : std::optional(found->second);
    });
  }
  static std::string auth(const std::string& pair) { return R"({"auth":")" + base64_encode(pair) + "\"}"; }

  host::TemporaryFolder folder_{"credentials-test-"};
  std::map<std::string, std::string> env_{{"HOME", folder_.path().string()}};
};

TEST_F(CredentialsTest, NobodyIsAnonymous) { EXPECT_EQ(find("a.b"), std::nullopt); }

TEST_F(CredentialsTest, ThoseOfTheEnvironmentAreForOneRegistryOnly) {
  env_["KILN_REGISTRY_USER"] = "ana";
  env_["KILN_REGISTRY_PASSWORD"] = "secret";
  EXPECT_THROW(find("a.b"), Error);
  env_["KILN_REGISTRY_HOST"] = "a.b";
  EXPECT_EQ(find("a.b")->user, "ana");
  EXPECT_EQ(find("a.b")->password, "secret");
  EXPECT_EQ(find("other.b"), std::nullopt);
}

TEST_F(CredentialsTest, AFileKnowsRegistriesAndPartsOfThem) {
  write(".docker/config.json", R"({"auths":{"a.b":)" + auth("all:1:2") + R"(,"a.b/team":)" + auth("team:3") +
                                   R"(,"https://c.d/v1/":)" + auth("old:4") + R"(,"https://index.docker.io/v1/":)" +
                                   auth("hub:5") + R"(,"e.f":{"identitytoken":"t"}}})");
  EXPECT_EQ(find("a.b", "other")->user, "all");
  EXPECT_EQ(find("a.b", "other")->password, "1:2");
  EXPECT_EQ(find("a.b", "team/web")->user, "team");
  EXPECT_EQ(find("c.d")->user, "old");
  EXPECT_EQ(find("docker.io")->user, "hub");
  EXPECT_EQ(find("e.f")->identity_token, "t");
  EXPECT_EQ(find("a.b.evil"), std::nullopt);
}

TEST_F(CredentialsTest, TheFirstFileThatKnowsTheRegistryCounts) {
  write(".docker/config.json", R"({"auths":{"a.b":)" + auth("docker:1") + R"(,"c.d":)" + auth("docker:1") + "}}");
  write("run/containers/auth.json", R"({"auths":{"a.b":)" + auth("podman:1") + "}}");
  env_["XDG_RUNTIME_DIR"] = folder_.path() / "run";
  EXPECT_EQ(find("a.b")->user, "podman");
  EXPECT_EQ(find("c.d")->user, "docker");
  write("named.json", R"({"auths":{"a.b":)" + auth("named:1") + "}}");
  env_["REGISTRY_AUTH_FILE"] = folder_.path() / "named.json";
  EXPECT_EQ(find("a.b")->user, "named");
}

TEST_F(CredentialsTest, AFileThatCannotBeReadIsAnErrorThatNamesIt) {
  for (const std::string content :
       {"", "{", "[]", R"({"auths":{"a.b":{"auth":"%%%"}}})", R"({"auths":{"a.b":{"auth":"YQ=="}}})",
        R"({"credHelpers":{"a.b":"../../bin/sh"}})"}) {
    write(".docker/config.json", content);
    const Error error = failure([&] { find("a.b"); });
    EXPECT_EQ(error.code(), ErrorCode::usage) << content;
    EXPECT_THAT(error.what(), HasSubstr(".docker/config.json"));
  }
}

TEST_F(CredentialsTest, AHelperIsAskedAndItsFailureIsOurs) {
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (folder_.path().string() + ":" + path).c_str(), 1);
  write(".docker/config.json", R"({"credHelpers":{"a.b":"kiln-test"},"credsStore":"kiln-test","auths":{"c.d":{}}})");
  write("docker-credential-kiln-test",
        "#!/bin/sh\nread server\n[ \"$server\" = c.d ] && { echo no such >&2; exit 1; }\n"
        "echo '{\"ServerURL\":\"a.b\",\"Username\":\"helped\",\"Secret\":\"s\"}'\n",
        0755);
  EXPECT_EQ(find("a.b")->user, "helped");
  EXPECT_EQ(find("a.b")->password, "s");
  const Error error = failure([&] { find("c.d"); });
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.what(), HasSubstr("no such"));
  write("docker-credential-kiln-test", "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"t\"}'\n", 0755);
  EXPECT_EQ(find("a.b")->identity_token, "t");
  ::setenv("PATH", path.c_str(), 1);
}

}  // namespace
}  // namespace kiln::registry
