// Managed policies: those of AWS's own that a region knows, as AWS publishes them.
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
#include "region/iam/ids.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

struct Published {
  const char* name;
  const char* created;
  const char* updated;
  std::int64_t version;
  const char* document;
};

constexpr Published kPublished[] = {
    {"AdministratorAccess", "2015-02-06T18:39:46Z", "2015-02-06T18:39:46Z", 1,
     R"({"Version":"2012-10-17","Statement":[{"Action":"*","Effect":"Allow","Resource":"*"}]})"},
    {"AmazonEC2ContainerRegistryReadOnly", "2015-12-21T17:04:15Z", "2019-12-10T20:56:32Z", 3,
     R"({"Version":"2012-10-17","Statement":[{"Action":["ecr:GetAuthorizationToken",)"
     R"("ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:GetRepositoryPolicy",)"
     R"("ecr:DescribeRepositories","ecr:ListImages","ecr:DescribeImages","ecr:BatchGetImage",)"
     R"("ecr:GetLifecyclePolicy","ecr:GetLifecyclePolicyPreview","ecr:ListTagsForResource",)"
     R"("ecr:DescribeImageScanFindings"],"Effect":"Allow","Resource":"*"}]})"},
    {"AmazonEC2FullAccess", "2015-02-06T18:40:15Z", "2018-11-27T02:16:56Z", 5,
     R"({"Version":"2012-10-17","Statement":[{"Action":"ec2:*","Effect":"Allow","Resource":"*"},)"
     R"({"Action":"elasticloadbalancing:*","Effect":"Allow","Resource":"*"},{"Action":"cloudwatch:*",)"
     R"("Effect":"Allow","Resource":"*"},{"Action":"autoscaling:*","Effect":"Allow","Resource":"*"},)"
     R"({"Action":"iam:CreateServiceLinkedRole",)"
     R"("Condition":{"StringEquals":{"iam:AWSServiceName":["autoscaling.amazonaws.com",)"
     R"("ec2scheduled.amazonaws.com","elasticloadbalancing.amazonaws.com","spot.amazonaws.com",)"
     R"("spotfleet.amazonaws.com","transitgateway.amazonaws.com"]}},"Effect":"Allow","Resource":"*"}]})"},
    {"AmazonEC2ReadOnlyAccess", "2015-02-06T18:40:17Z", "2026-02-12T18:03:17Z", 5,
     R"({"Version":"2012-10-17","Statement":[{"Action":["ec2:Describe*","ec2:GetSecurityGroupsForVpc"],)"
     R"("Effect":"Allow","Resource":"*"},{"Action":"elasticloadbalancing:Describe*","Effect":"Allow",)"
     R"("Resource":"*"},{"Action":["cloudwatch:ListMetrics","cloudwatch:GetMetricStatistics",)"
     R"("cloudwatch:Describe*"],"Effect":"Allow","Resource":"*"},{"Action":"autoscaling:Describe*",)"
     R"("Effect":"Allow","Resource":"*"}]})"},
    {"AmazonS3FullAccess", "2015-02-06T18:40:58Z", "2021-09-27T20:16:37Z", 2,
     R"({"Version":"2012-10-17","Statement":[{"Action":["s3:*","s3-object-lambda:*"],"Effect":"Allow",)"
     R"("Resource":"*"}]})"},
    {"AmazonS3ReadOnlyAccess", "2015-02-06T18:40:59Z", "2023-08-10T21:31:39Z", 3,
     R"({"Version":"2012-10-17","Statement":[{"Action":["s3:Get*","s3:List*","s3:Describe*",)"
     R"("s3-object-lambda:Get*","s3-object-lambda:List*"],"Effect":"Allow","Resource":"*"}]})"},
    {"AmazonSSMManagedInstanceCore", "2019-03-15T17:22:12Z", "2019-05-23T16:54:21Z", 2,
     R"({"Version":"2012-10-17","Statement":[{"Action":["ssm:DescribeAssociation",)"
     R"("ssm:GetDeployablePatchSnapshotForInstance","ssm:GetDocument","ssm:DescribeDocument",)"
     R"("ssm:GetManifest","ssm:GetParameter","ssm:GetParameters","ssm:ListAssociations",)"
     R"("ssm:ListInstanceAssociations","ssm:PutInventory","ssm:PutComplianceItems",)"
     R"("ssm:PutConfigurePackageResult","ssm:UpdateAssociationStatus","ssm:UpdateInstanceAssociationStatus",)"
     R"("ssm:UpdateInstanceInformation"],"Effect":"Allow","Resource":"*"},)"
     R"({"Action":["ssmmessages:CreateControlChannel","ssmmessages:CreateDataChannel",)"
     R"("ssmmessages:OpenControlChannel","ssmmessages:OpenDataChannel"],"Effect":"Allow","Resource":"*"},)"
     R"({"Action":["ec2messages:AcknowledgeMessage","ec2messages:DeleteMessage","ec2messages:FailMessage",)"
     R"("ec2messages:GetEndpoint","ec2messages:GetMessages","ec2messages:SendReply"],"Effect":"Allow",)"
     R"("Resource":"*"}]})"},
    {"AmazonSSMReadOnlyAccess", "2015-05-29T17:44:19Z", "2015-05-29T17:44:19Z", 1,
     R"({"Version":"2012-10-17","Statement":[{"Action":["ssm:Describe*","ssm:Get*","ssm:List*"],)"
     R"("Effect":"Allow","Resource":"*"}]})"},
    {"CloudWatchAgentServerPolicy", "2018-03-07T01:06:44Z", "2024-02-06T16:37:37Z", 3,
     R"({"Version":"2012-10-17","Statement":[{"Action":["cloudwatch:PutMetricData","ec2:DescribeVolumes",)"
     R"("ec2:DescribeTags","logs:PutLogEvents","logs:PutRetentionPolicy","logs:DescribeLogStreams",)"
     R"("logs:DescribeLogGroups","logs:CreateLogStream","logs:CreateLogGroup","xray:PutTraceSegments",)"
     R"("xray:PutTelemetryRecords","xray:GetSamplingRules","xray:GetSamplingTargets",)"
     R"("xray:GetSamplingStatisticSummaries"],"Effect":"Allow","Resource":"*",)"
     R"("Sid":"CWACloudWatchServerPermissions"},{"Action":["ssm:GetParameter"],"Effect":"Allow",)"
     R"("Resource":"arn:aws:ssm:*:*:parameter/AmazonCloudWatch-*","Sid":"CWASSMServerPermissions"}]})"},
    {"IAMFullAccess", "2015-02-06T18:40:38Z", "2019-06-21T19:40:00Z", 2,
     R"({"Version":"2012-10-17","Statement":[{"Action":["iam:*","organizations:DescribeAccount",)"
     R"("organizations:DescribeOrganization","organizations:DescribeOrganizationalUnit",)"
     R"("organizations:DescribePolicy","organizations:ListChildren","organizations:ListParents",)"
     R"("organizations:ListPoliciesForTarget","organizations:ListRoots","organizations:ListPolicies",)"
     R"("organizations:ListTargetsForPolicy"],"Effect":"Allow","Resource":"*"}]})"},
    {"IAMReadOnlyAccess", "2015-02-06T18:40:39Z", "2018-01-25T19:11:27Z", 4,
     R"({"Version":"2012-10-17","Statement":[{"Action":["iam:GenerateCredentialReport",)"
     R"("iam:GenerateServiceLastAccessedDetails","iam:Get*","iam:List*","iam:SimulateCustomPolicy",)"
     R"("iam:SimulatePrincipalPolicy"],"Effect":"Allow","Resource":"*"}]})"},
    {"PowerUserAccess", "2015-02-06T18:39:47Z", "2026-02-12T17:59:14Z", 12,
     R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","organizations:*",)"
     R"("account:*"],"Resource":"*"},{"Action":["account:GetAccountInformation",)"
     R"("account:GetGovCloudAccountInformation","account:GetPrimaryEmail","account:ListRegions",)"
     R"("iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles",)"
     R"("organizations:DescribeEffectivePolicy","organizations:DescribeOrganization"],"Effect":"Allow",)"
     R"("Resource":"*"}]})"},
};

std::map<std::string, Policy> make() {
  std::map<std::string, Policy> policies;
  for (const Published& published : kPublished) {
    Policy policy;
    policy.name = published.name;
    policy.arn = "arn:aws:iam::aws:policy/" + policy.name;
    policy.id = fixed_id("ANPA", policy.arn);
    policy.created = parse_iso8601(published.created);
    policy.updated = parse_iso8601(published.updated);
    policy.default_version = policy.latest_version = published.version;
    policy.versions[published.version] = {published.version, published.document, policy.updated};
    policies[policy.arn] = policy;
  }
  return policies;
}

}  // namespace

const std::map<std::string, Policy>& managed_policies() {
  static const std::map<std::string, Policy> kPolicies = make();
  return kPolicies;
}

}  // namespace kiln::region::iam
