// What a guest can do to others: devices, memory, processes, disk, console. Needs root.
#include "machine/testing/real_machines.h"

namespace kiln::machine {
namespace {

using ::testing::HasSubstr;
using testing::http_get;
using testing::RealMachines;
using testing::wait_for;

TEST_F(RealMachines, RootInAGuestOpensNoDeviceOfTheHost) {
  const Spec one = spec(10);
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(wait_for([&] { return inside(one, "systemctl is-system-running").out == "running\n"; }));
  const auto as_guest = [&](const std::string& script) {
    return inside(one, "systemd-run --quiet --wait --pipe sh -c '" + script + "' 2>&1").out;
  };
  EXPECT_THAT(as_guest("mknod /run/node c 10 237 && echo made"), HasSubstr("Operation not permitted"));
  EXPECT_THAT(as_guest("echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo good"), HasSubstr("good"));
  // The kernel's own device files, which it may still mount.
  const std::string opened = as_guest(
      "mkdir /run/all && mount -t devtmpfs none /run/all; cd /run/all && for one in loop-control mem net/tun vda sda "
      "nvme0n1 loop0 kmsg; do (: < $one) && echo opened $one; done; umount /run/all; echo ended");
  EXPECT_THAT(opened, HasSubstr("ended"));
  EXPECT_THAT(opened, HasSubstr("loop-control: Operation not permitted"));
  EXPECT_THAT(opened, ::testing::Not(HasSubstr("opened")));
  // Nor does it lift that: what it sees as the root of its devices' cgroup is below the one that closes them.
  const std::string lifted = as_guest(
      "mkdir -p /run/cg && mount -t cgroup -o devices none /run/cg && echo a > /run/cg/devices.allow && echo lifted; "
      "umount /run/cg; echo ended");
  EXPECT_THAT(lifted, HasSubstr("ended"));
  EXPECT_THAT(lifted, ::testing::Not(HasSubstr("lifted")));
  struct stat folder {};
  ASSERT_EQ(::stat((state() / "instances").c_str(), &folder), 0);
  EXPECT_EQ(folder.st_mode & 07777, 0700u) << "its setuid files are not for other users of the host";
}

TEST_F(RealMachines, AFullDiskIsTheGuestsOwnMatter) {
  Spec one = spec(10);
  one.disk_gib = 1;
  const Spec two = spec(11);
  apply({port(one, {http_from("0.0.0.0/0")}), port(two, {http_from("0.0.0.0/0")})});
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(launch(two), "");
  EXPECT_THAT(inside(one, "dd if=/dev/zero of=/srv/data/fill bs=1M").err, HasSubstr("No space left on device"));
  const auto written = std::filesystem::file_size(state() / "instances" / one.id / "disk/upper/srv/data/fill");
  EXPECT_GT(written, 900ull << 20);
  EXPECT_LT(written, 1ull << 30);
  EXPECT_TRUE(serves(two));
  EXPECT_EQ(inside(two, "echo kept > /srv/data/x").err, "");
  EXPECT_TRUE(serves(one)) << "what only reads goes on";
  EXPECT_EQ(inside(one, "rm /srv/data/fill; echo kept > /srv/data/x").err, "");
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.stop(one.id, Duration(10'000), std::move(done)); }), "");
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.start(one.id, std::move(done)); }), "");
  EXPECT_EQ(inside(one, "cat /srv/data/x").out, "kept\n");
}

TEST_F(RealMachines, MemoryLimitEndsTheHogAndNotTheMachine) {
  const Spec one = spec(10, 256ull << 20);
  apply({port(one, {http_from("0.0.0.0/0")})});
  ASSERT_EQ(launch(one), "");
  ASSERT_TRUE(serves(one));
  const auto hog = inside(
      one, "systemd-run --unit=hog --quiet --wait --pipe tail /dev/zero || systemctl show -P Result hog; echo ended");
  EXPECT_THAT(hog.out, HasSubstr("ended")) << hog.err;
  EXPECT_THAT(hog.out + hog.err, ::testing::AnyOf(HasSubstr("oom-kill"), HasSubstr("signal"))) << "the kernel ended it";
  EXPECT_TRUE(serves(one)) << "the rest of the machine lives";
  EXPECT_EQ(state_of(one), State::running);
}

TEST_F(RealMachines, AConsoleThatIsFloodedStaysSmall) {
  const Spec one = spec(10);
  ASSERT_EQ(launch(one), "");
  inside(one, "yes flood | head -c 3000000 > /dev/console; echo last line > /dev/console");
  std::string console;
  EXPECT_TRUE(wait_for([&] {
    host::call_on(running_->loop, [&] { console = machines_->console(one.id); });
    return console.find("last line") != std::string::npos;
  }));
  EXPECT_LE(console.size(), kConsoleKept);
  EXPECT_LE(std::filesystem::file_size(state() / "instances" / one.id / "console.log"), kConsoleFileMax);
}

TEST_F(RealMachines, AForkBombLeavesTheOthersServing) {
  const Spec one = spec(10);
  const Spec other = spec(11);
  apply({port(one, {http_from("0.0.0.0/0")}), port(other, {http_from("0.0.0.0/0")})});
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(launch(other), "");
  ASSERT_TRUE(serves(one));
  ASSERT_TRUE(serves(other));
  inside(one, "systemd-run --quiet --unit=bomb -p TasksMax=infinity sh -c 'bomb() { bomb | bomb & sleep 600; }; bomb'");
  ASSERT_TRUE(wait_for([&] { return parse_int(trim(inside(one, "ls /proc | grep -c ^[0-9]").out)).value_or(0) > 500; }))
      << "it goes off";
  for (int asked = 0; asked < 20; ++asked) {
    EXPECT_EQ(http_get(region(), other.interface.address, 80, Duration(2'000)).first, 200) << "the other one goes on";
  }
  EXPECT_EQ(terminate(one), "") << "and it can be ended";
  EXPECT_TRUE(serves(other));
}

}  // namespace
}  // namespace kiln::machine
