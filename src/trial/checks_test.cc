// Checks: what is asked of an instance, and what is made of its answers.
#include "trial/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::trial {
namespace {

using testing::HasSubstr;
using testing::Not;
using How = machine::CommandEnd::How;

machine::CommandEnd answer(std::string out, int status = 0, std::string err = {}) {
  machine::CommandEnd end;
  end.how = How::exited;
  end.status = status;
  end.out = std::move(out);
  end.err = std::move(err);
  return end;
}

Finding judged(auto check, const machine::CommandEnd& end) { return judge(spec::ImageCheck{{}, check}, end); }

std::string asked(auto check, const std::vector<std::string>& writable = {}) {
  return question(spec::ImageCheck{{}, check}, writable);
}

http::Response response(int status, std::string body) {
  http::Response made;
  made.status = status;
  made.body = std::move(body);
  made.headers.set("Server", "nginx/1.22");
  return made;
}

TEST(Checks, AUnitIsActiveOrSaysWhyNot) {
  const spec::UnitCheck check{"nginx.service"};
  EXPECT_TRUE(judged(check, answer("LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n")).passed);
  const Finding failed = judged(
      check, answer("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n---\nbind: in use\n"));
  EXPECT_FALSE(failed.passed || failed.may_yet);
  EXPECT_EQ(failed.said, "failed (failed), not active, result exit-code:\nbind: in use");
  EXPECT_TRUE(judged(check, answer("LoadState=loaded\nActiveState=activating\nSubState=start\n")).may_yet);
  EXPECT_EQ(judged(check, answer("LoadState=not-found\nActiveState=inactive\n")).said,
            "there is no unit nginx.service");
}

TEST(Checks, PortsCountWhereTheyCanBeReached) {
  const std::string table =
      "  sl  local_address rem_address   st\n"
      "   0: 00000000:0050 00000000:0000 0A 0\n"
      "   1: 0100007F:0CEA 00000000:0000 0A 0\n"
      "   2: 0A001FAC:9C40 0A001FAC:0050 01 0\n"
      "   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0\n"
      "   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 0\n";
  EXPECT_TRUE(judged(spec::PortsCheck{{80, 443}, false}, answer(table)).passed);
  EXPECT_TRUE(judged(spec::PortsCheck{{80, 443}, true}, answer(table)).passed);
  EXPECT_EQ(judged(spec::PortsCheck{{80}, true}, answer(table)).said, "port 443 listens too");
  EXPECT_FALSE(judged(spec::PortsCheck{{80}, true}, answer(table)).may_yet);
  const Finding missing = judged(spec::PortsCheck{{22, 3306}, false}, answer(table));
  EXPECT_EQ(missing.said, "nothing listens on port 22, port 3306 listens on a loopback address only");
  EXPECT_TRUE(missing.may_yet);
  EXPECT_FALSE(judged(spec::PortsCheck{{80}, false}, answer("0: zz:zzzz x 0A\n\n: 0A")).passed);
}

TEST(Checks, AnHttpAnswerIsMatchedWhole) {
  spec::HttpCheck check;
  check.body = "^web 1\\.[0-9]+";
  check.headers = {{"server", "nginx"}};
  EXPECT_TRUE(judge(check, response(200, "page\nweb 1.0\n")).passed);
  EXPECT_EQ(judge(check, response(503, "")).said, "answered 503, not 200");
  EXPECT_THAT(judge(check, response(200, "other")).said,
              HasSubstr("is not in the body of 5 bytes, which begins: other"));
  check.headers = {{"X-Version", "1"}};
  EXPECT_EQ(judge(check, response(200, "web 1.0")).said, "the answer has no header X-Version");
  EXPECT_TRUE(judge(check, response(200, "web 1.0")).may_yet);
}

TEST(Checks, ACommandHasAStatusAndOutput) {
  spec::RunCheck check{{"a", "b"}, 3, "ab+c"};
  EXPECT_EQ(asked(check), "set -e\na\nb\n");
  EXPECT_TRUE(judged(check, answer("xabbc\n", 3)).passed);
  EXPECT_EQ(judged(check, answer("", 1, "no such file\n")).said, "exit status 1, not 3: no such file");
  EXPECT_THAT(judged(check, answer("x\n", 3)).said, HasSubstr("'ab+c' is not in its output: x"));
  machine::CommandEnd late;
  late.how = How::timed_out;
  EXPECT_THAT(judged(check, late).said, HasSubstr("took too long"));
  late.how = How::undelivered;
  EXPECT_THAT(judged(check, late).said, HasSubstr("init could not be asked"));
}

TEST(Checks, BootAndMemoryHaveBudgets) {
  const machine::CommandEnd boot =
      answer("SystemState=running\nUserspaceTimestampMonotonic=1000000\nFinishTimestampMonotonic=3500000\n---\n");
  EXPECT_TRUE(judged(spec::BootCheck{Duration(3000)}, boot).passed);
  EXPECT_EQ(judged(spec::BootCheck{Duration(2000)}, boot).said, "booted in 2.50 s");
  EXPECT_FALSE(judged(spec::BootCheck{Duration(2000)}, boot).passed);
  const machine::CommandEnd starting = answer("SystemState=starting\n---\n1 web.service start running\n");
  EXPECT_FALSE(read_ready(starting).ready);
  EXPECT_EQ(read_ready(starting).jobs, "1 web.service start running");
  EXPECT_TRUE(judged(spec::MemoryCheck{200 << 20}, answer("102400\n")).passed);
  EXPECT_EQ(judged(spec::MemoryCheck{50 << 20}, answer("102400\n")).said, "100 MiB held by its processes");
  EXPECT_FALSE(judged(spec::MemoryCheck{50 << 20}, answer("")).passed);
}

TEST(Checks, AFileHasModeOwnerAndContent) {
  const spec::FileCheck check{.path = "/a'b", .mode = 0640, .owner = "www-data:0", .content = "x"};
  EXPECT_THAT(asked(check), HasSubstr("file='/a'\\''b'\n"));
  const std::string digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
  EXPECT_TRUE(judged(check, answer("640|33:0|www-data:root|regular file\n" + digest + "  -\n")).passed);
  EXPECT_EQ(judged(check, answer("644|0:0|root:root|regular file\n" + std::string(64, '0') + "  -\n")).said,
            "mode 0644, owner root:root (0:0), other content");
  EXPECT_EQ(judged(check, answer("absent\n")).said, "not there");
  EXPECT_FALSE(judged(check, answer("absent\n")).passed);
  EXPECT_TRUE(judged(spec::FileCheck{.path = "/a", .absent = true}, answer("absent\n")).passed);
  EXPECT_FALSE(judged(spec::FileCheck{.path = "/a", .absent = true}, answer("755|0:0|root:root|directory\n")).passed);
  EXPECT_FALSE(judged(spec::FileCheck{.path = "/a"}, answer("dangling\n")).passed);
  EXPECT_FALSE(judged(spec::FileCheck{.path = "/a", .contains = "x"}, answer("644|0:0|a:a|regular file\n")).passed);
  EXPECT_TRUE(
      judged(spec::FileCheck{.path = "/a", .contains = "x"}, answer("644|0:0|a:a|regular file\ncontains\n")).passed);
}

TEST(Checks, TheRootIsReadOnlyOutsideWhatIsWritable) {
  EXPECT_THAT(asked(spec::ReadOnlyCheck{}, {"/srv", "/var/log"}), HasSubstr("writable=' /srv /var/log '"));
  EXPECT_TRUE(judged(spec::ReadOnlyCheck{}, answer("")).passed);
  EXPECT_EQ(judged(spec::ReadOnlyCheck{}, answer("/etc\n/opt\n")).said, "could be written: /etc /opt");
}

TEST(Checks, FailedUnitsAreNamed) {
  EXPECT_TRUE(judge_failed_units(answer("\n")).passed);
  EXPECT_EQ(judge_failed_units(answer("a.service\n  boom\n")).said, "failed: a.service\n  boom");
}

TEST(Checks, ExpressionsAreFoundLineByLineInAnyBytes) {
  EXPECT_TRUE(found_in("^b$", "a\nb\nc"));
  EXPECT_FALSE(found_in("^b$", "a b c"));
  EXPECT_TRUE(found_in("(a|b)+c", std::string("\0xabac", 6)));
  EXPECT_FALSE(found_in("[", "["));
  EXPECT_TRUE(found_in("z$", std::string(1 << 20, 'a') + "z"));
}

}  // namespace
}  // namespace kiln::trial
