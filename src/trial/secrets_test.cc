// Secrets: found where they show, in folders as overlayfs would stack them.
#include "trial/secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/process.h"

namespace kiln::trial {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::string kKey =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n" + std::string(200, 'A') + "\n-----END OPENSSH PRIVATE KEY-----\n";

class Secrets : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& content) {
    host::make_folders((folder_.path() / path).parent_path());
    host::write_file(folder_.path() / path, content);
  }
  std::vector<std::string> found(const std::vector<std::string>& except = {}) const {
    return secrets_in({folder_.path() / "top", folder_.path() / "base"}, except);
  }
  host::TemporaryFolder folder_{"kiln-secrets"};
};

TEST_F(Secrets, AreFoundByNameAndByContent) {
  write("base/etc/ssh/ssh_host_ed25519_key", "key");
  write("base/etc/ssh/ssh_host_ed25519_key.pub", "public");
  write("base/root/.ssh/authorized_keys", "ssh-ed25519 AAAA");
  write("base/root/.bash_history", "ls\n");
  write("top/opt/app/tls.pem", kKey);
  write("top/home/a/.aws/credentials", "[default]\n");
  write("top/home/a/.docker/config.json", "{}");
  write("top/home/b/.docker/config.json", R"({"auths":{"r":{"auth":"eA=="}}})");
  write("top/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  EXPECT_THAT(
      found(),
      ElementsAre("/etc/machine-id: every instance would be the same machine",
                  "/etc/ssh/ssh_host_ed25519_key: an ssh host key", "/home/a/.aws/credentials: credentials of AWS",
                  "/home/b/.docker/config.json: credentials of a registry", "/opt/app/tls.pem: a private key",
                  "/root/.bash_history: a shell's history", "/root/.ssh/authorized_keys: keys that may log in"));
}

TEST_F(Secrets, OfACleanImageAreNone) {
  write("base/etc/machine-id", "uninitialized\n");
  write("base/etc/ssh/ssh_host_rsa_key", "");
  write("base/root/.bash_history", "");
  write("base/usr/share/doc/keys.txt", kKey);  // documentation of a package
  write("base/var/lib/text", "-----BEGIN PRIVATE KEY----- is how one begins -----");
  write("top/opt/a", "x");
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_THAT(secrets_in({}), IsEmpty());
}

TEST_F(Secrets, ThatAnUpperLayerReplacesDoNotShow) {
  write("base/root/.netrc", "machine a password b");
  write("base/opt/a/tls.pem", kKey);
  write("top/root/.netrc", "");
  write("top/opt/a", "a file where a folder was");
  write("base/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  write("top/etc/machine-id", "");
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(Secrets, MayBeExceptedByTheirPath) {
  write("base/etc/ssl/private/ssl-cert-snakeoil.key", kKey);
  EXPECT_THAT(found(), ElementsAre("/etc/ssl/private/ssl-cert-snakeoil.key: a private key"));
  EXPECT_THAT(found({"/etc/ssl/private/ssl-cert-snakeoil.key"}), IsEmpty());
}

// The same table, asked in the two ways.
TEST_F(Secrets, AreFoundAlikeByAScriptOnTheDiskItself) {
  write("disk/etc/ssh/ssh_host_rsa_key", kKey);
  write("disk/etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA");
  write("disk/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
  write("disk/root/.ssh/authorized_keys", "ssh-ed25519 AAAA");
  write("disk/root/.docker/config.json", "{}");
  write("disk/home/a/.docker/config.json", R"({"auths": {"x": {"auth": "eA=="}}})");
  write("disk/home/a/.bash_history", "ls");
  write("disk/opt/it's here/tls.pem", "text before\n" + std::string(kKey));
  write("disk/var/lib/text", "-----BEGIN PRIVATE KEY----- is how one begins -----");
  write("disk/usr/share/doc/keys.txt", kKey);
  write("disk/srv/empty/.netrc", "");
  const host::Path disk = folder_.path() / "disk";
  host::Command command;
  command.argv = {"/bin/sh", "-c", secrets_question(disk.string())};
  const auto answer = host::run(command);
  ASSERT_EQ(answer.status, 0) << answer.err;
  const auto layers = secrets_in({disk});
  EXPECT_EQ(layers.size(), 6U);
  EXPECT_THAT(read_secrets(answer.out), testing::UnorderedElementsAreArray(layers));
  EXPECT_EQ(read_secrets(answer.out, {"/etc/machine-id"}).size(), 5U);
}

TEST_F(Secrets, AreCountedUpToABound) {
  for (int i = 0; i < 40; ++i) write("base/opt/" + std::to_string(i) + "/.netrc", "x");
  EXPECT_EQ(found().size(), 20U);
}

}  // namespace
}  // namespace kiln::trial
