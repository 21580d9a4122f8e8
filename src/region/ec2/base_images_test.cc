// BaseImages: public images are listed as EC2 lists Debian's, and made when they are first launched.
#include "region/ec2/base_images.h"

#include <gmock/gmock.h>

#include "region/testing/ec2_world.h"

namespace kiln::region::ec2 {
namespace {

namespace api = wire::ec2;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr const char* kDebian = "136693071363";

// Made when the test says so.
class SlowImages final : public BaseImages {
 public:
  std::vector<BaseImage> list() const override { return {debian_12()}; }
  void make(const std::string& name, Done done) override {
    names.push_back(name);
    waiting.push_back(std::move(done));
  }
  void finish(const std::exception_ptr& failure, const Digest& digest) {
    for (const Done& done : std::exchange(waiting, {})) done(failure, digest);
  }
  std::vector<std::string> names;
  std::vector<Done> waiting;
};

class BaseImagesTest : public testing::Ec2World {
 protected:
  void SetUp() override {
    options.base_images = &images;
    Ec2World::SetUp();
  }
  std::vector<api::Image> described(const std::vector<std::string>& owners, const std::string& name = "*") {
    api::DescribeImagesRequest request;
    request.owners = owners;
    request.filters = {{"name", {name}}};
    return call<api::DescribeImages>(request).images;
  }
  std::string debian() { return described({kDebian}).at(0).image_id.value(); }
  void settle() { loop.run_for(Duration(5'000)); }

  SlowImages images;
};

TEST_F(BaseImagesTest, AreListedByOwnerNameAndIdAndAreNobodysOwn) {
  const std::vector<api::Image> found = described({kDebian}, "debian-12-amd64-*");
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].name, "debian-12-amd64-20251103-2285");
  EXPECT_EQ(found[0].owner_id, kDebian);
  EXPECT_EQ(found[0].public_, true);
  EXPECT_EQ(found[0].architecture, "x86_64");
  EXPECT_EQ(found[0].root_device_name, "/dev/xvda");
  EXPECT_EQ(found[0].state, "available");
  EXPECT_THAT(found[0].image_id.value(), AllOf(StartsWith("ami-"), SizeIs(21)));
  EXPECT_THAT(described({"self"}), IsEmpty());
  EXPECT_THAT(described({"amazon"}), IsEmpty());
  EXPECT_THAT(described({}), SizeIs(1)) << "without owners all that one may launch";
  EXPECT_THAT(described({kDebian}, "debian-11-*"), IsEmpty());
  api::DescribeImagesRequest by_id;
  by_id.image_ids = {found[0].image_id.value()};
  EXPECT_THAT(call<api::DescribeImages>(by_id).images, SizeIs(1));
  by_id.executable_users = {"self"};
  EXPECT_THAT(call<api::DescribeImages>(by_id).images, IsEmpty()) << "self: with an explicit permission";
  by_id.executable_users = {"all"};
  EXPECT_THAT(call<api::DescribeImages>(by_id).images, SizeIs(1));
}

TEST_F(BaseImagesTest, HaveTheSameIdAfterARestart) {
  const std::string before = debian();
  die();
  start();
  EXPECT_EQ(debian(), before);
}

TEST_F(BaseImagesTest, ThePublicParameterLeadsToTheNewest) {
  EXPECT_THAT(life->ec2.public_parameters(), ElementsAre(std::pair<const std::string, std::string>(
                                                 "/aws/service/debian/release/12/latest/amd64", debian())));
}

TEST_F(BaseImagesTest, AreTheirOwnersToDeregister) {
  api::DeregisterImageRequest request;
  request.image_id = debian();
  EXPECT_EQ(refusal<api::DeregisterImage>(request), "AuthFailure");
  EXPECT_THAT(described({kDebian}), SizeIs(1));
}

TEST_F(BaseImagesTest, InstancesArePendingUntilTheirImageIsMadeWhichIsDoneOnce) {
  const std::vector<std::string> ids = run(debian(), 2);
  const std::string third = run(debian()).at(0);
  settle();
  EXPECT_THAT(images.names, ElementsAre("debian-12-amd64-20251103-2285"));
  EXPECT_EQ(state_of(ids[0]), "pending");
  EXPECT_THAT(said, ElementsAre(HasSubstr("is made for " + ids[0])));
  const Digest digest = bake("debian");
  images.finish(nullptr, digest);
  for (const std::string& id : {ids[0], ids[1], third}) {
    EXPECT_TRUE(wait_for(id, InstanceState::running));
    EXPECT_EQ(machines.spec(id).image.digest, digest);
  }
  const std::string later = run(debian()).at(0);
  EXPECT_TRUE(wait_for(later, InstanceState::running)) << "what is made is not made again";
  EXPECT_THAT(images.names, SizeIs(1));
}

TEST_F(BaseImagesTest, AFailureToMakeOneEndsWhoWaitsAndSaysWhyAndTheNextLaunchTriesAgain) {
  const std::string id = run(debian()).at(0);
  settle();
  images.finish(std::make_exception_ptr(Error(ErrorCode::unavailable, "the package mirror does not answer")), {});
  settle();
  const api::Instance ended = describe(id);
  EXPECT_EQ(ended.state->name, "terminated");
  EXPECT_EQ(ended.state_reason->code, "Server.InternalError");
  EXPECT_THAT(ended.state_reason->message.value(),
              AllOf(StartsWith("Server.InternalError: "), HasSubstr("the package mirror does not answer")));
  const std::string again = run(debian()).at(0);
  settle();
  images.finish(nullptr, bake("debian"));
  EXPECT_TRUE(wait_for(again, InstanceState::running));
}

TEST_F(BaseImagesTest, ATerminateDoesNotWaitForTheImage) {
  const std::string id = run(debian()).at(0);
  settle();
  api::TerminateInstancesRequest request;
  request.instance_ids = {id};
  call<api::TerminateInstances>(request);
  EXPECT_TRUE(wait_for(id, InstanceState::terminated));
  images.finish(nullptr, bake("debian"));
  settle();
  EXPECT_EQ(machines.launches(), 0U);
}

TEST_F(BaseImagesTest, ARestartGoesOnWithAnInstanceThatWaited) {
  const std::string id = run(debian()).at(0);
  settle();
  die();
  images.waiting.clear();  // they went with the process
  start();
  settle();
  EXPECT_THAT(images.names, SizeIs(2));
  images.finish(nullptr, bake("debian"));
  EXPECT_TRUE(wait_for(id, InstanceState::running));
}

TEST_F(BaseImagesTest, SimulatedMachinesNeedNoContent) {
  EmptyBaseImages empty(loop, store);
  die();
  options.base_images = &empty;
  start();
  const std::string id = run(debian()).at(0);
  EXPECT_TRUE(wait_for(id, InstanceState::running)) << life->ec2.instance(id).reason_message;
  EXPECT_EQ(machines.spec(id).image.config.app, "debian-12-amd64-20251103-2285");
}

}  // namespace
}  // namespace kiln::region::ec2
