// Parameter Store, asked as a client asks.
#include <fmt/format.h>

#include "base/encoding.h"
#include "region/ssm/testing/ssm_world.h"

namespace kiln::region::ssm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using testing::SsmWorld;

namespace w = wire::ssm;
namespace api = wire::ec2;

class ParameterStore : public SsmWorld {
 protected:
  static w::PutParameterRequest request(const std::string& name, const std::string& value,
                                        const std::string& type = "String") {
    w::PutParameterRequest out;
    out.name = name;
    out.value = value;
    out.type = type;
    return out;
  }
  std::int64_t put(const std::string& name, const std::string& value, const std::string& type = "String") {
    w::PutParameterRequest asked = request(name, value, type);
    asked.overwrite = true;
    return call<w::PutParameter>(asked).version.value();
  }
  w::Parameter get(const std::string& name, bool decrypt = false) {
    w::GetParameterRequest asked;
    asked.name = name;
    asked.with_decryption = decrypt;
    return call<w::GetParameter>(asked).parameter.value();
  }
  std::string missing(const std::string& name) {
    w::GetParameterRequest asked;
    asked.name = name;
    return refusal<w::GetParameter>(asked);
  }
  std::string refused(const std::function<void(w::PutParameterRequest&)>& change) {
    w::PutParameterRequest asked = request("/app/one", "1");
    change(asked);
    return refusal<w::PutParameter>(asked);
  }
  w::LabelParameterVersionResult label(const std::string& name, std::int64_t version, std::vector<std::string> labels) {
    w::LabelParameterVersionRequest asked;
    asked.name = name;
    asked.parameter_version = version;
    asked.labels = std::move(labels);
    return call<w::LabelParameterVersion>(asked);
  }
  std::vector<std::string> described(const std::string& key, const std::string& option,
                                     std::vector<std::string> values) {
    w::DescribeParametersRequest asked;
    auto& filter = asked.parameter_filters.emplace_back();
    filter.key = key;
    if (!option.empty()) filter.option = option;
    filter.values = std::move(values);
    std::vector<std::string> names;
    for (const auto& one : call<w::DescribeParameters>(asked).parameters) names.push_back(one.name.value());
    return names;
  }
};

TEST_F(ParameterStore, AValueIsReadAsItWasPut) {
  const auto made = call<w::PutParameter>(request("/app/color", "blue"));
  EXPECT_EQ(made.version, 1);
  EXPECT_EQ(made.tier, "Standard");
  const w::Parameter one = get("/app/color");
  EXPECT_EQ(one.value, "blue");
  EXPECT_EQ(one.type, "String");
  EXPECT_EQ(one.version, 1);
  EXPECT_EQ(one.arn, "arn:aws:ssm:us-east-1:123456789012:parameter/app/color");
  EXPECT_EQ(one.data_type, "text");
  EXPECT_EQ(get(*one.arn).value, "blue");
  call<w::PutParameter>(request("plain", "x", "StringList"));
  EXPECT_EQ(get("arn:aws:ssm:us-east-1:123456789012:parameter/plain").name, "plain");
  EXPECT_EQ(missing("/app/none"), "ParameterNotFound");
}

TEST_F(ParameterStore, AnExistingOneIsChangedOnlyByOverwrite) {
  put("/app/one", "1");
  EXPECT_EQ(refused([](auto&) {}), "ParameterAlreadyExists");
  EXPECT_EQ(put("/app/one", "2"), 2);
  EXPECT_EQ(get("/app/one").value, "2");
  EXPECT_EQ(refused([](auto& r) {
              r.overwrite = true;
              r.type = "SecureString";
            }),
            "HierarchyTypeMismatchException");
  w::PutParameterRequest without_type = request("/app/one", "3");
  without_type.type.reset();
  without_type.overwrite = true;
  EXPECT_EQ(call<w::PutParameter>(without_type).version, 3);
  EXPECT_EQ(refused([](auto& r) {
              r.name = "/app/new";
              r.type.reset();
            }),
            "ValidationException");
  EXPECT_EQ(refused([](auto& r) {
              r.overwrite = true;
              r.tags.emplace_back().key = "a";
              r.tags[0].value = "b";
            }),
            "ValidationException");
}

