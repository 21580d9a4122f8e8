// What starts a real machine, as far as it is text: argument vectors, limits, mounts, the supervisor's status.
#include "machine/nspawn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "machine/internal/disk.h"
#include "machine/internal/life.h"
#include "machine/layers.h"
#include "machine/netns.h"
#include "machine/supervisor.h"

namespace kiln::machine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

StartPlan plan() {
  StartPlan plan;
  plan.name = "kiln7-i-1";
  plan.hostname = "ip-172-31-0-10";
  plan.machine_id = machine_id_of("i-1");
  plan.root = "/state/instances/i-1/root";
  plan.netns = "/run/netns/kiln7-i-1";
  plan.hypervisor_uuid = "/state/instances/i-1/hypervisor-uuid";
  return plan;
}

TEST(NspawnArguments, OfAReadOnlyImageBindWhatIsWritable) {
  StartPlan read_only = plan();
  read_only.read_only = true;
  read_only.binds = {{"/st:ate/rw/var/log", "/var/log"}};
  const auto argv = nspawn_arguments(read_only);
  EXPECT_THAT(argv, Contains("--read-only"));
  EXPECT_THAT(argv, Contains("--bind=/st\\:ate/rw/var/log:/var/log"));
  EXPECT_THAT(argv, Contains("--network-namespace-path=/run/netns/kiln7-i-1"));
  EXPECT_THAT(nspawn_arguments(plan()), Not(Contains("--read-only")));
}

TEST(MachineId, IsAlwaysTheSameForAnInstanceAndNeverForTwo) {
  EXPECT_EQ(machine_id_of("i-1").size(), 32u);
  EXPECT_EQ(machine_id_of("i-1"), machine_id_of("i-1"));
  EXPECT_NE(machine_id_of("i-1"), machine_id_of("i-2"));
}

TEST(HypervisorUuid, BeginsWithEc2AndIsTheGuests) {
  EXPECT_THAT(hypervisor_uuid_of("i-1"),
              ::testing::MatchesRegex("ec2[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+"));
  EXPECT_EQ(hypervisor_uuid_of("i-1").size(), 36u);
  EXPECT_NE(hypervisor_uuid_of("i-1"), hypervisor_uuid_of("i-2"));
  EXPECT_THAT(nspawn_arguments(plan()),
              Contains("--bind-ro=/state/instances/i-1/hypervisor-uuid:/sys/hypervisor/uuid"));
}

TEST(NspawnArguments, TakeAwayTheMakingOfDevices) {
  EXPECT_THAT(nspawn_arguments(plan()), Contains(::testing::MatchesRegex("--drop-capability=(.*,)?CAP_MKNOD(,.*)?")));
  EXPECT_THAT(unit_arguments("kiln7-i-1", {}, {}, {"program"}), Contains("--property=DevicePolicy=closed"));
}

TEST(UnitArguments, CarryTheLimits) {
  const auto argv = unit_arguments("kiln7-i-1", {512ull << 20, 1.5}, {"/dev/loop5"}, {"program", "-x"});
  EXPECT_THAT(argv, Contains("--property=DeviceAllow=/dev/loop5 rw"));
  EXPECT_THAT(argv, Contains("--property=MemoryMax=536870912"));
  EXPECT_THAT(argv, Contains("--property=CPUQuota=150%"));
  EXPECT_THAT(argv, Contains("--property=Delegate=yes"));
  EXPECT_EQ(argv[argv.size() - 3], "--");
  EXPECT_EQ(argv.back(), "-x");
}

TEST(Hierarchies, OfAHybridHostAreFoundWithOurOwnNestedGroup) {
  const std::string mounts =
      "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
      "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
  const std::string own = "9:name=systemd:/\n4:memory:/outer/inner\n1:cpu,cpuacct:/\n0::/\n";
  const std::vector<Hierarchy> expected = {
      {{"cpu", "cpuacct"}, false, "/sys/fs/cgroup/cpu,cpuacct"},
      {{"memory"}, false, "/sys/fs/cgroup/memory/outer/inner"},
      {{"name=systemd"}, false, "/sys/fs/cgroup/systemd"},
      {{}, true, "/sys/fs/cgroup/unified"},
  };
  EXPECT_EQ(parse_hierarchies(mounts, own), expected);
}

TEST(Hierarchies, InAContainerBeginAtWhatItsMountShows) {
  const std::string mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
  const std::vector<Hierarchy> expected = {{{"memory"}, false, "/sys/fs/cgroup/memory/x"}};
  EXPECT_EQ(parse_hierarchies(mounts, "4:memory:/docker/abc/x\n"), expected);
}

