// App: what parse_app makes of a file, and what it says about a wrong one.
#include "spec/app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace kiln::spec {
namespace {

using testing::HasSubstr;

constexpr std::string_view kWhole = R"(app: web
image:
  from: debian:bookworm
  version: 1.4.2
  steps:
    - packages: [nginx, curl=7.88.1-10]
    - copy: {from: site/, to: /var/www/html/, mode: 0644, owner: 33:33}
    - run: [echo a, "echo b"]
    - enable: [nginx, backup.timer]
  writable: [/var/log/nginx/, /var/lib/nginx, /var/log/nginx]
fleet:
  size: 4
  instance_type: t3.small
  listen: {port: 8080}
  health: {path: /healthz, interval: 5s}
  drain: 10s
deploy:
  strategy: rolling
  bake: 2m
  rollback: manual
environments:
  staging: {endpoint: local, fleet: {size: 1}}
  production: {region: eu-west-1, deploy: {bake: 1h}}
)";

constexpr std::string_view kSmall = "app: web\nimage:\n  from: debian:bookworm\n  steps:\n    - packages: [nginx]\n";

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The error of kSmall with `lines` after it.
Error refused(std::string_view text) {
  try {
    parse_app(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    return error;
  }
  ADD_FAILURE() << "accepted: " << text;
  return {ErrorCode::internal, ""};
}

Error refused_after_small(const std::string& lines) { return refused(std::string(kSmall) + lines); }

TEST(App, ReadsEveryKey) {
  const App app = parse_app(kWhole);
  EXPECT_EQ(app.name, "web");
  EXPECT_EQ(app.image.base, Base{DebianBase{"bookworm"}});
  EXPECT_EQ(app.image.version_kind, VersionKind::literal);
  EXPECT_EQ(app.image.version, "1.4.2");
  ASSERT_EQ(app.image.steps.size(), 4U);
  EXPECT_EQ(app.image.steps[0].text(), "packages nginx curl=7.88.1-10");
  EXPECT_EQ(app.image.steps[1].text(), "copy site/ /var/www/html/ mode=0644 owner=33:33");
  EXPECT_EQ(app.image.steps[2].text(), "run echo a && echo b");
  EXPECT_EQ(app.image.steps[3].text(), "enable nginx.service backup.timer");
  EXPECT_EQ(app.image.steps[1].where, (Location{7, 7}));
  EXPECT_THAT(*app.image.writable, testing::ElementsAre("/var/lib/nginx", "/var/log/nginx"));
  EXPECT_EQ(app.fleet->instance_type, "t3.small");
  EXPECT_EQ(app.fleet->drain, std::chrono::seconds(10));
  EXPECT_EQ(app.deploy.bake, std::chrono::minutes(2));
  EXPECT_EQ(app.deploy.rollback, Rollback::manual);
}

TEST(App, FillsInWhatTheFileLeavesOut) {
  const App app = parse_app(kWhole);
  EXPECT_EQ(app.fleet->min, 4);
  EXPECT_EQ(app.fleet->max, 8);
  EXPECT_EQ(app.fleet->listen.target_port, 8080);
  EXPECT_EQ(app.fleet->health.timeout, std::chrono::seconds(4)) << "below the interval";

  const App small = parse_app(kSmall);
  EXPECT_EQ(small.image.version_kind, VersionKind::git);
  EXPECT_FALSE(small.image.writable.has_value());
  EXPECT_FALSE(small.fleet.has_value());
  ASSERT_EQ(small.environments.size(), 1U);
  EXPECT_EQ(small.environment("").name, "local");
  EXPECT_TRUE(small.environment("local").local);
}

TEST(App, AnEnvironmentOverridesOnlyWhatItNames) {
  const App app = parse_app(kWhole);
  const Environment& staging = app.environment("staging");
  EXPECT_TRUE(staging.local);
  EXPECT_EQ(staging.fleet->size, 1);
  EXPECT_EQ(staging.fleet->max, 2);
  EXPECT_EQ(staging.fleet->instance_type, "t3.small");
  const Environment& production = app.environment("production");
  EXPECT_FALSE(production.local);
  EXPECT_EQ(production.endpoint, "");
  EXPECT_EQ(production.region, "eu-west-1");
  EXPECT_EQ(production.fleet->size, 4);
  EXPECT_EQ(production.deploy.bake, std::chrono::hours(1));
  EXPECT_EQ(app.environment("").name, "staging");
}

TEST(App, ReadsWhatADeploymentAsksOfAnImage) {
  const App app =
      parse_app(std::string(kSmall) +
                "deploy: {requires: [signed]}\nenvironments:\n  strict: {endpoint: local, deploy: {requires: "
                "[tested, signed]}}\n  lax: {endpoint: local, deploy: {requires: []}}\n  as: {endpoint: local}\n");
  const auto asks = [&](const char* name) {
    const DeploySpec& deploy = app.environment(name).deploy;
    return std::pair(deploy.tested, deploy.is_signed);
  };
  EXPECT_EQ(asks("strict"), std::pair(true, true));
  EXPECT_EQ(asks("lax"), std::pair(false, false));
  EXPECT_EQ(asks("as"), std::pair(false, true));
  EXPECT_THAT(refused_after_small("deploy: {requires: [sined]}\n").message(),
              HasSubstr("must be one of tested, signed"));
}

TEST(App, AnUnknownEnvironmentIsAnsweredWithTheNearest) {
  const App app = parse_app(kWhole);
  try {
    app.environment("prodution");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("did you mean 'production'?"));
  }
}

