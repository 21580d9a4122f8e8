// Tests of files read in pieces: every byte once and in order, and links only where they are wanted.
#include "host/pieces.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::host {
namespace {

class PiecesTest : public ::testing::Test {
 protected:
  PiecesTest() {
    for (int i = 0; i < 50'000; ++i) content_ += std::to_string(i);
    write_file(file_, content_);
    std::filesystem::create_symlink("file", link_);
  }
  const TemporaryFolder folder_{"kiln-pieces-"};
  const Path file_ = folder_.path() / "file";
  const Path link_ = folder_.path() / "link";
  std::string content_;
};

TEST_F(PiecesTest, HaveEveryByteInOrder) {
  std::string read;
  int pieces = 0;
  read_pieces(file_, Links::refuse, [&](std::string_view piece) {
    read += piece;
    ++pieces;
  });
  EXPECT_EQ(read, content_);
  EXPECT_GT(pieces, 1);
  EXPECT_EQ(digest_of_file(file_, Links::refuse), sha256(content_));
}

TEST_F(PiecesTest, OfALinkAreReadOnlyWhereThatIsWanted) {
  EXPECT_EQ(digest_of_file(link_, Links::follow), sha256(content_));
  EXPECT_THROW(digest_of_file(link_, Links::refuse), Error);
}

TEST_F(PiecesTest, OfAnEmptyFileAreNone) {
  write_file(file_, "");
  read_pieces(file_, Links::refuse, [](std::string_view) { FAIL(); });
  EXPECT_EQ(digest_of_file(file_, Links::refuse), sha256(""));
}

TEST_F(PiecesTest, AFileThatIsNotThereIsNamed) {
  try {
    digest_of_file(folder_.path() / "none", Links::follow);
    FAIL() << "there is none";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_NE(error.message().find("none"), std::string::npos);
  }
}

}  // namespace
}  // namespace kiln::host
