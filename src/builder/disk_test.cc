// Disk: what the script says of a disk is what a walk over its files says.
#include "builder/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "builder/ami_image.h"
#include "host/process.h"
#include "proof/sbom.h"

namespace kiln::builder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class DiskTest : public testing::Test {
 protected:
  DiskTest() { host::make_folders("/run"); }
  void write(const std::string& path, const std::string& content, unsigned mode = 0644) {
    host::make_folders((root() / path).parent_path());
    host::write_file(root() / path, content, mode);
  }
  host::Path root() const { return folder_.path() / "disk"; }
  std::string ask() const {
    host::Command command;
    command.argv = {"/bin/sh", "-c", disk_question(root().string())};
    return host::run_checked(command).out;
  }

  void install() {
    write(
        "var/lib/dpkg/status",
        "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2-3\nConffiles:\n /etc/tool.conf "
        "098f6bcd4621d373cade4e832627b4f6\n\n");
    // The MD5 of "tool" is that; of /usr/bin/changed another one.
    write("var/lib/dpkg/info/tool.md5sums",
          "39ab32c5aeb56c9f5ae17f073ce31023  bin/tool\n39ab32c5aeb56c9f5ae17f073ce31023  usr/bin/changed\n");
    write("var/lib/dpkg/info/tool.list", "/.\n/bin/tool\n/usr/bin/changed\n/etc/tool.conf\n");
    write("usr/bin/tool", "tool", 0755);
    write("usr/bin/changed", "other");
    write("etc/tool.conf", "test");
    write("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    write("usr/share/doc/tool/copyright",
          "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: a\n b\n"
          "License: MIT\n text\n\nLicense: MIT\n the text\n");
    write("srv/own page", "mine");
    write("srv/back\\slash and\nline", "odd");
    write("root/.netrc", "machine a");
    std::filesystem::create_symlink("usr/bin", root() / "bin");
  }

  host::TemporaryFolder folder_{"kiln-disk"};
};

TEST_F(DiskTest, GivesTheInventoryThatAWalkGives) {
  install();
  const auto walked = proof::take_inventory({proof::read_layer(root())});
  const auto asked = proof::take_inventory({read_disk(ask()).contents});
  EXPECT_EQ(asked.distribution, "debian");
  EXPECT_EQ(asked.release, "12");
  EXPECT_EQ(asked.packages, walked.packages);
  ASSERT_EQ(asked.packages.size(), 1U);
  EXPECT_EQ(asked.packages[0].licence, "MIT");
  EXPECT_EQ(asked.files, walked.files);
  std::vector<std::string> loose;
  for (const auto& file : asked.files) loose.push_back(file.path + (file.changed_from.empty() ? "" : " of tool"));
  EXPECT_THAT(loose, ElementsAre("/etc/os-release", "/root/.netrc", "/srv/back\\slash and\nline", "/srv/own page",
                                 "/usr/bin/changed of tool", "/usr/share/doc/tool/copyright"));
}

TEST_F(DiskTest, ListsEveryFileWithItsModeAndContent) {
  install();
  const Disk disk = read_disk(ask());
  const proof::FileRecord& tool = disk.contents.files.at("/usr/bin/tool");
  EXPECT_EQ(tool.type, 'f');
  EXPECT_EQ(tool.mode, 0755U);
  EXPECT_EQ(tool.size_bytes, 4U);
  EXPECT_EQ(tool.sha256, sha256("tool").hex());
  EXPECT_EQ(disk.contents.files.at("/bin").target, "usr/bin");
  EXPECT_EQ(disk.contents.files.at("/srv").type, 'd');
  EXPECT_EQ(disk.contents.files.at("/srv/back\\slash and\nline").sha256, sha256("odd").hex());
  EXPECT_THAT(disk.contents.texts.at("/var/lib/dpkg/status"), HasSubstr("Version: 1.2-3"));
  EXPECT_EQ(disk.secrets, "/root/.netrc: passwords\n");
}

TEST_F(DiskTest, OfADiskWithoutPackagesIsAllOfItsFiles) {
  write("a/b", "x");
  const Disk disk = read_disk(ask());
  const auto inventory = proof::take_inventory({disk.contents});
  EXPECT_TRUE(inventory.packages.empty());
  ASSERT_EQ(inventory.files.size(), 1U);
  EXPECT_EQ(inventory.files[0].path, "/a/b");
}

TEST_F(DiskTest, ThatWasCutIsCorrupt) {
  write("a/b", "x");
  const std::string answer = ask();
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, answer.size() / 2, answer.size() - 20}) {
    try {
      read_disk(answer.substr(0, size));
      ADD_FAILURE() << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
    }
  }
}

TEST_F(DiskTest, StandsInTheStoreForAnImageThatOnlyAwsHas) {
  store::Store store(folder_.path() / "store");
  const AmiImage image{"123456789012", "us-east-1", "ami-1", "snap-1", "ami-0"};
  const Digest digest = keep_ami(store, image, "disk");
  EXPECT_EQ(keep_ami(store, image, "disk"), digest);
  EXPECT_NE(keep_ami(store, {"123456789012", "us-east-1", "ami-2", "snap-2", "ami-0"}, "disk"), digest);
  const auto found = find_ami(store, digest);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->ami + found->snapshot + found->base, "ami-1snap-1ami-0");
  EXPECT_EQ(disk_of(store, digest), "disk");
  EXPECT_TRUE(store.images().empty()) << "no machine is run from it";
  EXPECT_FALSE(find_ami(store, sha256("nobody")));
  // What is said about it lies beside it.
  const std::string text = "{}";
  store.add_artifact(digest, "a/b", {{store.put(text), text.size(), "a/b"}}, {});
  EXPECT_EQ(store.artifacts_of(digest).size(), 1U);
}

}  // namespace
}  // namespace kiln::builder
