// Surrogates: which volumes the builder has, what the AMI of them is, and what is asked of the disk.
#include "builder/internal/surrogate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/file.h"
#include "host/process.h"

namespace kiln::builder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

spec::Surrogate surrogate() {
  spec::Surrogate one;
  one.launched = {{.device = "/dev/xvdf", .type = "gp3", .size_gib = 3, .throughput = 200, .encrypted = true},
                  {.device = "/dev/xvdg", .size_gib = 1},
                  {.device = "/dev/xvdh", .size_gib = 2, .delete_on_termination = false}};
  one.apart = {"/dev/xvdg"};
  one.source = "/dev/xvdf";
  one.root = {.device = "/dev/xvda", .size_gib = 5};
  one.more = {{.device = "/dev/xvdi", .size_gib = 7, .encrypted = true}, {.device = "/dev/xvdh", .size_gib = 9}};
  return one;
}

TEST(Surrogate, TheBuildersVolumesGoWithIt) {
  const auto mappings = launch_mappings(surrogate());
  ASSERT_THAT(mappings, SizeIs(3));
  EXPECT_EQ(mappings[0].device_name, "/dev/xvdf");
  EXPECT_EQ(mappings[0].ebs->volume_size, 3);
  EXPECT_EQ(mappings[0].ebs->encrypted, true);
  for (const auto& one : mappings) EXPECT_EQ(one.ebs->delete_on_termination, true);
}

TEST(Surrogate, TheImageIsOfTheSnapshotsThatItHas) {
  EXPECT_THAT(snapshot_devices(surrogate()), ElementsAre("/dev/xvdf", "/dev/xvdh"));
  const auto request = registration(surrogate(), {{"/dev/xvdf", "snap-f"}, {"/dev/xvdh", "snap-h"}});
  EXPECT_EQ(request.root_device_name, "/dev/xvda");
  EXPECT_EQ(request.architecture, "x86_64");
  ASSERT_THAT(request.block_device_mappings, SizeIs(3));
  const auto& root = request.block_device_mappings[0];
  EXPECT_EQ(root.device_name, "/dev/xvda");
  EXPECT_EQ(root.ebs->snapshot_id, "snap-f");
  EXPECT_EQ(root.ebs->volume_size, 5);
  EXPECT_EQ(root.ebs->volume_type, "gp3");
  EXPECT_EQ(root.ebs->throughput, 200);
  EXPECT_EQ(root.ebs->encrypted, std::nullopt) << "it is as its snapshot is";
  EXPECT_EQ(root.ebs->delete_on_termination, true);
  const auto& launched = request.block_device_mappings[1];
  EXPECT_EQ(launched.device_name, "/dev/xvdh");
  EXPECT_EQ(launched.ebs->snapshot_id, "snap-h") << "what was launched wins over what only the AMI has";
  EXPECT_EQ(launched.ebs->volume_size, 2);
  EXPECT_EQ(launched.ebs->delete_on_termination, false);
  const auto& more = request.block_device_mappings[2];
  EXPECT_EQ(more.device_name, "/dev/xvdi");
  EXPECT_EQ(more.ebs->encrypted, true);
  EXPECT_EQ(more.ebs->snapshot_id, std::nullopt);
}

TEST(Surrogate, AVolumeThatIsNotThereIsSaidByTheInstance) {
  const std::string question = volume_question("vol-0abc", "/dev/xvdzz");
  EXPECT_THAT(question, HasSubstr("/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0abc\n"));
  const host::TemporaryFolder folder("kiln-surrogate");
  std::string here = question;  // not below this machine's /run
  for (std::size_t at = 0; (at = here.find("/run/kiln-root", at)) != std::string::npos;)
    here.replace(at, 14, (folder.path() / "root").string());
  host::Command command;
  command.argv = {"/bin/sh"};
  command.input = here;
  const auto result = host::run(command);
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err,
            "the volume /dev/xvdzz holds no root file system, whole or in a partition: none with /sbin/init\n");
  EXPECT_EQ(result.out, "");
}

}  // namespace
}  // namespace kiln::builder
