// What is in one layer: a folder walked, and what is kept of it, byte for byte.
#include "proof/layer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace kiln::proof {
namespace {

using namespace std::string_literals;
namespace fs = std::filesystem;

LayerContents sample() {
  LayerContents layer;
  layer.files = {{"/a b\n\xc3\xa4", {3, "0a", "0b", "0c", 'f', 04755, 1000, 33, ""}},
                 {"/\xff", {0, "", "", "", 'd', 0755, 0, 0, ""}},
                 {"/l", {0, "", "", "", 'l', 0777, 0, 0, "../x"}}};
  layer.removed = {"/r"};
  layer.opaque = {"/o"};
  layer.texts = {{"/var/lib/dpkg/status", "Package: p\n\0with a NUL"s}, {"/etc/os-release", ""}};
  return layer;
}

TEST(Layers, AreReadFromAFolderWithoutFollowingLinks) {
  const host::TemporaryFolder folder("kiln-proof-layer-");
  host::make_folders(folder.path() / "usr/share/doc/x");
  host::make_folders(folder.path() / "var/lib/dpkg/info");
  host::write_file(folder.path() / "hello", "hello");
  ASSERT_EQ(::chmod((folder.path() / "hello").c_str(), 04711), 0);
  host::write_file(folder.path() / "var/lib/dpkg/info/x.list", "/hello\n");
  host::write_file(folder.path() / "usr/share/doc/x/copyright", "Format: x\n\nFiles: *\nLicense: Expat\n");
  fs::create_symlink("/etc/passwd", folder.path() / "out");
  fs::create_symlink("loop", folder.path() / "loop");
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  const LayerContents contents = read_layer(folder.path());
  const FileRecord& hello = contents.files.at("/hello");
  EXPECT_EQ(hello.type, 'f');
  EXPECT_EQ(hello.mode, 04711U);
  EXPECT_EQ(hello.uid, ::geteuid());
  EXPECT_EQ(hello.size_bytes, 5U);
  EXPECT_EQ(hello.md5, "5d41402abc4b2a76b9719d911017c592");
  EXPECT_EQ(hello.sha1, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
  EXPECT_EQ(hello.sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  EXPECT_EQ(contents.files.at("/out").target, "/etc/passwd");
  EXPECT_EQ(contents.files.at("/loop").target, "loop");
  EXPECT_EQ(contents.files.at("/pipe").type, 'p');
  EXPECT_EQ(contents.files.at("/usr/share/doc").type, 'd');
  EXPECT_EQ(contents.texts.at("/usr/share/doc/x/copyright"), "MIT");
  EXPECT_EQ(contents.texts.at("/var/lib/dpkg/info/x.list"), "/hello\n");
  EXPECT_EQ(parse_layer(write_layer(contents)), contents);
}

TEST(Layers, AreKeptByteForByte) {
  EXPECT_EQ(parse_layer(write_layer(sample())), sample());
  EXPECT_EQ(parse_layer(write_layer({})), LayerContents());
}

TEST(Layers, WhatWasCutOrIsNoneIsRefused) {
  const std::string whole = write_layer(sample());
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(parse_layer(whole.substr(0, size)), Error) << size;
  EXPECT_THROW(parse_layer(whole + "x"), Error);
  const std::string head = whole.substr(0, whole.find('\0') + 1);
  for (const std::string& bad :
       {"nonsense"s, "file\0/a\0"s, "file\0/a\0f\0-1\0000\0000\0003\0\0\0\0\0end\0"s, "file\0/a\0ff\0"s,
        "text\0/a\09\0x\0end\0"s, "text\0/a\0-1\0x\0end\0"s, "what\0end\0"s})
    EXPECT_THROW(parse_layer(head + bad), Error) << bad;
}

class KeptLayers : public testing::Test {
 protected:
  const host::TemporaryFolder folder_{"kiln-proof-kept-"};
  store::Store store_{folder_.path() / "store"};
  const host::Path kept_ = folder_.path() / "kept";
};

TEST_F(KeptLayers, ALayerIsReadFromWhatIsKeptWithoutTheLayerItself) {
  const Digest layer = sha256("a layer");
  host::make_folders(kept_);
  host::write_file(kept_ / layer.hex(), write_layer(sample()));
  EXPECT_EQ(layer_contents(store_, layer, kept_), sample());
}

TEST_F(KeptLayers, WhatIsKeptAndCannotBeReadIsReadAgainFromTheLayer) {
  const Digest layer = sha256("a layer");
  host::make_folders(kept_);
  host::write_file(kept_ / layer.hex(), "cut");
  try {
    layer_contents(store_, layer, kept_);
    FAIL() << "the store does not have it";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace kiln::proof
