// Unpack: what an archive may hold, and what is refused with nothing written outside.
#include "oci/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <memory>

#include "base/testing/errors.h"
#include "oci/export.h"

namespace kiln::oci {
namespace {

using testing::failure;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class UnpackTest : public ::testing::Test {
 protected:
  UnpackTest() { fs::create_directory(root()); }

  fs::path root() const { return folder_.path() / "root"; }
  fs::path archive_path() const { return folder_.path() / "a.tar"; }

  struct Entry {
    std::string name;
    mode_t type = AE_IFREG;
    std::string content{};
    std::string link{};
    bool hard = false;
    unsigned mode = 0644;
  };

  void write(const std::vector<Entry>& entries) {
    const std::unique_ptr<archive, int (*)(archive*)> out(archive_write_new(), &archive_write_free);
    archive_write_set_format_pax_restricted(out.get());
    ASSERT_EQ(archive_write_open_filename(out.get(), archive_path().c_str()), ARCHIVE_OK);
    for (const Entry& one : entries) {
      const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), &archive_entry_free);
      archive_entry_set_pathname(entry.get(), one.name.c_str());
      archive_entry_set_filetype(entry.get(), one.type);
      archive_entry_set_perm(entry.get(), one.mode);
      archive_entry_set_mtime(entry.get(), 1'000'000, 0);
      archive_entry_set_size(entry.get(), static_cast<la_int64_t>(one.content.size()));
      if (one.hard) archive_entry_set_hardlink(entry.get(), one.link.c_str());
      if (one.type == AE_IFLNK) archive_entry_set_symlink(entry.get(), one.link.c_str());
      ASSERT_EQ(archive_write_header(out.get(), entry.get()), ARCHIVE_OK) << archive_error_string(out.get());
      if (!one.content.empty()) archive_write_data(out.get(), one.content.data(), one.content.size());
    }
    ASSERT_EQ(archive_write_close(out.get()), ARCHIVE_OK);
  }

  std::string refusal(UnpackOptions options = {}) {
    options.owners = false;
    try {
      unpack(archive_path(), root(), options);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::invalid || error.code() == ErrorCode::corrupt) << error.what();
      return error.message();
    }
    return "nothing was refused";
  }

  host::TemporaryFolder folder_{"kiln-unpack-"};
};

