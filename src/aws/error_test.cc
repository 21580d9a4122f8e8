// AwsError: classes of AWS's codes.
#include "aws/error.h"

#include <gtest/gtest.h>

namespace kiln::aws {
namespace {

TEST(AwsError, SaysServiceOperationMessageCodeAndRequest) {
  AwsError error(ErrorCode::not_found, {"ec2", "RunInstances", "InvalidAMIID.NotFound",
                                        "The image id '[ami-1]' does not exist", "r-1", 400, 2});
  EXPECT_EQ(
      error.message(),
      "ec2 RunInstances: The image id '[ami-1]' does not exist (InvalidAMIID.NotFound, request r-1, after 2 attempts)");
  EXPECT_EQ(error.aws_code(), "InvalidAMIID.NotFound");
}

TEST(AwsError, IsOfTheClassThatCallersMatchOn) {
  EXPECT_EQ(classify("InvalidInstanceID.NotFound", 400), ErrorCode::not_found);
  EXPECT_EQ(classify("LoadBalancerNotFound", 400), ErrorCode::not_found);
  EXPECT_EQ(classify("InvalidGroup.Duplicate", 400), ErrorCode::already_exists);
  EXPECT_EQ(classify("AlreadyExists", 400), ErrorCode::already_exists);
  EXPECT_EQ(classify("InstanceRefreshInProgress", 400), ErrorCode::conflict);
  EXPECT_EQ(classify("AuthFailure", 401), ErrorCode::denied);
  EXPECT_EQ(classify("Anything", 403), ErrorCode::denied);
  EXPECT_EQ(classify("RequestLimitExceeded", 503), ErrorCode::unavailable);
  EXPECT_EQ(classify("InternalError", 500), ErrorCode::unavailable);
  EXPECT_EQ(classify("InvalidAction", 400), ErrorCode::unsupported);
  EXPECT_EQ(classify("ValidationError", 400), ErrorCode::invalid);
}

}  // namespace
}  // namespace kiln::aws