TEST_F(ParameterStore, NamesFollowAwssRules) {
  const auto named = [&](const std::string& name) { return refused([&](auto& r) { r.name = name; }); };
  EXPECT_EQ(named("awsome"), "ValidationException");
  EXPECT_EQ(named("/ssm/x"), "ValidationException");
  EXPECT_EQ(named("/aws/x"), "AccessDeniedException");
  EXPECT_EQ(named("a b"), "ValidationException");
  EXPECT_EQ(named("a/b"), "ValidationException") << "a path begins with a slash";
  EXPECT_EQ(named("/a//b"), "ValidationException");
  std::string deep;
  for (int i = 0; i < 15; ++i) deep += "/a";
  EXPECT_EQ(named(deep), "");
  EXPECT_EQ(named(deep + "/a"), "HierarchyLevelLimitExceededException");
}

TEST_F(ParameterStore, TiersBoundTheSizeAndNeverGoBack) {
  const auto sized = [&](const std::string& name, std::size_t size, const char* tier) {
    w::PutParameterRequest asked = request(name, std::string(size, 'v'));
    asked.overwrite = true;
    if (tier != nullptr) asked.tier = tier;
    return refusal<w::PutParameter>(asked);
  };
  EXPECT_EQ(sized("/a", 4096, nullptr), "");
  EXPECT_EQ(sized("/a", 4097, nullptr), "ValidationException");
  EXPECT_THAT(last_message, HasSubstr("Standard tier parameters support a maximum parameter value of 4096 characters"));
  EXPECT_EQ(sized("/a", 4097, "Intelligent-Tiering"), "");
  EXPECT_EQ(sized("/a", 8193, "Advanced"), "ValidationException");
  EXPECT_EQ(sized("/a", 1, nullptr), "") << "it stays advanced";
  EXPECT_EQ(sized("/a", 1, "Standard"), "ValidationException");
  EXPECT_THAT(described("Tier", "", {"Advanced"}), ElementsAre("/a"));
}

TEST_F(ParameterStore, AllowedPatternIsHonoured) {
  EXPECT_EQ(refused([](auto& r) { r.allowed_pattern = "^\\d+$"; }), "");
  EXPECT_EQ(refused([](auto& r) {
              r.name = "/b";
              r.value = "x";
              r.allowed_pattern = "^\\d+$";
            }),
            "ParameterPatternMismatchException");
  EXPECT_EQ(refused([](auto& r) {
              r.name = "/c";
              r.allowed_pattern = "[";
            }),
            "InvalidAllowedPatternException");
}

TEST_F(ParameterStore, ASecretValueIsOpenedOnlyWhenItIsAskedFor) {
  put("/app/secret", "hunter2-and-more", "SecureString");
  EXPECT_EQ(get("/app/secret", true).value, "hunter2-and-more");
  EXPECT_NE(get("/app/secret").value, "hunter2-and-more");
  for (const auto& [key, text] : journal.load("ssm.parameter")) {
    EXPECT_THAT(text, Not(HasSubstr("hunter2")));
    EXPECT_THAT(text, Not(HasSubstr(base64_encode("hunter2-and-mor").substr(0, 12))));
  }
  die();
  start();
  EXPECT_EQ(get("/app/secret", true).value, "hunter2-and-more");
  EXPECT_EQ(refused([](auto& r) {
              r.type = "SecureString";
              r.key_id = "alias/mine";
            }),
            "InvalidKeyId");
  EXPECT_THAT(described("KeyId", "", {"alias/aws/ssm"}), ElementsAre("/app/secret"));
}

TEST_F(ParameterStore, VersionsAndLabelsSelect) {
  put("/app/one", "1");
  put("/app/one", "2");
  label("/app/one", 1, {"prod"});
  EXPECT_EQ(get("/app/one:1").value, "1");
  EXPECT_EQ(get("/app/one:1").selector, ":1");
  EXPECT_EQ(get("/app/one:prod").value, "1");
  label("/app/one", 2, {"prod"});
  EXPECT_EQ(get("/app/one:prod").value, "2") << "a label moves";
  EXPECT_EQ(missing("/app/one:3"), "ParameterVersionNotFound");
  EXPECT_EQ(missing("/app/one:test"), "ParameterVersionNotFound");
  EXPECT_EQ(missing("/app/one:1:2"), "ParameterNotFound");
}

