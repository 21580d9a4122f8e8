// Journal: what is committed is kept, whole turns at a time, and nothing else is.
#include "region/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

namespace kiln::region {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class FileJournalTest : public ::testing::Test {
 protected:
  host::TemporaryFolder folder_{"kiln-journal-test-"};
  host::Path file_ = folder_.path() / "journal.db";
};

TEST_F(FileJournalTest, KeepsWhatWasCommittedAndForgetsTheRest) {
  {
    FileJournal journal(file_);
    journal.put("instance", "i-1", "one");
    journal.put("image", "ami-1", "image");
    journal.commit();
    journal.put("instance", "i-1", "changed");
    journal.put("instance", "i-2", "never committed");
  }
  FileJournal again(file_);
  EXPECT_THAT(again.load("instance"), ElementsAre(Pair("i-1", "one")));
  EXPECT_THAT(again.load("image"), ElementsAre(Pair("ami-1", "image")));
  EXPECT_THAT(again.load("nothing"), IsEmpty());
}

TEST_F(FileJournalTest, TheLastWordOfATurnCounts) {
  FileJournal journal(file_);
  journal.put("t", "a", "1");
  journal.put("t", "a", "2");
  journal.put("t", "b", "1");
  journal.erase("t", "b");
  journal.erase("t", "c");
  journal.put("t", "c", "1");
  journal.commit();
  EXPECT_THAT(journal.load("t"), ElementsAre(Pair("a", "2"), Pair("c", "1")));
  journal.erase("t", "a");
  journal.commit();
  EXPECT_THAT(journal.load("t"), ElementsAre(Pair("c", "1")));
}

TEST_F(FileJournalTest, ADeathBeforeTheCommitLosesTheWholeTurn) {
  FileJournal journal(file_);
  journal.before_commit([] { throw std::runtime_error("killed"); });
  journal.put("t", "a", "1");
  journal.put("t", "b", "1");
  EXPECT_THROW(journal.commit(), std::runtime_error);
  journal.forget();
  journal.before_commit({});
  journal.commit();
  EXPECT_THAT(journal.load("t"), IsEmpty());
}

TEST_F(FileJournalTest, SurvivesKillNine) {
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      FileJournal journal(file_);
      journal.put("t", "kept", "yes");
      journal.commit();
      journal.put("t", "lost", "yes");
      kill(getpid(), SIGKILL);
    } catch (...) {
    }
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_THAT(FileJournal(file_).load("t"), ElementsAre(Pair("kept", "yes")));
}

TEST(MemoryJournal, KeepsWhatWasCommittedAndForgetsTheRest) {
  MemoryJournal journal;
  journal.put("t", "a", "1");
  EXPECT_THAT(journal.load("t"), IsEmpty());
  journal.commit();
  journal.put("t", "b", "1");
  journal.forget();
  journal.commit();
  EXPECT_THAT(journal.load("t"), ElementsAre(Pair("a", "1")));
}

}  // namespace
}  // namespace kiln::region