TEST(LimitFiles, AreThoseOfTheHierarchysKind) {
  const Limits limits{1024, 0.5};
  EXPECT_THAT(limit_files({{"memory"}, false, "/m"}, limits), ElementsAre(Pair("memory.limit_in_bytes", "1024")));
  EXPECT_THAT(limit_files({{"cpu"}, false, "/c"}, limits),
              ElementsAre(Pair("cpu.cfs_period_us", "100000"), Pair("cpu.cfs_quota_us", "50000")));
  EXPECT_THAT(limit_files({{"cpu", "memory", "pids"}, true, "/u"}, limits),
              ElementsAre(Pair("memory.max", "1024"), Pair("memory.swap.max", "0"), Pair("cpu.max", "50000 100000"),
                          Pair("pids.max", "4096")));
  EXPECT_THAT(limit_files({{"memory", "cpu"}, true, "/u"}, {}), IsEmpty());
}

TEST(Mountinfo, IsReadWithEscapesAndOptionalFields) {
  const auto mounts = parse_mountinfo(
      "36 35 98:0 / /a\\040b rw,noatime master:1 shared:2 - erofs /dev/loop3 ro\n"
      "garbage\n"
      "37 36 0:5 / /c rw - overlay overlay ro,lowerdir=x\n");
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_EQ(mounts[0].target, "/a b");
  EXPECT_EQ(mounts[0].type, "erofs");
  EXPECT_EQ(mounts[0].source, "/dev/loop3");
  EXPECT_EQ(mounts[1].target, "/c");
}

TEST(SupervisorStatus, IsReadAsItWasWritten) {
  SupervisorStatus status;
  status.supervisor = {12, 345};
  status.boot = 3;
  status.init = {99, 1};
  status.ended = "init ended with status 1";
  const auto read = parse_status(render(status));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->supervisor, status.supervisor);
  EXPECT_EQ(read->boot, 3);
  EXPECT_EQ(read->init, status.init);
  EXPECT_EQ(read->ended, status.ended);
  EXPECT_FALSE(parse_status(""));
  EXPECT_FALSE(parse_status("supervisor=x\n"));
}

TEST(WritableFolders, ContainWhatSystemdNeedsAndNothingTwice) {
  store::ImageConfig config;
  config.writable = {"/srv/data/", "/srv/data/inner", "/var/log"};
  EXPECT_THAT(writable_folders(config), ElementsAre("/srv/data", "/var/lib/systemd", "/var/log", "/var/tmp"));
  for (const char* bad : {"/", "relative", "", "/.."}) {
    config.writable = {bad};
    EXPECT_THROW(writable_folders(config), Error) << bad;
  }
}

TEST(Record, SurvivesAndATornOneIsNone) {
  const host::TemporaryFolder folder("record");
  EXPECT_FALSE(read_record(folder.path()));
  write_record(folder.path(), {Record::Phase::stopping, {"/sys/fs/cgroup/x"}});
  const auto record = read_record(folder.path());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->phase, Record::Phase::stopping);
  EXPECT_THAT(record->cgroups, ElementsAre("/sys/fs/cgroup/x"));
  host::write_file(folder.path() / "machine.json", "{\"phase\": \"sto");
  EXPECT_FALSE(read_record(folder.path()));
}

TEST(MachineName, IsCheckedBeforeItBecomesAPath) {
  EXPECT_NO_THROW(check_id("i-0123456789abcdef0"));
  for (const char* bad : {"", "../x", "a/b", "-x", "a b"}) EXPECT_THROW(check_id(bad), Error) << bad;
}

TEST(InotifyLimit, IsRaisedAndNeverLowered) {
  const host::TemporaryFolder folder("kiln-limit-test");
  const host::Path setting = folder.path() / "max_user_instances";
  host::write_file(setting, "128\n");
  EXPECT_TRUE(raise_inotify_limit(setting));
  EXPECT_EQ(host::read_file(setting), "8192");
  EXPECT_FALSE(raise_inotify_limit(setting));
  host::write_file(setting, "65536\n");
  EXPECT_FALSE(raise_inotify_limit(setting));
  EXPECT_EQ(host::read_file(setting), "65536\n");
  EXPECT_FALSE(raise_inotify_limit(folder.path() / "none"));
}

TEST(BalancerAddress, FollowsTheGateway) {
  EXPECT_EQ(balancer_address("172.31.16.1"), "172.31.16.2");
  EXPECT_THROW(balancer_address("172.31.16.254"), Error);
  EXPECT_THROW(balancer_address("x"), Error);
}

}  // namespace
}  // namespace kiln::machine