TEST_F(ParameterStore, LabelsAreCheckedAndAtMostTenAVersion) {
  put("/app/one", "1");
  EXPECT_THAT(label("/app/one", 1, {"good", "1bad", "aws-x", "sp ace"}).invalid_labels,
              ElementsAre("1bad", "aws-x", "sp ace"));
  std::vector<std::string> many;
  for (int i = 0; i < 10; ++i) many.push_back(fmt::format("l{}", i));
  w::LabelParameterVersionRequest asked;
  asked.name = "/app/one";
  asked.labels = many;
  EXPECT_EQ(refusal<w::LabelParameterVersion>(asked), "ParameterVersionLabelLimitExceeded");
  asked.parameter_version = 9;
  EXPECT_EQ(refusal<w::LabelParameterVersion>(asked), "ParameterVersionNotFound");
  w::UnlabelParameterVersionRequest less;
  less.name = "/app/one";
  less.parameter_version = 1;
  less.labels = {"good", "none"};
  const auto done = call<w::UnlabelParameterVersion>(less);
  EXPECT_THAT(done.removed_labels, ElementsAre("good"));
  EXPECT_THAT(done.invalid_labels, ElementsAre("none"));
}

TEST_F(ParameterStore, TheNewestHundredVersionsAreKeptAndALabelHoldsTheOldest) {
  for (int i = 0; i < 101; ++i) put("/app/one", std::to_string(i));
  EXPECT_EQ(missing("/app/one:1"), "ParameterVersionNotFound");
  label("/app/one", 2, {"keep"});
  EXPECT_EQ(refused([](auto& r) { r.overwrite = true; }), "ParameterMaxVersionLimitExceeded");
  label("/app/one", 3, {"keep"});
  EXPECT_EQ(put("/app/one", "on"), 102);
  w::GetParameterHistoryRequest asked;
  asked.name = "/app/one";
  asked.max_results = 50;
  auto page = call<w::GetParameterHistory>(asked);
  EXPECT_THAT(page.parameters, SizeIs(50));
  EXPECT_EQ(page.parameters[0].version, 3);
  EXPECT_THAT(page.parameters[0].labels, ElementsAre("keep"));
  asked.next_token = page.next_token;
  page = call<w::GetParameterHistory>(asked);
  EXPECT_EQ(page.parameters.back().version, 102);
  EXPECT_FALSE(page.next_token);
  EXPECT_EQ(page.parameters.back().last_modified_user, "arn:aws:iam::123456789012:root");
}

TEST_F(ParameterStore, ManyAreReadAtOnceAndWhatIsNotThereIsNamed) {
  put("/a", "1");
  put("/b", "2");
  w::GetParametersRequest asked;
  asked.names = {"/b", "/a", "/a", "/none", "/a:7"};
  const auto got = call<w::GetParameters>(asked);
  EXPECT_THAT(got.parameters, SizeIs(2));
  EXPECT_THAT(got.invalid_parameters, ElementsAre("/a:7", "/none"));
  asked.names = std::vector<std::string>(11, "/a");
  EXPECT_EQ(refusal<w::GetParameters>(asked), "ValidationException");
}

TEST_F(ParameterStore, APathHoldsWhatIsBelowIt) {
  for (const char* name : {"/app/a", "/app/b", "/app/deep/c", "/apple", "app"}) put(name, "v");
  put("/app/s", "x", "SecureString");
  const auto below = [&](const std::string& path, bool recursive) {
    w::GetParametersByPathRequest asked;
    asked.path = path;
    asked.recursive = recursive;
    std::vector<std::string> names;
    for (const auto& one : call<w::GetParametersByPath>(asked).parameters) names.push_back(one.name.value());
    return names;
  };
  EXPECT_THAT(below("/app", false), ElementsAre("/app/a", "/app/b", "/app/s"));
  EXPECT_THAT(below("/app/", true), ElementsAre("/app/a", "/app/b", "/app/deep/c", "/app/s"));
  EXPECT_THAT(below("/", false), ElementsAre("/apple"));
  w::GetParametersByPathRequest asked;
  asked.path = "/app";
  asked.recursive = true;
  asked.max_results = 3;
  auto page = call<w::GetParametersByPath>(asked);
  EXPECT_THAT(page.parameters, SizeIs(3));
  put("/app/aa", "while it is read");
  asked.next_token = page.next_token;
  page = call<w::GetParametersByPath>(asked);
  ASSERT_THAT(page.parameters, SizeIs(1));
  EXPECT_EQ(page.parameters[0].name, "/app/s");
  asked.next_token.reset();
  asked.max_results = 11;
  EXPECT_EQ(refusal<w::GetParametersByPath>(asked), "ValidationException");
  asked.max_results.reset();
  auto& filter = asked.parameter_filters.emplace_back();
  filter.key = "Type";
  filter.values = {"SecureString"};
  EXPECT_THAT(call<w::GetParametersByPath>(asked).parameters, SizeIs(1));
  filter.key = "Name";
  EXPECT_EQ(refusal<w::GetParametersByPath>(asked), "InvalidFilterKey");
  asked.path = "app";
  EXPECT_EQ(refusal<w::GetParametersByPath>(asked), "ValidationException");
}