TEST_F(UnpackTest, FilesFoldersAndLinksComeWithModesAndTimes) {
  write({{"./", AE_IFDIR, "", "", false, 0755},
         {"./etc/", AE_IFDIR, "", "", false, 0750},
         {"./etc/motd", AE_IFREG, "hello\n", "", false, 0640},
         {"./etc/again", AE_IFREG, "", "./etc/motd", true},
         {"./bin", AE_IFLNK, "", "usr/bin"},
         {"./etc/clock", AE_IFLNK, "", "/usr/share/zoneinfo/UTC"},
         {"./etc/up", AE_IFLNK, "", "../usr/bin"},
         {"./usr/bin/run", AE_IFREG, "#!", "", false, 04755},
         {"./dev/null", AE_IFCHR}});
  const Unpacked done = unpack(archive_path(), root(), {.owners = false});
  EXPECT_EQ(done.entries, 9U);
  EXPECT_EQ(done.bytes, 8U);
  EXPECT_EQ(host::read_file(root() / "etc/motd"), "hello\n");
  EXPECT_EQ(fs::hard_link_count(root() / "etc/motd"), 2U);
  EXPECT_EQ(fs::read_symlink(root() / "bin"), "usr/bin");
  EXPECT_EQ(fs::read_symlink(root() / "etc/clock"), "/usr/share/zoneinfo/UTC");
  EXPECT_FALSE(fs::exists(root() / "dev/null"));
  struct stat info {};
  ASSERT_EQ(::stat((root() / "usr/bin/run").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 04755U);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'000'000);
  ASSERT_EQ(::stat((root() / "etc").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0750U);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'000'000);
  // Not named in the archive: a folder as Kiln makes them.
  ASSERT_EQ(::stat((root() / "usr/bin").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0755U);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'704'067'200);
}

TEST_F(UnpackTest, NamesOfAnyBytesComeBackAsTheyWere) {
  fs::create_directories(folder_.path() / "tree/ü");
  host::write_file(folder_.path() / "tree/ü/ñ and \xff raw", "x");
  host::write_file(folder_.path() / ("tree/" + std::string(200, 'a')), "y");
  for (const Packing packing : {Packing::none, Packing::gzip, Packing::zstd}) {
    pack(folder_.path() / "tree", archive_path(), packing);
    fs::remove_all(root());
    fs::create_directory(root());
    unpack(archive_path(), root(), {.owners = false});
    EXPECT_EQ(host::read_file(root() / "ü/ñ and \xff raw"), "x");
    EXPECT_EQ(host::read_file(root() / std::string(200, 'a')), "y");
  }
}

TEST_F(UnpackTest, PackingIsTheSameBytesEveryTime) {
  fs::create_directories(folder_.path() / "tree/b");
  host::write_file(folder_.path() / "tree/b/one", "1");
  fs::create_hard_link(folder_.path() / "tree/b/one", folder_.path() / "tree/two");
  const Digest plain = pack(folder_.path() / "tree", folder_.path() / "1.tar", Packing::gzip);
  EXPECT_EQ(pack(folder_.path() / "tree", folder_.path() / "2.tar", Packing::gzip), plain);
  EXPECT_EQ(host::read_file(folder_.path() / "1.tar"), host::read_file(folder_.path() / "2.tar"));
  EXPECT_EQ(pack(folder_.path() / "tree", folder_.path() / "3.tar", Packing::none), plain);
  EXPECT_EQ(sha256(host::read_file(folder_.path() / "3.tar")), plain);
}

TEST_F(UnpackTest, NamesThatLeadOutAreRefused) {
  write({{"/etc/passwd", AE_IFREG, "x"}});
  EXPECT_THAT(refusal(), HasSubstr("'/etc/passwd' has an absolute name"));
  write({{"a/../../out", AE_IFREG, "x"}});
  EXPECT_THAT(refusal(), HasSubstr("'a/../../out' has '..' in its name"));
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

TEST_F(UnpackTest, NothingGoesThroughALink) {
  fs::create_directory(folder_.path() / "outside");
  write({{"way", AE_IFLNK, "", (folder_.path() / "outside").string()}, {"way/file", AE_IFREG, "x"}});
  EXPECT_THAT(refusal(), HasSubstr("'way' is a link"));
  EXPECT_TRUE(fs::is_empty(folder_.path() / "outside"));
}

TEST_F(UnpackTest, AFileIsNotWrittenThroughALinkOfItsName) {
  host::write_file(folder_.path() / "outside", "safe");
  write({{"name", AE_IFLNK, "", (folder_.path() / "outside").string()}, {"name", AE_IFREG, "x"}});
  EXPECT_THAT(refusal(), HasSubstr("'name' comes twice"));
  EXPECT_EQ(host::read_file(folder_.path() / "outside"), "safe");
}

TEST_F(UnpackTest, LinksThatLeadOutAreRefused) {
  write({{"a", AE_IFLNK, "", "../../etc"}});
  EXPECT_THAT(refusal(), HasSubstr("leads out of the root: ../../etc"));
  fs::remove_all(root());
  fs::create_directory(root());
  write({{"b", AE_IFREG, "", "/etc/passwd", true}});
  EXPECT_THAT(refusal(), HasSubstr("absolute name"));
  write({{"c", AE_IFREG, "", "not-there", true}});
  EXPECT_THAT(refusal(), HasSubstr("hard link to 'not-there', which is not in the archive"));
}

TEST_F(UnpackTest, DuplicatesAndDevicesAreRefused) {
  write({{"a", AE_IFREG, "1"}, {"./a", AE_IFREG, "2"}});
  EXPECT_THAT(refusal(), HasSubstr("'a' comes twice"));
  write({{"disk", AE_IFBLK}});
  EXPECT_THAT(refusal(), HasSubstr("'disk' is a device node"));
  write({{"d", AE_IFREG, "1"}, {"d/e", AE_IFREG, "2"}});
  EXPECT_THAT(refusal(), HasSubstr("'d' goes through a name that is no folder"));
}

TEST_F(UnpackTest, WhiteoutsBelongToLayersOnly) {
  write({{"etc/.wh.motd"}});
  EXPECT_THAT(refusal(), HasSubstr("whiteout"));
}

TEST_F(UnpackTest, AWhiteoutIsOverlayfsOwnAndYieldsToTheLayersFile) {
  write({{"etc/.wh.gone"}, {"etc/.wh.new"}, {"etc/new", AE_IFREG, "x"}});
  unpack(archive_path(), root(), {.whiteouts = true, .owners = false});
  struct stat info {};
  ASSERT_EQ(::lstat((root() / "etc/gone").c_str(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode) && info.st_rdev == 0);
  EXPECT_EQ(host::read_file(root() / "etc/new"), "x");
}

TEST_F(UnpackTest, FoldersThatALayerDoesNotNameAreAsBelow) {
  Folders below{{"srv", {.mode = 0700, .uid = 0, .gid = 0, .mtime_seconds = 42, .mtime_nanoseconds = 0}}};
  write({{"srv/file", AE_IFREG, "x"}});
  unpack(archive_path(), root(), {.owners = false, .folders = &below});
  struct stat info {};
  ASSERT_EQ(::stat((root() / "srv").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
  EXPECT_EQ(info.st_mtim.tv_sec, 42);
}

TEST_F(UnpackTest, LimitsHold) {
  write({{"big", AE_IFREG, std::string(3000, 'x')}});
  EXPECT_THAT(refusal({.limits = {.bytes = 2000}}), HasSubstr("larger than"));
  write({{"one"}, {"two"}, {"three"}});
  EXPECT_THAT(refusal({.limits = {.entries = 2}}), HasSubstr("'three' is one too many"));
}

TEST_F(UnpackTest, AZipBombIsRefusedBeforeItIsUnpacked) {
  fs::create_directory(folder_.path() / "tree");
  host::write_file(folder_.path() / "tree/zeros", std::string(8U << 20, '\0'));
  pack(folder_.path() / "tree", archive_path(), Packing::gzip);
  EXPECT_THAT(refusal({.limits = {.ratio = 100, .ratio_from = 1U << 20}}), HasSubstr("zip bomb"));
  EXPECT_LE(fs::file_size(root() / "zeros"), 2U << 20);
}

TEST_F(UnpackTest, CutOrForeignBytesAreNoArchive) {
  write({{"file", AE_IFREG, std::string(5000, 'x')}});
  fs::resize_file(archive_path(), 2000);
  EXPECT_THAT(refusal(), HasSubstr("no whole tar archive"));
  host::write_file(archive_path(), "this is no archive at all, whatever its name says");
  EXPECT_THAT(refusal(), HasSubstr("no whole tar archive"));
  host::write_file(archive_path(), "");
  EXPECT_THAT(refusal(), HasSubstr("empty"));
  fs::create_directory(folder_.path() / "tree");
  host::write_file(folder_.path() / "tree/f", std::string(100'000, 'y'));
  pack(folder_.path() / "tree", archive_path(), Packing::gzip);
  fs::resize_file(archive_path(), fs::file_size(archive_path()) - 20);
  fs::remove_all(root());
  fs::create_directory(root());
  EXPECT_THAT(refusal(), HasSubstr("no whole tar archive"));
}

TEST_F(UnpackTest, ATarThatIsCutBetweenTwoEntriesIsNoticed) {
  // Two entries of a header and a block each, then the zeros. The first file's own zeros are none of these.
  write({{"one", AE_IFREG, std::string(512, '\0')}, {"two", AE_IFREG, "2"}});
  const std::string whole = host::read_file(archive_path());
  const auto refusal_of = [&](std::size_t bytes, bool must_end) {
    host::write_file(archive_path(), whole.substr(0, bytes));
    fs::remove_all(root());
    fs::create_directory(root());
    return refusal({.must_end = must_end});
  };
  EXPECT_EQ(refusal_of(whole.size(), true), "nothing was refused");
  EXPECT_THAT(refusal_of(2048, true), HasSubstr("cut after 2 entries"));
  EXPECT_THAT(refusal_of(1024, true), HasSubstr("cut after 1 entries"));
  EXPECT_THAT(refusal_of(1536, true), HasSubstr("no whole tar archive"));
  EXPECT_EQ(refusal_of(2048, false), "nothing was refused");
}

TEST_F(UnpackTest, TheContentsDigestIsThatOfTheTarHoweverItWasPacked) {
  fs::create_directories(folder_.path() / "tree");
  host::write_file(folder_.path() / "tree/f", std::string(100'000, 'y'));
  for (const Packing packing : {Packing::none, Packing::gzip, Packing::zstd}) {
    const Digest content = pack(folder_.path() / "tree", archive_path(), packing);
    fs::remove_all(root());
    fs::create_directory(root());
    EXPECT_EQ(unpack(archive_path(), root(), {.owners = false}).content, content);
  }
}

TEST_F(UnpackTest, ItEndsWhenItIsCancelled) {
  write({{"one"}, {"two"}});
  const Error error = failure([&] {
    unpack(archive_path(), root(), {.owners = false, .cancelled = [&] { return fs::exists(root() / "one"); }});
  });
  EXPECT_EQ(error.code(), ErrorCode::cancelled);
  EXPECT_FALSE(fs::exists(root() / "two"));
}

TEST_F(UnpackTest, WhatIsNotThereIsNamed) {
  EXPECT_THROW(unpack(folder_.path() / "none.tar", root(), {}), Error);
  EXPECT_THROW(unpack(folder_.path(), root(), {}), Error);
}

}  // namespace
}  // namespace kiln::oci