TEST(App, AnUnknownKeyIsQuotedWithLineColumnAndTheNearestKey) {
  const Error error = refused("app: web\nimage:\n  from: debian:bookworm\n  steps:\n    - pakages: [nginx]\n");
  EXPECT_EQ(error.message(),
            "kiln.yaml:5:7: unknown key 'pakages'; did you mean 'packages'?\n"
            "      - pakages: [nginx]\n"
            "        ^");
  EXPECT_EQ(error.next(), "known here: packages, copy, template, run, enable, disable, user, host, name, after");
}

struct Wrong {
  const char* lines;
  const char* message;
};

class WrongFile : public testing::TestWithParam<Wrong> {};

TEST_P(WrongFile, IsRefusedAtItsPlace) {
  EXPECT_THAT(refused_after_small(GetParam().lines).message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    App, WrongFile,
    testing::Values(
        Wrong{"fleet: {size: four}\n", "kiln.yaml:6:15: 'size' must be a whole number from 0 to 1000, not 'four'"},
        Wrong{"fleet: {size: \"4\"}\n", "'size' must be a whole number"}, Wrong{"fleet: {size: 1001}\n", "not '1001'"},
        Wrong{"fleet: {size: 4, drain: 10}\n", "'drain' needs a unit: '10s' or '10m'?"},
        Wrong{"fleet: {size: 4, drain: 10parsec}\n", "'drain' must be a time from 0s to 1h"},
        Wrong{"fleet: {size: 4, drain: 1500ms}\n", "'drain' must be whole seconds"},
        Wrong{"fleet: {size: 4, drain: 2h}\n", "not '2h'"},
        Wrong{"fleet: {size: 4, max: 3}\n", "'min' (4), 'size' (4) and 'max' (3) must be in this order"},
        Wrong{"fleet: {size: 4, health: {interval: 5s, timeout: 5s}}\n",
              "'timeout' (5s) must be less than 'interval' (5s)"},
        Wrong{"fleet: {size: 4, listen: {port: 65536}}\n", "from 1 to 65535"},
        Wrong{"fleet: {drain: 4s}\n", "'fleet' lacks the key 'size'"},
        Wrong{"fleet: [4]\n", "'fleet' must be a mapping with the keys size, "}, Wrong{"fleet:\n", "not nothing"},
        Wrong{"fleet: {size: 1, size: 2}\n", "kiln.yaml:6:18: the key 'size' is there twice"},
        Wrong{"app: again\n", "the key 'app' is there twice"},
        Wrong{"deploy: {strategy: canary}\n", "the strategy 'canary' is not served by this version"},
        Wrong{"deploy: {strategy: roling}\n", "'strategy' must be one of rolling, not 'roling'"},
        Wrong{"deploy: {alarms: [web-5xx]}\n", "the key 'alarms' is not served by this version"},
        Wrong{"environments: {staging: {fleet: {size: 1}}}\n", "'staging' does not say where it is"},
        Wrong{"environments: {staging: {endpoint: local, fleet: {size: 1}}}\n", "there is no 'fleet' to override"},
        Wrong{"environments: {Staging: {endpoint: local}}\n", "a name in 'environments' must be lower-case"},
        Wrong{"environments: {}\n", "'environments' is empty"},
        Wrong{"deploy: &a {bake: 1m}\nfleet: *a\n", "kiln.yaml:7:8: aliases ('*name') are not read"},
        Wrong{"deploy: !!map {bake: 1m}\n", "is not read"}, Wrong{"deploy: {bake: 1m\n", "not YAML"},
        Wrong{"---\napp: other\n", "a second document"}, Wrong{"? [a]\n: b\n", "a key must be a word"}));

struct WrongStep {
  const char* step;
  const char* message;
};

class WrongImage : public testing::TestWithParam<WrongStep> {};

TEST_P(WrongImage, IsRefusedAtItsPlace) {
  const std::string text =
      std::string("app: web\nimage:\n  from: debian:bookworm\n  steps:\n    - ") + GetParam().step + "\n";
  EXPECT_THAT(refused(text).message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    App, WrongImage,
    testing::Values(WrongStep{"packages: []", "'packages' is empty"},
                    WrongStep{"packages: nginx", "'packages' must be a list"},
                    WrongStep{"packages: [--purge]", "must be a Debian package"},
                    WrongStep{"packages: [nginx-]", "must be a Debian package"},
                    WrongStep{"copy: {from: site}", "'copy' lacks the key 'to'"},
                    WrongStep{"copy: {from: ../site, to: /x}", "must not contain '..'"},
                    WrongStep{"copy: {from: /etc/passwd, to: /x}", "below this file's folder"},
                    WrongStep{"copy: {from: a, to: x}", "'to' must be an absolute path, not 'x'"},
                    WrongStep{"copy: {from: a, to: /x, mode: 999}", "a file mode in octal"},
                    WrongStep{"copy: {from: a, to: /x, owner: 33}", "user:group as names or numbers"},
                    WrongStep{"{run: a, enable: b}", "kiln.yaml:5:16: 'steps' must have exactly one of the keys"},
                    WrongStep{"{}", "exactly one of the keys"},
                    WrongStep{"template: x", "'template' must be a mapping"},
                    WrongStep{"enable: 'a b'", "'enable' must be a systemd unit"},
                    WrongStep{"run: ''", "'run' must be a shell command"}));

TEST(App, TheNameAndTheVersionMustBeUsable) {
  EXPECT_THAT(refused("app: Web\nimage: {from: debian:bookworm, steps: [{run: a}]}").message(),
              HasSubstr("'app' must be lower-case"));
  EXPECT_THAT(refused("app: web\nimage: {from: debian:sid, steps: [{run: a}]}").message(),
              HasSubstr("'from' must be one of debian:bookworm"));
  for (const char* version : {"1.0", "01.0.0", "v1.0.0", "1.10", "latest"}) {
    const std::string text =
        std::string("app: web\nimage: {from: debian:bookworm, steps: [{run: a}], version: ") + version + "}";
    EXPECT_THAT(refused(text).message(), HasSubstr("'version' must be a version such as 1.4.2"));
  }
}

TEST(App, NamesThatAreTooLongTogetherAreRefused) {
  const std::string text =
      "app: a23456789012345678901234\nimage: {from: debian:bookworm, steps: [{run: a}]}\nenvironments: {e234567: "
      "{endpoint: local}, e2345678: "
      "{endpoint: local}}\n";
  EXPECT_THAT(refused(text).message(), HasSubstr("longer than the 32 characters"));
}

TEST(App, EmptyDeepAndHugeFilesAreRefused) {
  EXPECT_THAT(refused("").message(), HasSubstr("must be a mapping"));
  EXPECT_THAT(refused("# only a comment\n").message(), HasSubstr("must be a mapping"));
  EXPECT_THAT(refused("app: " + std::string(100, '[')).message(), HasSubstr("nested deeper"));
  EXPECT_THAT(refused(std::string(100'000, '[')).message(), HasSubstr("nested deeper"));
  EXPECT_THAT(refused(std::string(kAppFileBytesMax + 1, '#')).message(), HasSubstr("bytes; at most"));
  std::string many = "app: [";
  for (int i = 0; i < 20'000; ++i) many += "a,";
  EXPECT_THAT(refused(many + "]").message(), HasSubstr("more than 10000 values"));
}

// At every seventh byte, which is another place in each line; the fuzzer goes on from there.
TEST(App, CutOffAnywhereItIsReadOrRefusedAndNeverMore) {
  int accepted = 0;
  for (std::size_t size = 0; size < kWhole.size(); size += 7) {
    try {
      parse_app(kWhole.substr(0, size));
      ++accepted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << size;
    }
  }
  EXPECT_GT(accepted, 0);
}

TEST(App, ReadsTheRulesOfChannels) {
  const std::string head = "app: web\nimage: {from: debian:bookworm, steps: [{packages: [nginx]}]}\n";
  const App app = parse_app(head +
                            "channels:\n  staging: {requires: [tested]}\n"
                            "  production: {requires: [tested, signed], from: staging, deployed: local, "
                            "approved_by: ana@forge}\n");
  ASSERT_EQ(app.channels.size(), 2u);
  EXPECT_TRUE(app.channels[0].tested);
  EXPECT_FALSE(app.channels[0].is_signed);
  EXPECT_EQ(app.channels[1].name, "production");
  EXPECT_TRUE(app.channels[1].is_signed);
  EXPECT_EQ(app.channels[1].from, "staging");
  EXPECT_EQ(app.channels[1].deployed, "local");
  EXPECT_EQ(app.channels[1].approved_by, std::vector<std::string>{"ana@forge"});
  EXPECT_TRUE(parse_app(head).channels.empty());
  EXPECT_THAT(refused(head + "channels: {latest: {}}\n").message(), HasSubstr("baked last"));
  EXPECT_THAT(refused(head + "channels: {dev: {from: tset}}\n").message(), HasSubstr("no other channel"));
  EXPECT_THAT(refused(head + "channels: {dev: {from: dev}}\n").message(), HasSubstr("no other channel"));
  EXPECT_THAT(refused(head + "channels: {dev: {deployed: mars}}\n").message(), HasSubstr("no environment"));
  EXPECT_THAT(refused(head + "channels: {dev: {requires: [luck]}}\n").message(), HasSubstr("luck"));
}

TEST(App, TheExampleIsAccepted) {
  const App app = parse_app(read(KILN_SOURCE_DIR "/examples/web/kiln.yaml"));
  EXPECT_EQ(app.name, "web");
  EXPECT_EQ(app.fleet->size, 4);
}

TEST(Schema, ThePublishedOneIsMadeFromTheTableOfKeys) {
  EXPECT_EQ(read(KILN_SOURCE_DIR "/docs/kiln.schema.json"), json_schema())
      << "write it anew: kiln_spec_schema > docs/kiln.schema.json";
}

}  // namespace
}  // namespace kiln::spec