TEST_F(ParameterStore, DescriptionsAreFiltered) {
  put("/app/a", "1");
  put("/app/deep/b", "2", "StringList");
  put("other", "3");
  w::AddTagsToResourceRequest tag;
  tag.resource_type = "Parameter";
  tag.resource_id = "other";
  tag.tags.emplace_back().key = "team";
  tag.tags[0].value = "x";
  call<w::AddTagsToResource>(tag);
  EXPECT_THAT(described("Name", "", {"/app/a"}), ElementsAre("/app/a"));
  EXPECT_THAT(described("Name", "BeginsWith", {"/app"}), ElementsAre("/app/a", "/app/deep/b"));
  EXPECT_THAT(described("Name", "Contains", {"the"}), ElementsAre("other"));
  EXPECT_THAT(described("Path", "OneLevel", {"/app"}), ElementsAre("/app/a"));
  EXPECT_THAT(described("Path", "Recursive", {"/app"}), ElementsAre("/app/a", "/app/deep/b"));
  EXPECT_THAT(described("Type", "", {"StringList"}), ElementsAre("/app/deep/b"));
  EXPECT_THAT(described("tag:team", "", {"x"}), ElementsAre("other"));
  EXPECT_THAT(described("tag:team", "", {"y"}), IsEmpty());
  w::DescribeParametersRequest wrong;
  wrong.parameter_filters.emplace_back().key = "Size";
  wrong.parameter_filters[0].values = {"1"};
  EXPECT_EQ(refusal<w::DescribeParameters>(wrong), "InvalidFilterKey");
  wrong.parameter_filters[0].key = "Type";
  wrong.parameter_filters[0].option = "Contains";
  EXPECT_EQ(refusal<w::DescribeParameters>(wrong), "InvalidFilterOption");
  wrong.filters.emplace_back().key = "Name";
  wrong.filters[0].values = {"x"};
  EXPECT_EQ(refusal<w::DescribeParameters>(wrong), "ValidationException");
}

TEST_F(ParameterStore, TagsComeAndGo) {
  w::PutParameterRequest asked = request("/a", "1");
  asked.tags.emplace_back().key = "one";
  asked.tags[0].value = "1";
  call<w::PutParameter>(asked);
  w::AddTagsToResourceRequest add;
  add.resource_type = "Parameter";
  add.resource_id = "/a";
  add.tags = asked.tags;
  add.tags[0].key = "two";
  call<w::AddTagsToResource>(add);
  w::RemoveTagsFromResourceRequest remove;
  remove.resource_type = "Parameter";
  remove.resource_id = "/a";
  remove.tag_keys = {"one"};
  call<w::RemoveTagsFromResource>(remove);
  w::ListTagsForResourceRequest list;
  list.resource_type = "Parameter";
  list.resource_id = "/a";
  const auto tags = call<w::ListTagsForResource>(list).tag_list;
  ASSERT_THAT(tags, SizeIs(1));
  EXPECT_EQ(tags[0].key, "two");
  list.resource_id = "/none";
  EXPECT_EQ(refusal<w::ListTagsForResource>(list), "InvalidResourceId");
  list.resource_type = "Document";
  EXPECT_EQ(refusal<w::ListTagsForResource>(list), "InvalidResourceType");
  add.tags.clear();
  for (int i = 0; i < 51; ++i) {
    auto& one = add.tags.emplace_back();
    one.key = std::to_string(i);
    one.value = "v";
  }
  EXPECT_EQ(refusal<w::AddTagsToResource>(add), "TooManyTagsError");
}

