// Volumes of real machines: block devices that guests make file systems on. Needs root.
#include "machine/internal/data_volume.h"
#include "machine/internal/loop_device.h"
#include "machine/testing/real_machines.h"

namespace kiln::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::RealMachines;
using ::testing::SizeIs;
using testing::wait_for;

class RealVolumes : public RealMachines {
 protected:
  std::string make(const std::string& id, std::uint64_t gib, const std::string& origin = {}) {
    return call([&](NspawnMachines& machines, Done done) { machines.make_volume(id, gib, origin, std::move(done)); });
  }
  std::string remove(const std::string& id) {
    return call([&](NspawnMachines& machines, Done done) { machines.remove_volume(id, std::move(done)); });
  }
  std::string attach(const Spec& to, const VolumeAt& at) {
    return call([&](NspawnMachines& machines, Done done) { machines.attach_volume(to.id, at, std::move(done)); });
  }
  std::string detach(const Spec& from, const std::string& id) {
    return call([&](NspawnMachines& machines, Done done) { machines.detach_volume(from.id, id, std::move(done)); });
  }
  std::string restart(const Spec& one) {
    const std::string stopped =
        call([&](auto& machines, Done done) { machines.stop(one.id, Duration(10'000), std::move(done)); });
    return stopped + call([&](auto& machines, Done done) { machines.start(one.id, std::move(done)); });
  }
  // As the guest's own root does it: started by its init, below all that holds its machine.
  std::string as_guest(const Spec& one, const std::string& script) const {
    EXPECT_TRUE(wait_for([&] {
      const std::string up = inside(one, "systemctl is-system-running").out;
      return up == "running\n" || up == "degraded\n";
    }));
    return inside(one, "systemd-run --quiet --wait --pipe sh -c '" + script + "' 2>&1").out;
  }
  std::pair<std::string, Digest> image_of(const std::string& id) {
    store::ImageConfig config;
    config.read_only_root = false;
    Digest image;
    const std::string failure = call([&](NspawnMachines& machines, Done done) {
      machines.image_of_volume(id, config, [&image, done](std::exception_ptr why, const Digest& made) {
        image = made;
        done(why);
      });
    });
    return {failure, image};
  }
  std::map<host::Path, std::string> bound() const { return loop_devices(state()); }
  bool is_bound(const std::string& id) const { return bound().contains(DataVolumes(state()).file(id)); }
};

TEST_F(RealVolumes, AGuestMakesAFileSystemThatStaysOverRebootStopAndStart) {
  ASSERT_EQ(make("vol-1", 1), "");
  Spec one = spec(10);
  one.volumes = {{"vol-1", "/dev/sdf"}};
  ASSERT_EQ(launch(one), "");
  EXPECT_EQ(as_guest(one,
                     "mkfs.ext4 -q /dev/xvdf && mkdir -p /run/d && mount /dev/sdf /run/d && echo kept > /run/d/x && "
                     "umount /run/d && blockdev --getsize64 /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol1"),
            "1073741824\n");
  const std::string look = "mkdir -p /run/d && mount /dev/xvdf /run/d && cat /run/d/x";
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.reboot(one.id, Duration(10'000), std::move(done)); }), "");
  EXPECT_EQ(as_guest(one, look), "kept\n");
  ASSERT_EQ(restart(one), "");
  EXPECT_EQ(as_guest(one, look), "kept\n") << "it was mounted when its machine was stopped";
  EXPECT_LT(host::run_checked({"du", "-sk", DataVolumes(state()).file("vol-1").string()}).out.size(), 100u);
  ASSERT_EQ(terminate(one), "");
  EXPECT_FALSE(is_bound("vol-1"));
  ASSERT_EQ(remove("vol-1"), "");
  EXPECT_EQ(remove("vol-1"), "") << "removing what is gone is fine";
  EXPECT_THAT(host::list_folder(state() / "ebs"), IsEmpty());
}

TEST_F(RealVolumes, OneIsAttachedToAMachineThatRunsAndMovedToAnother) {
  ASSERT_EQ(make("vol-1", 1), "");
  const Spec one = spec(10);
  const Spec two = spec(11);
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(launch(two), "");
  const VolumeAt at{"vol-1", "/dev/xvdg"};
  ASSERT_EQ(attach(one, at), "");
  EXPECT_EQ(attach(one, at), "") << "as after a restart";
  EXPECT_EQ(as_guest(one, "mkfs.ext4 -q /dev/sdg && mkdir /run/d && mount /dev/sdg /run/d && echo moved > /run/d/x"),
            "");
  EXPECT_THAT(detach(one, "vol-1"), HasSubstr("mounted"));
  EXPECT_EQ(as_guest(one, "cat /run/d/x"), "moved\n") << "nothing was changed";
  ASSERT_EQ(as_guest(one, "umount /run/d"), "");
  ASSERT_EQ(detach(one, "vol-1"), "");
  EXPECT_EQ(detach(one, "vol-1"), "");
  EXPECT_FALSE(is_bound("vol-1"));
  EXPECT_THAT(as_guest(one, "ls /dev/sdg /dev/xvdg"), HasSubstr("No such file"));

  ASSERT_EQ(attach(two, at), "");
  EXPECT_EQ(as_guest(two, "mkdir /run/d && mount /dev/xvdg /run/d && cat /run/d/x"), "moved\n");
  // What was attached while it ran is there when it boots again, and what was detached is not.
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.reboot(two.id, Duration(10'000), std::move(done)); }), "");
  EXPECT_EQ(as_guest(two, "mkdir -p /run/d && mount /dev/xvdg /run/d && cat /run/d/x; umount /run/d"), "moved\n");
  ASSERT_EQ(detach(two, "vol-1"), "");
  EXPECT_THAT(as_guest(two, "ls /dev/xvdg"), HasSubstr("No such file"));
  ASSERT_EQ(restart(two), "");
  EXPECT_THAT(as_guest(two, "ls /dev/xvdg"), HasSubstr("No such file"));
}

TEST_F(RealVolumes, AGuestHasItsOwnVolumesAndNobodyElses) {
  ASSERT_EQ(make("vol-1", 1), "");
  ASSERT_EQ(make("vol-2", 1), "");
  Spec one = spec(10);
  one.volumes = {{"vol-1", "/dev/sdf"}};
  Spec other = spec(11);
  other.volumes = {{"vol-2", "/dev/sdf"}};
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(launch(other), "");
  // The kernel's own device files have all of them.
  const std::string theirs = bound().at(DataVolumes(state()).file("vol-2"));
  const std::string opened =
      as_guest(one, "mkdir /run/all && mount -t devtmpfs none /run/all && head -c 1 /run/all/" + theirs.substr(5) +
                        "; for one in /run/all/loop[0-9]*; do (: < $one) 2> /dev/null && echo opened $one; done;"
                        " umount /run/all");
  EXPECT_THAT(opened, HasSubstr(theirs.substr(5) + "' for reading: Operation not permitted"));
  EXPECT_THAT(testing::lines_with(opened, "opened"), SizeIs(1)) << opened;
  // A loop device that its guest gave back could become another guest's disk.
  EXPECT_THAT(as_guest(one, "losetup -d /dev/sdf; blockdev --getsize64 /dev/sdf"),
              ::testing::AllOf(HasSubstr("Operation not permitted"), HasSubstr("1073741824")));
  EXPECT_THAT(as_guest(one, "losetup -c /dev/sdf"), HasSubstr("Operation not permitted"));
  EXPECT_TRUE(is_bound("vol-1"));
  ASSERT_EQ(detach(one, "vol-1"), "");
  EXPECT_THAT(as_guest(one,
                       "mkdir -p /run/all && mount -t devtmpfs none /run/all && for one in /run/all/loop[0-9]*; do "
                       "(: < $one) 2> /dev/null && echo opened $one; done; umount /run/all; echo ended"),
              "ended\n");
}

TEST_F(RealVolumes, ACopyIsTheVolumeAtOneMoment) {
  ASSERT_EQ(make("vol-1", 1), "");
  Spec one = spec(10);
  one.volumes = {{"vol-1", "/dev/sdf"}};
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(as_guest(one, "mkfs.ext4 -q /dev/sdf && mkdir /run/d && mount /dev/sdf /run/d && echo first > /run/d/x"),
            "");
  inside(one, "systemd-run --quiet --unit=writer sh -c 'while :; do date >> /run/d/log; done'");
  ASSERT_EQ(make("snap-1", 1, "vol-1"), "");
  EXPECT_EQ(as_guest(one, "echo second > /run/d/x && cat /run/d/x"), "second\n") << "it goes on";
  EXPECT_THAT(make("vol-3", 1, "snap-9"), HasSubstr("no volume snap-9"));
  ASSERT_EQ(make("vol-2", 2, "snap-1"), "");
  ASSERT_EQ(attach(one, {"vol-2", "/dev/sdg"}), "");
  EXPECT_EQ(as_guest(one,
                     "e2fsck -fn /dev/sdg > /run/check 2>&1 || cat /run/check; mkdir /run/e && mount /dev/sdg "
                     "/run/e && cat /run/e/x && blockdev --getsize64 /dev/sdg"),
            "first\n2147483648\n");
  ASSERT_EQ(call([&](auto& machines, Done done) { machines.grow_volume("vol-2", 3, std::move(done)); }), "");
  EXPECT_EQ(as_guest(one,
                     "blockdev --getsize64 /dev/sdg; umount /run/e && e2fsck -fy /dev/sdg > /run/check 2>&1; "
                     "resize2fs /dev/sdg >> /run/check 2>&1 || cat /run/check; mount /dev/sdg /run/e; "
                     "df --output=size -BM /run/e | tail -1 | grep -q 2...M && echo grown"),
            "3221225472\ngrown\n");
  // The size in bytes, the blocks of what was written.
  struct stat file {};
  ASSERT_EQ(::stat(DataVolumes(state()).file("snap-1").c_str(), &file), 0);
  EXPECT_EQ(file.st_size, 1 << 30);
  EXPECT_LT(file.st_blocks * 512, 200 << 20);
}

TEST_F(RealVolumes, WhatADeadControlPlaneHasLeftIsFoundAndGivenBack) {
  ASSERT_EQ(make("vol-1", 1), "");
  ASSERT_EQ(make("vol-2", 1), "");
  ASSERT_EQ(make("vol-3", 1), "");
  Spec one = spec(10);
  one.volumes = {{"vol-1", "/dev/sdf"}};
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(as_guest(one, "mkfs.ext4 -q /dev/sdf && mkdir /run/d && mount /dev/sdf /run/d"), "");
  drop_machines();
  // Killed in the middle of an attach, of a copy, and of a copy of what a guest has mounted.
  const DataVolumes volumes(state());
  write_attachments(state() / "instances" / one.id, {{"vol-1", "/dev/sdf"}, {"vol-2", "/dev/sdg"}});
  volumes.bind("vol-2");
  volumes.bind("vol-3");
  host::write_file(state() / "ebs/snap-1.new", "half");
  const std::string device = volumes.device("vol-1");
  EXPECT_TRUE(is_claimed(device));
  {
    const host::FileDescriptor frozen(
        ::open(fmt::format("/proc/{}/root/run/d", status(one).init.pid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::ioctl(frozen.get(), FIFREEZE, 0), 0);
  }
  make_machines();
  host::call_on(running_->loop, [&] {
    EXPECT_THAT(machines_->adopt({one}), ElementsAre(one.id));
    machines_->keep_volumes({"vol-1", "vol-2"});
  });
  EXPECT_THAT(host::list_folder(state() / "ebs"), ElementsAre("vol-1", "vol-2"));
  EXPECT_FALSE(is_bound("vol-3"));
  EXPECT_EQ(as_guest(one, "echo thawed > /run/d/x && cat /run/d/x"), "thawed\n");
  ASSERT_EQ(attach(one, {"vol-2", "/dev/sdg"}), "") << "asked for again";
  EXPECT_EQ(as_guest(one, "blockdev --getsize64 /dev/sdg"), "1073741824\n");
  drop_machines();
  EXPECT_THAT(remove_all_machines(state(), slot_->number()), IsEmpty());
  EXPECT_THAT(bound(), IsEmpty());
  EXPECT_THAT(host::list_folder(state() / "ebs"), ElementsAre("vol-1", "vol-2"))
      << "a stopped region keeps its volumes";
  make_machines();
}

TEST_F(RealVolumes, ARootThatAGuestHasMadeOnAVolumeBoots) {
  ASSERT_EQ(make("vol-1", 1), "");
  Spec one = spec(10);
  one.image = shared_->writable_image;
  one.volumes = {{"vol-1", "/dev/sdf"}};
  ASSERT_EQ(launch(one), "");
  ASSERT_EQ(as_guest(one,
                     "mkfs.ext4 -q /dev/sdf && mkdir /run/new && mount /dev/sdf /run/new && cp -ax /. /run/new && "
                     "echo from-the-volume > /run/new/etc/motd && umount /run/new"),
            "");
  ASSERT_EQ(make("snap-1", 1, "vol-1"), "");
  const auto [failure, image] = image_of("snap-1");
  ASSERT_EQ(failure, "");
  Spec two = spec(11);
  two.image = shared_->store.image(image);
  EXPECT_THAT(two.image.layers, SizeIs(1));
  ASSERT_EQ(launch(two), "");
  EXPECT_EQ(as_guest(two, "cat /etc/motd && stat -c %a /tmp /usr/bin/passwd && systemctl is-active nginx"),
            "from-the-volume\n1777\n4755\nactive\n");
  EXPECT_FALSE(is_bound("snap-1"));
}

TEST_F(RealVolumes, TheRootMayBeInAPartition) {
  const host::TemporaryFolder folder("volume-root");
  const host::Path root = folder.path() / "root";
  host::make_folders(root / "usr/sbin");
  host::write_file(root / "usr/sbin/init", "#!/bin/sh\n");
  // An MBR with two primary partitions of Linux.
  const auto entry = [](char first_mib, char mib) {
    // Sectors of 512 bytes, little endian: 8 * mib is the second byte's.
    return std::string("\0\0\0\0\x83\0\0\0\0", 9) + static_cast<char>(8 * first_mib) + std::string(3, '\0') +
           static_cast<char>(8 * mib) + std::string(2, '\0');
  };
  ASSERT_EQ(make("snap-1", 1), "");
  const std::string disk = DataVolumes(state()).file("snap-1").string();
  std::fstream table(disk, std::ios::in | std::ios::out | std::ios::binary);
  table << std::string(446, '\0') << entry(1, 4) << entry(8, 28) << std::string(32, '\0') << "\x55\xAA";
  table.close();
  host::run_checked({"mkfs.ext4", "-qF", "-Eoffset=1048576", disk, "4M"});  // a partition without an init
  host::run_checked({"mkfs.ext4", "-qF", "-d", root.string(), "-Eoffset=8388608", disk, "28M"});
  const auto [failure, image] = image_of("snap-1");
  EXPECT_EQ(failure, "");
  EXPECT_FALSE(image.empty());
  EXPECT_EQ(image_of("snap-1").second, image) << "the same files are the same image";
}

TEST_F(RealVolumes, AVolumeThatNoMachineCanBootFromIsNoImage) {
  ASSERT_EQ(make("snap-1", 1), "");
  EXPECT_THAT(image_of("snap-1").first, HasSubstr("holds no file system"));
  const std::string disk = DataVolumes(state()).file("snap-1").string();
  host::run_checked({"mkfs.ext4", "-qF", disk});
  EXPECT_THAT(image_of("snap-1").first, HasSubstr("has no /sbin/init"));
  // Its journal has what its files do not: the flag that an ext4 has while it is mounted, "needs_recovery".
  host::run_checked({"debugfs", "-w", "-R", "feature needs_recovery", disk});
  EXPECT_THAT(image_of("snap-1").first, HasSubstr("was not unmounted"));
  host::run_checked({"mkfs.ext4", "-qF", disk});
  {
    std::fstream broken(disk, std::ios::in | std::ios::out | std::ios::binary);
    broken.seekp(4096);  // the group descriptors
    broken << std::string(8192, '\xFF');
  }
  EXPECT_THAT(image_of("snap-1").first, HasSubstr("cannot be mounted"));
  EXPECT_THAT(image_of("snap-9").first, HasSubstr("snap-9"));
  EXPECT_THAT(bound(), IsEmpty());
}

// A guest's disk may name anything: nothing of the host is read or written through it.
TEST_F(RealVolumes, LinksOfAVolumeLeadNowhere) {
  const host::TemporaryFolder folder("volume-root");
  const host::Path root = folder.path() / "root";
  host::make_folders(root / "sbin");
  host::make_folders(root / "outside");
  std::filesystem::create_symlink("/etc/passwd", root / "sbin/init");
  std::filesystem::create_symlink(root / "outside", root / "tmp");
  std::filesystem::create_symlink(root / "outside/made", root / "proc");
  std::filesystem::permissions(root / "outside", std::filesystem::perms(0700));
  ASSERT_EQ(make("snap-1", 1), "");
  host::run_checked({"mkfs.ext4", "-qF", "-d", root.string(), DataVolumes(state()).file("snap-1").string()});
  EXPECT_EQ(image_of("snap-1").first, "");
  EXPECT_EQ(std::filesystem::status(root / "outside").permissions(), std::filesystem::perms(0700));
  EXPECT_FALSE(std::filesystem::exists(root / "outside/made"));
}

TEST_F(RealVolumes, AVolumeThatIsNotThereFailsTheLaunch) {
  Spec one = spec(10);
  one.volumes = {{"vol-9", "/dev/sdf"}};
  EXPECT_THAT(launch(one), HasSubstr("there is no volume vol-9"));
  EXPECT_THAT(host::list_folder(state() / "instances"), IsEmpty());
}

}  // namespace
}  // namespace kiln::machine
