// What nobody may read, in streams, texts and errors.
#include "base/mask.h"

#include <gtest/gtest.h>

namespace kiln {

TEST(Mask, HidesValuesWhereverTheStreamIsCut) {
  const std::vector<std::string> values = {"s3cret", "s3cret-longer", "line one\nxy\nline two"};
  const std::string text = "x s3cret y s3cret-longer z s3c line one\nnot line tw s3cret";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    std::string out;
    Mask mask(values, [&](std::string_view piece) { out += piece; });
    mask.write(text.substr(0, cut));
    mask.write(text.substr(cut));
    mask.finish();
    EXPECT_EQ(out, "x *** y *** z s3c ***\nnot line tw ***") << cut;
  }
  std::string out;
  Mask none({}, [&](std::string_view piece) { out += piece; });
  none.write("as it is");
  EXPECT_EQ(out, "as it is") << "nothing is held back without values";
}

TEST(Mask, LeavesWhatIsTooShortToBeHidden) { EXPECT_EQ(masked("one true word", {"one", "word", ""}), "one true ***"); }

TEST(Mask, KeepsLinesWhereTheyAre) {
  EXPECT_EQ(masked_lines("a\nfirst line\nlast line\nb", {"first line\nlast line"}), "a\n***\n***\nb");
  EXPECT_EQ(masked("a\nfirst line\nlast line\nb", {"first line\nlast line"}), "a\n***\nb");
}

TEST(Mask, HidesAllThatAnErrorSays) {
  Error error(ErrorCode::io, "'hunter22' failed", "do not write hunter22");
  error.add_context("running hunter22");
  const Error out = masked(error, {"hunter22"});
  EXPECT_EQ(out.code(), ErrorCode::io);
  EXPECT_EQ(out.message(), "'***' failed");
  EXPECT_EQ(out.next(), "do not write ***");
  EXPECT_EQ(out.context(), std::vector<std::string>{"running ***"});
}

}  // namespace kiln