TEST_F(ParameterStore, WhatIsDeletedIsGoneWithItsVersions) {
  put("/a", "1");
  put("/a", "2");
  w::DeleteParameterRequest one;
  one.name = "/a";
  call<w::DeleteParameter>(one);
  EXPECT_EQ(refusal<w::DeleteParameter>(one), "ParameterNotFound");
  EXPECT_EQ(put("/a", "new"), 1);
  w::DeleteParametersRequest many;
  many.names = {"/a", "/b"};
  const auto done = call<w::DeleteParameters>(many);
  EXPECT_THAT(done.deleted_parameters, ElementsAre("/a"));
  EXPECT_THAT(done.invalid_parameters, ElementsAre("/b"));
  die();
  start();
  EXPECT_EQ(missing("/a"), "ParameterNotFound");
}

TEST_F(ParameterStore, PublicParametersAreReadAndNeverWritten) {
  public_parameters["/aws/service/debian/release/12/latest/amd64"] = "ami-1";
  const w::Parameter one = get("/aws/service/debian/release/12/latest/amd64");
  EXPECT_EQ(one.value, "ami-1");
  EXPECT_EQ(one.arn, "arn:aws:ssm:us-east-1::parameter/aws/service/debian/release/12/latest/amd64");
  EXPECT_EQ(get(*one.arn).value, "ami-1");
  w::GetParametersByPathRequest asked;
  asked.path = "/aws/service/debian";
  asked.recursive = true;
  EXPECT_THAT(call<w::GetParametersByPath>(asked).parameters, SizeIs(1));
  EXPECT_EQ(refused([](auto& r) { r.name = "/aws/service/debian/x"; }), "AccessDeniedException");
  EXPECT_THAT(call<w::DescribeParameters>({}).parameters, IsEmpty());
}

TEST_F(ParameterStore, AnImageParameterMustHoldAnImage) {
  const std::string image = register_image();
  EXPECT_EQ(refused([&](auto& r) {
              r.value = image;
              r.data_type = "aws:ec2:image";
            }),
            "");
  EXPECT_EQ(refused([](auto& r) {
              r.name = "/b";
              r.value = "ami-0";
              r.data_type = "aws:ec2:image";
            }),
            "ValidationException");
  EXPECT_EQ(refused([](auto& r) {
              r.name = "/c";
              r.data_type = "aws:ssm:integration";
            }),
            "ValidationException");
}

TEST_F(ParameterStore, RunInstancesAndLaunchTemplatesResolveAnImage) {
  const std::string first = register_image("web-1");
  const std::string second = register_image("web-2");
  put("/golden/web", first);
  put("/golden/web", second);
  EXPECT_EQ(describe(run("resolve:ssm:/golden/web").at(0)).image_id, second);
  EXPECT_EQ(describe(run("resolve:ssm:/golden/web:1").at(0)).image_id, first);
  EXPECT_EQ(refusal<api::RunInstances>(run_request("resolve:ssm:/golden/none")), "InvalidParameterValue");

  api::CreateLaunchTemplateRequest create;
  create.launch_template_name = "web";
  create.launch_template_data.emplace().image_id = "resolve:ssm:/golden/web";
  create.launch_template_data->instance_type = "t3.micro";
  call<api::CreateLaunchTemplate>(create);
  api::DescribeLaunchTemplateVersionsRequest versions;
  versions.launch_template_name = "web";
  EXPECT_EQ(
      call<api::DescribeLaunchTemplateVersions>(versions).launch_template_versions.at(0).launch_template_data->image_id,
      "resolve:ssm:/golden/web");
  versions.resolve_alias = true;
  EXPECT_EQ(
      call<api::DescribeLaunchTemplateVersions>(versions).launch_template_versions.at(0).launch_template_data->image_id,
      second);
  api::RunInstancesRequest run;
  run.launch_template.emplace().launch_template_name = "web";
  run.min_count = 1;
  run.max_count = 1;
  put("/golden/web", first);
  EXPECT_EQ(call<api::RunInstances>(run).instances.at(0).image_id, first) << "as it is at the launch";
}

}  // namespace
}  // namespace kiln::region::ssm
