// Builder: what steps become, and the calls of a bake, in their order; what a run has left is found and removed.
#include "builder/builder.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "aws/client.h"
#include "aws/fake_aws.h"
#include "bake/lock_file.h"
#include "base/encoding.h"
#include "builder/ami_stand.h"
#include "builder/internal/instance.h"
#include "builder/orders.h"
#include "host/random.h"
#include "wire/ec2.h"
#include "wire/ssm.h"

namespace kiln::builder {
namespace {

namespace ec2 = wire::ec2;
namespace ssm = wire::ssm;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Unpacked {
  std::string path;
  unsigned mode = 0;
  std::string content;
  std::string link;
};

std::vector<Unpacked> unpack(const std::string& packed) {
  std::vector<Unpacked> all;
  archive* reader = archive_read_new();
  archive_read_support_filter_gzip(reader);
  archive_read_support_format_tar(reader);
  EXPECT_EQ(archive_read_open_memory(reader, packed.data(), packed.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
    Unpacked one{archive_entry_pathname(entry), archive_entry_perm(entry), {}, {}};
    if (archive_entry_symlink(entry) != nullptr) one.link = archive_entry_symlink(entry);
    one.content.resize(static_cast<std::size_t>(archive_entry_size(entry)));
    if (!one.content.empty()) archive_read_data(reader, one.content.data(), one.content.size());
    all.push_back(one);
  }
  archive_read_free(reader);
  return all;
}

// The base64 text between the quotes of each script, put together.
std::string parcel_of(const std::vector<std::string>& scripts) {
  std::string text;
  for (const std::string& script : scripts) {
    const auto from = script.find('\'') + 1;
    text += script.substr(from, script.find('\'', from) - from);
  }
  return base64_decode(text);
}

spec::App app_of(const std::string& steps, const std::string& more = {}) {
  return spec::parse_app("app: web\nimage:\n  from: debian:bookworm\n  version: 1.0.0\n  steps:\n" + steps + more);
}

std::string file_of(const Order& order, const std::string& path) {
  for (const ParcelEntry& entry : order.parcel) {
    if (entry.path == path) return entry.content;
  }
  return "there is no " + path;
}
std::string script_of(const Order& order) { return file_of(order, "/run/kiln/step"); }

class Orders : public testing::Test {
 protected:
  std::vector<Order> orders(const spec::App& app) { return orders_of(app, folder_.path()); }
  std::string refused(const spec::App& app) {
    try {
      orders(app);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.message() + " / " + error.next();
    }
    ADD_FAILURE() << "not refused";
    return {};
  }
  host::TemporaryFolder folder_{"kiln-orders"};
};

TEST(Parcel, HoldsFilesFoldersAndLinksTheSameEachTime) {
  const std::vector<ParcelEntry> entries = {
      {.kind = ParcelEntry::Kind::folder, .path = "/srv/a", .mode = 0755},
      {.path = "/srv/a/b", .content = "x\0y", .mode = 0640, .uid = 33},
      {.kind = ParcelEntry::Kind::link, .path = "/srv/l", .target = "a/b", .mode = 0777}};
  const auto files = unpack(pack(entries));
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[1].path, "srv/a/b");
  EXPECT_EQ(files[1].mode, 0640U);
  EXPECT_EQ(files[2].link, "a/b");
  EXPECT_EQ(pack(entries), pack(entries));
}

TEST(Parcel, GoesInPiecesThatACommandCarries) {
  host::SeededRandom random(1);
  std::string noise;
  while (noise.size() < 100'000) noise += static_cast<char>(random.below(256));
  const auto scripts = deliver({{.path = "/opt/noise", .content = noise}}, false);
  EXPECT_EQ(scripts.size(), 5U);
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    EXPECT_LT(scripts[i].size(), kPieceBytes + 1000);
    EXPECT_THAT(scripts[i], HasSubstr(i == 0 ? "' > /run/kiln/parcel" : "' >> /run/kiln/parcel"));
    EXPECT_EQ(scripts[i].find("tar -xzf") != std::string::npos, i + 1 == scripts.size());
  }
  EXPECT_EQ(unpack(parcel_of(scripts)).at(0).content, noise);
  EXPECT_THAT(scripts.back(), Not(HasSubstr("/run/kiln/step")));
  std::string much;
  while (much.size() <= kParcelBytesMax) much += static_cast<char>(random.below(256));
  EXPECT_THROW(deliver({{.path = "/opt/much", .content = much}}, false), Error);
}

TEST_F(Orders, AreTheRecipesStepsBetweenABeginningAndAnEnd) {
  host::make_folders(folder_.path() / "site/sub");
  host::write_file(folder_.path() / "site/index.html", "page");
  host::write_file(folder_.path() / "site/sub/run", "#!/bin/sh\n", 0755);
  const spec::App app = app_of(
      "    - packages: [nginx, curl=7.88]\n    - copy: {from: site/, to: /var/www/}\n"
      "    - run: [echo it's, 'false {{x}}']\n    - enable: nginx\n");
  const auto all = orders(app);
  ASSERT_EQ(all.size(), 6U);
  EXPECT_THAT(script_of(all[0]), HasSubstr("cloud-init status --wait"));
  EXPECT_THAT(all[1].parcel[0].content, HasSubstr("--no-install-recommends install -- 'nginx' 'curl=7.88'"));
  std::vector<std::string> copied;
  for (const ParcelEntry& entry : all[2].parcel) copied.push_back(fmt::format("{} {:o}", entry.path, entry.mode));
  EXPECT_THAT(copied,
              ElementsAre("/var/www 755", "/var/www/index.html 644", "/var/www/sub 755", "/var/www/sub/run 755"));
  EXPECT_FALSE(all[2].run);
  EXPECT_THAT(all[3].parcel[0].content,
              HasSubstr("env '/bin/sh' '-ec' 'echo it'\\''s'\nenv '/bin/sh' '-ec' 'false {{x}}'\n"));
  EXPECT_THAT(all[4].parcel[0].content, HasSubstr("systemctl enable -- 'nginx.service'"));
  EXPECT_THAT(all[5].parcel[0].content, HasSubstr(": >/etc/machine-id"));
  // Braces would be Systems Manager's own variables: nothing of a script is sent as it stands.
  EXPECT_THAT(deliver(all[3].parcel, true).back(), Not(HasSubstr("{{")));
}

TEST_F(Orders, OfATemplateAndANamedOwnerAreTheirTextAndAChown) {
  host::write_file(folder_.path() / "a.conf", "port {{ port }}\n");
  spec::App app = app_of("    - copy: {from: a.conf, to: /etc/, mode: 0600}\n");
  auto& copy = std::get<spec::CopyStep>(app.image.steps[0].action);
  copy.variables = spec::Variables{{"port", "80"}};
  copy.user = "www-data";
  const auto all = orders(app);
  EXPECT_EQ(all[1].parcel[0].content, "port 80\n");
  EXPECT_THAT(all[1].parcel[1].content, HasSubstr("chown -h 'www-data:' '/etc/a.conf'\n"));
  EXPECT_TRUE(all[1].run);
}

TEST_F(Orders, HaveTheFilesThatAStepReadsAndNothingSecret) {
  spec::App app = app_of("    - run: ansible-playbook site.yml\n");
  auto& run = std::get<spec::RunStep>(app.image.steps[0].action);
  run.files = {{"roles/a.yml", "content", 0600}};
  run.environment = {{"A", "b c"}};
  const auto all = orders(app);
  EXPECT_EQ(all[1].parcel[0].path, "/run/kiln/files/roles/a.yml");
  EXPECT_THAT(all[1].parcel[1].content, HasSubstr("env 'A=b c' '/bin/sh' '-ec' 'ansible-playbook site.yml'"));
  run.secrets = {"token"};
  EXPECT_THAT(refused(app), HasSubstr("kiln.yaml:6:7: a secret would stay in the command history"));
  run.secrets.clear();
  app.image.hidden = {"playbook site"};
  EXPECT_THAT(refused(app), HasSubstr("kiln.yaml:6:7: a sensitive value would stay in the command history"));
  app.image.hidden = {"of another step"};
  EXPECT_EQ(orders(app)[1].parcel.size(), 2U);
}

TEST_F(Orders, RefuseWhatAnInstanceCannotHaveAndQuoteIt) {
  EXPECT_THAT(refused(app_of("    - copy: {from: nothing, to: /a}\n")),
              HasSubstr("kiln.yaml:6:7: 'nothing' does not exist"));
  host::SeededRandom random(2);
  std::string much;
  while (much.size() <= kParcelBytesMax) much += static_cast<char>(random.below(256));
  host::write_file(folder_.path() / "much", much);
  EXPECT_THAT(refused(app_of("    - copy: {from: much, to: /a}\n")),
              HasSubstr("kiln.yaml:6:7: 4.0 MiB compressed do not go"));
}

TEST_F(Orders, OfRepositoriesAreKeysAndSourcesThatTheImageDoesNotKeep) {
  const std::string more =
      "  repositories:\n    - {name: tools, url: 'https://tools.example/debian', suite: stable, components: [main], "
      "key: tools.asc}\n";
  const spec::App app = app_of("    - packages: [tool]\n", more);
  EXPECT_THAT(refused(app), HasSubstr("the repository 'tools' has no key: 'tools.asc' is no file"));
  host::write_file(folder_.path() / "tools.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
  const auto all = orders(app);
  EXPECT_EQ(file_of(all[0], "/run/kiln-apt/keys/tools.asc"), "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
  EXPECT_EQ(file_of(all[0], "/run/kiln-apt/sources/kiln-tools.sources"),
            "Types: deb\nURIs: https://tools.example/debian\nSuites: stable\nSigned-By: "
            "/run/kiln-apt/keys/tools.asc\nComponents: main\n");
  EXPECT_THAT(script_of(all[1]), HasSubstr("APT_CONFIG=/run/kiln-apt/apt.conf"));
  EXPECT_THAT(script_of(all.back()), HasSubstr("rm -rf /run/kiln-apt"));
}

TEST_F(Orders, HonourTheLockFileAndRefuseAStepThatItDoesNotKnow) {
  bake::LockFile lock;
  lock.base = "debian:bookworm";
  lock.steps = {{{"nginx"}, {{"nginx", "1.22.1-9"}, {"nginx-common", "1.22.1-9"}}}};
  bake::write_lock_file(folder_.path(), lock);
  const auto all = orders(app_of("    - packages: [nginx]\n"));
  EXPECT_THAT(script_of(all[1]), HasSubstr("install -- 'nginx=1.22.1-9' 'nginx-common=1.22.1-9'\n"));
  EXPECT_THAT(script_of(all[1]), HasSubstr("apt-mark -q auto 'nginx-common'"));
  EXPECT_THAT(refused(app_of("    - packages: [curl]\n")),
              HasSubstr("kiln.yaml:6:7: kiln.lock does not say which versions this step brings"));
}

class Building : public testing::Test {
 protected:
  Building() {
    ec2::DescribeImagesResult images;
    images.images.resize(2);
    images.images[0].image_id = "ami-old";
    images.images[0].creation_date = "2025-01-01T00:00:00.000Z";
    images.images[1].image_id = "ami-new";
    images.images[1].creation_date = "2025-06-01T00:00:00.000Z";
    bases = images;
  }

  Result bake(const spec::App& app, const spec::Surrogate* surrogate = nullptr) {
    return bake_in_instance(site, {app, folder.path(), "local", "1.0.0", {}, {}, surrogate});
  }

  void launches() {
    ec2::CreateSecurityGroupResult group;
    group.group_id = "sg-1";
    aws.then_ok<ec2::CreateSecurityGroup>(group);
    ec2::Reservation launched;
    launched.instances.resize(1);
    launched.instances[0].instance_id = "i-1";
    aws.then_ok<ec2::RunInstances>(launched);
    is("pending");
    aws.then_ok<ssm::DescribeInstanceInformation>({});
    is("running");
    ssm::DescribeInstanceInformationResult information;
    information.instance_information_list.resize(1);
    information.instance_information_list[0].ping_status = "Online";
    aws.then_ok<ssm::DescribeInstanceInformation>(information);
  }

  void is(const std::string& state) {
    ec2::DescribeInstancesResult result;
    result.reservations.resize(1);
    result.reservations[0].instances.resize(1);
    result.reservations[0].instances[0].instance_id = "i-1";
    result.reservations[0].instances[0].state.emplace();
    result.reservations[0].instances[0].state->name = state;
    aws.then_ok<ec2::DescribeInstances>(result);
  }

  void runs(const std::string& status, std::int64_t code, const std::string& err = {}, const std::string& out = {}) {
    ssm::SendCommandResult sent;
    sent.command.emplace();
    sent.command->command_id = "c-1";
    aws.then_ok<ssm::SendCommand>(sent);
    aws.then_error(*ssm::SendCommand::operation().service, "InvocationDoesNotExist", 400);
    ssm::GetCommandInvocationResult invocation;
    invocation.status = "InProgress";
    aws.then_ok<ssm::GetCommandInvocation>(invocation);
    invocation.status = status;
    invocation.status_details = status;
    invocation.response_code = code;
    invocation.standard_error_content = err;
    invocation.standard_output_content = out;
    aws.then_ok<ssm::GetCommandInvocation>(invocation);
  }

  // In two pieces.
  void reads(const std::string& bytes) {
    const std::string text = base64_encode(bytes);
    const std::size_t half = text.size() / 2;
    runs("Success", 0, {}, fmt::format("{}\n{}", text.size(), text.substr(0, half)));
    runs("Success", 0, {}, text.substr(half));
    runs("Success", 0);
  }

  void images_itself(const std::string& state) {
    aws.then_ok<ec2::StopInstances>({});
    is("stopping");
    is("stopped");
    ec2::CreateImageResult made;
    made.image_id = "ami-made";
    aws.then_ok<ec2::CreateImage>(made);
    ec2::DescribeImagesResult result;
    result.images.resize(1);
    result.images[0].image_id = "ami-made";
    result.images[0].state = "pending";
    aws.then_ok<ec2::DescribeImages>(result);
    result.images[0].state = state;
    aws.then_ok<ec2::DescribeImages>(result);
  }

  host::TemporaryFolder folder{"kiln-builder"};
  host::SimulatedClock clock{parse_iso8601("2026-01-01T00:00:00Z")};
  host::SeededRandom random{7};
  aws::FakeAws aws{clock};
  aws::Client client{aws::test_config(), aws, clock, random};
  ledger::Ledger ledger{folder.path() / "ledger", clock, "me@here"};
  catalog::Catalog catalog{ledger};
  Site site{client, clock, random, ledger, "123456789012", "us-east-1"};
  ec2::DescribeImagesResult bases;
};

TEST_F(Building, AnInstanceIsLaunchedAskedStoppedAndImaged) {
  aws.then_ok<ec2::DescribeImages>(bases);
  launches();
  for (int i = 0; i < 3; ++i) runs("Success", 0);
  reads("the disk");
  images_itself("available");
  ec2::DescribeImagesResult made;
  made.images.resize(1);
  made.images[0].block_device_mappings.resize(1);
  made.images[0].block_device_mappings[0].ebs.emplace();
  made.images[0].block_device_mappings[0].ebs->snapshot_id = "snap-1";
  aws.then_ok<ec2::DescribeImages>(made);
  ec2::DescribeSnapshotsResult snapshots;
  snapshots.snapshots.resize(1);
  snapshots.snapshots[0].volume_size = 8;
  aws.then_ok<ec2::DescribeSnapshots>(snapshots);
  const Result result = bake(app_of("    - packages: [nginx]\n"));
  EXPECT_EQ(result.ami, "ami-made");
  EXPECT_EQ(result.base, "ami-new");
  EXPECT_EQ(result.disk, "the disk");
  EXPECT_EQ(result.snapshot, "snap-1");
  EXPECT_EQ(result.size_bytes, std::uint64_t{8} << 30);
  ASSERT_EQ(result.steps.size(), 1U);
  EXPECT_EQ(result.steps[0].text, "packages nginx");
  EXPECT_FALSE(result.tags.contains("kiln:digest")) << "it is no image before it is tested";
  EXPECT_EQ(result.tags.at("kiln:version"), "1.0.0");
  ASSERT_EQ(open_runs(ledger, "web").size(), 1U);
  const std::string run = open_runs(ledger, "web").front().run;
  EXPECT_EQ(result.run, run);
  EXPECT_THAT(aws.requests[1].body, HasSubstr(run)) << "the group is tagged";
  EXPECT_THAT(aws.requests[2].body, HasSubstr("InstanceInitiatedShutdownBehavior=terminate"));
  EXPECT_THAT(aws.requests[2].body, HasSubstr(run));
  EXPECT_THAT(aws.requests[2].body, Not(HasSubstr("KeyName")));
}

TEST_F(Building, AVolumeOfTheBuilderBecomesTheImage) {
  spec::Surrogate surrogate;
  surrogate.launched = {{.device = "/dev/xvdf", .size_gib = 3}};
  surrogate.source = "/dev/xvdf";
  surrogate.root = {.device = "/dev/xvda"};
  const auto has_volume = [&] {
    ec2::DescribeInstancesResult result;
    auto& instance = result.reservations.emplace_back().instances.emplace_back();
    auto& mapping = instance.block_device_mappings.emplace_back();
    mapping.device_name = "/dev/xvdf";
    mapping.ebs.emplace().volume_id = "vol-1";
    aws.then_ok<ec2::DescribeInstances>(result);
  };
  aws.then_ok<ec2::DescribeImages>(bases);
  launches();
  for (int i = 0; i < 2; ++i) runs("Success", 0);
  has_volume();
  reads("the volume");
  aws.then_ok<ec2::StopInstances>({});
  is("stopped");
  has_volume();
  ec2::Snapshot snapshot;
  snapshot.snapshot_id = "snap-1";
  aws.then_ok<ec2::CreateSnapshot>(snapshot);
  ec2::DescribeSnapshotsResult snapshots;
  snapshots.snapshots.resize(1);
  for (const char* state : {"pending", "completed"}) {
    snapshots.snapshots[0].state = state;
    aws.then_ok<ec2::DescribeSnapshots>(snapshots);
  }
  ec2::RegisterImageResult registered;
  registered.image_id = "ami-made";
  aws.then_ok<ec2::RegisterImage>(registered);
  ec2::DescribeImagesResult made;
  auto& image = made.images.emplace_back();
  image.image_id = "ami-made";
  image.root_device_name = "/dev/xvda";
  for (const char* device : {"/dev/xvdb", "/dev/xvda"}) {
    auto& mapping = image.block_device_mappings.emplace_back();
    mapping.device_name = device;
    mapping.ebs.emplace().snapshot_id = device == std::string("/dev/xvda") ? "snap-1" : "snap-other";
  }
  for (const char* state : {"pending", "available", "available"}) {
    image.state = state;
    aws.then_ok<ec2::DescribeImages>(made);
  }
  snapshots.snapshots[0].volume_size = 3;
  aws.then_ok<ec2::DescribeSnapshots>(snapshots);
  const Result result = bake(app_of("    - run: make-root /dev/xvdf\n"), &surrogate);
  EXPECT_EQ(result.ami, "ami-made");
  EXPECT_EQ(result.disk, "the volume");
  EXPECT_EQ(result.snapshot, "snap-1");
  EXPECT_THAT(aws.requests[2].body, HasSubstr("BlockDeviceMapping.1.DeviceName=%2Fdev%2Fxvdf"));
  const auto sent = [&](const std::string& action) {
    for (const auto& request : aws.requests) {
      if (request.body.find("Action=" + action) != std::string::npos) return request.body;
    }
    return "no " + action;
  };
  EXPECT_THAT(sent("CreateSnapshot"), HasSubstr(result.run)) << "a sweep finds it";
  EXPECT_THAT(sent("RegisterImage"), HasSubstr(result.run));
  EXPECT_THAT(sent("RegisterImage"), HasSubstr("SnapshotId=snap-1"));
  EXPECT_THAT(sent("RegisterImage"), HasSubstr("Name=web-1.0.0"));
}

TEST_F(Building, AStepThatFailsIsQuotedAndTheRunStaysToBeSwept) {
  aws.then_ok<ec2::DescribeImages>(bases);
  launches();
  runs("Success", 0);
  runs("Failed", 100, "E: Unable to locate package ngnix\n");
  try {
    bake(app_of("    - packages: [ngnix]\n"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.message(), HasSubstr("kiln.yaml:6:7: packages ngnix failed"));
    EXPECT_THAT(error.message(), HasSubstr("status 100 (Failed):\nE: Unable to locate package ngnix"));
  }
  EXPECT_EQ(open_runs(ledger, "web").size(), 1U);
}

TEST_F(Building, NothingIsMadeForWhatCannotBeBaked) {
  EXPECT_THROW(bake(app_of("    - copy: {from: nothing, to: /a}\n")), Error);
  EXPECT_TRUE(aws.requests.empty());
  aws.then_ok<ec2::DescribeImages>({});
  EXPECT_THROW(bake(app_of("    - packages: [nginx]\n")), Error);
  spec::App other = app_of("    - packages: [nginx]\n");
  other.image.base = spec::OciBase{"docker://debian"};
  EXPECT_THROW(bake(other), Error);
  EXPECT_EQ(aws.requests.size(), 1U);
  EXPECT_THAT(open_runs(ledger), IsEmpty());
  catalog::Image taken;
  taken.app = "web";
  taken.version = "1.0.0";
  taken.digest = sha256("other");
  catalog.record_baked(taken);
  EXPECT_THROW(bake(app_of("    - packages: [nginx]\n")), Error);
  EXPECT_EQ(aws.requests.size(), 1U);
}

TEST_F(Building, SeveralAmisMatchOnlyWhenTheNewestIsAskedFor) {
  spec::App app = app_of("    - packages: [nginx]\n");
  app.image.base = spec::AmiBase{{}, {"self"}, {{"name", {"golden-*"}}}};
  aws.then_ok<ec2::DescribeImages>(bases);
  EXPECT_THROW(base_ami(site, app), Error);
  std::get<spec::AmiBase>(app.image.base).most_recent = true;
  aws.then_ok<ec2::DescribeImages>(bases);
  EXPECT_EQ(base_ami(site, app), "ami-new");
  EXPECT_THAT(aws.requests.back().body, HasSubstr("golden-"));
}

TEST_F(Building, ASweepRemovesWhatRunsOfThisLedgerLeft) {
  ledger.append(kStarted, "web", {{"run", "r1"}, {"account", "123456789012"}, {"region", "us-east-1"}});
  ledger.append(kStarted, "web", {{"run", "elsewhere"}, {"account", "123456789012"}, {"region", "eu-west-1"}});
  ec2::DescribeImagesResult images;
  images.images.resize(1);
  images.images[0].image_id = "ami-half";
  aws.then_ok<ec2::DescribeImages>(images);
  aws.then_ok<ec2::DeregisterImage>({});
  ec2::DescribeSnapshotsResult snapshots;
  snapshots.snapshots.resize(1);
  snapshots.snapshots[0].snapshot_id = "snap-half";
  aws.then_ok<ec2::DescribeSnapshots>(snapshots);
  aws.then_ok<ec2::DeleteSnapshot>({});
  is("running");
  aws.then_ok<ec2::TerminateInstances>({});
  is("shutting-down");
  is("terminated");
  ec2::DescribeSecurityGroupsResult groups;
  groups.security_groups.resize(1);
  groups.security_groups[0].group_id = "sg-1";
  aws.then_ok<ec2::DescribeSecurityGroups>(groups);
  aws.then_error(*ec2::DeleteSecurityGroup::operation().service, "DependencyViolation", 400);
  aws.then_ok<ec2::DeleteSecurityGroup>({});
  EXPECT_THAT(sweep(site, catalog, "web"),
              ElementsAre("AMI ami-half", "snapshot snap-half", "instance i-1", "security group sg-1"));
  const std::size_t calls = aws.requests.size();
  EXPECT_THAT(sweep(site, catalog, "web"), IsEmpty());
  EXPECT_EQ(aws.requests.size(), calls) << "nothing is asked for when no run is open";
}

TEST_F(Building, ASweepLeavesAnAmiThatTheCatalogKnows) {
  ledger.append(kStarted, "web", {{"run", "r1"}, {"account", "123456789012"}, {"region", "us-east-1"}});
  catalog::Image image;
  image.app = "web";
  image.version = "1.0.0";
  image.digest = sha256("it");
  catalog.record_baked(image);
  catalog.record_placed(image, {"123456789012", "us-east-1", "ami-good", clock.now()});
  ec2::DescribeImagesResult images;
  images.images.resize(1);
  images.images[0].image_id = "ami-good";
  aws.then_ok<ec2::DescribeImages>(images);
  aws.then_ok<ec2::DescribeInstances>({});
  aws.then_ok<ec2::DescribeSecurityGroups>({});
  EXPECT_THAT(sweep(site, catalog, "web"), IsEmpty());
  EXPECT_THAT(open_runs(ledger), IsEmpty());
  spec::App child = app_of("    - run: make\n");
  child.image.base = spec::ImageBase{"web@1.0.0"};
  EXPECT_EQ(base_ami(site, child), "ami-good") << "a base of the catalog is where it is placed";
}

TEST_F(Building, AnImageIsTriedAsAnInstanceAndAskedBySystemsManager) {
  AmiStandOptions options{.app = "web", .run = "r1", .ami = "ami-made", .secrets = {}, .what = {}, .instance = {}};
  options.secrets = "/etc/a.key: a private key\n/root/.netrc: passwords\n";
  AmiStand stand(site, options);
  launches();
  is("running");
  stand.boot();
  EXPECT_THAT(aws.requests[1].body, HasSubstr("ImageId=ami-made"));
  EXPECT_THAT(aws.requests[1].body, HasSubstr("kiln-test-r1"));
  runs("Failed", 3, "because", "text");
  machine::Command command;
  command.id = "check-1";
  command.script = "echo {{braces}}; exit 3";
  command.timeout = Duration(1'500);
  const auto end = stand.ask(command);
  EXPECT_EQ(end.how, machine::CommandEnd::How::exited);
  EXPECT_EQ(end.status, 3);
  EXPECT_EQ(end.out + end.err, "textbecause");
  const std::string& sent = aws.requests[aws.requests.size() - 4].body;
  EXPECT_THAT(sent, HasSubstr("\"executionTimeout\":[\"2\"]"));
  EXPECT_THAT(sent, Not(HasSubstr("{{")));
  EXPECT_THAT(sent, HasSubstr(base64_encode(command.script)));
  reads("HTTP/1.1 404 Not Found\r\nServer: nginx\r\n\r\nno such page");
  const http::Response response = stand.fetch(80, {}, Duration(1'000));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.headers.get("server"), "nginx");
  EXPECT_EQ(response.body, "no such page");
  EXPECT_THAT(stand.secrets({"/root/.netrc"}), ElementsAre("/etc/a.key: a private key"));
  // Nobody listens, and the instance runs: it may yet come.
  runs("Failed", 1, "bash: connect: Connection refused");
  is("running");
  try {
    stand.fetch(81, {}, Duration(1'000));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unavailable);
  }
  runs("Failed", -1);
  is("terminated");
  try {
    stand.ask(command);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::conflict);
  }
}

TEST_F(Building, AnInstanceThatDoesNotComeUpIsTheImagesFault) {
  AmiStandOptions options{.app = "web", .run = "r1", .ami = "ami-made", .secrets = {}, .what = {}, .instance = {}};
  AmiStand stand(site, options);
  ec2::CreateSecurityGroupResult group;
  group.group_id = "sg-1";
  aws.then_ok<ec2::CreateSecurityGroup>(group);
  aws.then_ok<ec2::RunInstances>({});
  is("terminated");
  try {
    stand.boot();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::conflict);
    EXPECT_THAT(error.message(), HasSubstr("is terminated"));
  }
}

TEST_F(Building, AnInstanceThatWasKeptIsSparedUntilItIsEnded) {
  const std::string run = begin_run(site, "web", {{"environment", "local"}});
  AmiStandOptions options{.app = "web", .run = run, .ami = "ami-made", .secrets = {}, .what = "web@1", .instance = {}};
  AmiStand stand(site, options);
  launches();
  is("running");
  stand.boot();
  EXPECT_EQ(stand.keep(), "i-1");
  const OpenRun kept = find_kept(ledger, "i-1");
  EXPECT_EQ(kept.what + kept.environment, "web@1local");
  EXPECT_THROW(find_kept(ledger, "i-2"), Error);
  ec2::DescribeSecurityGroupsResult groups;
  groups.security_groups.resize(1);
  groups.security_groups[0].group_id = "sg-1";
  groups.security_groups[0].group_name = "kiln-test-" + run;
  const auto nothing_but_it = [&] {
    aws.then_ok<ec2::DescribeImages>({});
    aws.then_ok<ec2::DescribeSnapshots>({});
    is("running");
  };
  nothing_but_it();
  aws.then_ok<ec2::DescribeSecurityGroups>(groups);
  EXPECT_THAT(sweep(site, catalog, "web"), IsEmpty());
  nothing_but_it();
  aws.then_ok<ec2::TerminateInstances>({});
  is("terminated");
  aws.then_ok<ec2::DescribeSecurityGroups>(groups);
  aws.then_ok<ec2::DeleteSecurityGroup>({});
  end_kept(site, catalog, kept);
  EXPECT_THAT(open_runs(ledger), IsEmpty());
}

}  // namespace
}  // namespace kiln::builder
