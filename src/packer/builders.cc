// read_builder: what an image starts from, and what is wanted of it.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "packer/internal/raw.h"

namespace kiln::packer {
namespace {

constexpr const char* kInInstance = "bake it in an instance: kiln bake --in-instance";
constexpr char kOpen = '\x01', kClose = '\x02';  // around what `finished` puts in

// Packer gives these to tags and to nothing else.
Interpolation with_source_fields(const Interpolation& with) {
  Interpolation out = with;
  for (const std::string name :
       {"SourceAMI", "SourceAMIName", "SourceAMICreationDate", "SourceAMIOwner", "BuildRegion"})
    out.fields[name] = kOpen + name + kClose;
  return out;
}

// A block, or a list of one: HCL2 gives both.
const Value& only_one(const Value& value, const std::string& key, const Place& place) {
  if (value.is(Value::Kind::object)) return value;
  if (value.is(Value::Kind::list) && value.items.size() == 1) return only_one(value.items[0], key, place);
  throw place.error(fmt::format("'{}' must be here once, as an object", key));
}

// `tags = {..}` and blocks `tag { key, value }`, as HCL2 lets both be written.
std::map<std::string, std::string> read_pairs(Settings& settings, const std::string& plural,
                                              const std::string& singular, const std::string& key,
                                              const std::string& value) {
  auto out = settings.map(plural);
  const Value* blocks = settings.find(singular);
  if (blocks == nullptr) return out;
  for (const Value& block : blocks->is(Value::Kind::list) ? blocks->items : std::vector<Value>{*blocks}) {
    const Place place = settings.place(singular);
    Settings one(block, place, "'" + singular + "'", settings.with());
    const std::string name = one.required(key);
    out[name] = one.required(value);
    one.finish();
  }
  return out;
}

spec::AmiBase read_filter(const Value& value, const Place& place, const Interpolation& with) {
  Settings settings(value, place, "'source_ami_filter'", with);
  spec::AmiBase base;
  for (const auto& [name, wanted] : read_pairs(settings, "filters", "filter", "name", "value"))
    base.filters[name] = {wanted};
  base.owners = settings.texts("owners");
  base.most_recent = settings.flag("most_recent", false);
  settings.accept({"include_deprecated"});
  settings.finish();
  if (base.owners.empty())
    throw place.error("'source_ami_filter' has no 'owners'", "name the account that publishes the image, or \"self\"");
  return base;
}

spec::Base read_source(Settings& settings, const RawTemplate& of, const Place& place, const Interpolation& with) {
  const Value* filter = settings.find("source_ami_filter");
  const std::string id = settings.text("source_ami");
  if (filter != nullptr && id.empty())
    return read_filter(only_one(*filter, "source_ami_filter", place), settings.place("source_ami_filter"), with);
  if (id.empty()) throw place.error("this builder has neither 'source_ami' nor 'source_ami_filter'");
  if (id.starts_with(kDataAmi)) {
    const auto data = of.amis.find(id.substr(std::string_view(kDataAmi).size()));
    if (data == of.amis.end()) throw settings.place("source_ami").error(fmt::format("there is no '{}'", id));
    Settings from(data->second, data->second.place, "data 'amazon-ami'", with);
    from.accept({"filters", "filter", "owners", "most_recent", "region", "profile", "access_key", "secret_key", "token",
                 "assume_role", "custom_endpoint_ec2", "include_deprecated", "max_retries", "mfa_code",
                 "skip_region_validation"});
    from.finish();
    Value filters = Value::object();
    for (const auto& [key, value] : data->second.members) {
      if (key == "filters" || key == "filter" || key == "owners" || key == "most_recent") filters.set(key, value);
    }
    return read_filter(filters, data->second.place, with);
  }
  if (!id.starts_with("ami-"))
    throw settings.place("source_ami").error(fmt::format("'{}' is not the id of an AMI", id));
  spec::AmiBase base;
  base.id = id;
  return base;
}

// What only says how the builder instance is launched and reached: there is none.
void accept_instance_settings(Settings& settings) {
  settings.accept({"access_key",
                   "ami_product_codes",
                   "assume_role",
                   "associate_public_ip_address",
                   "availability_zone",
                   "aws_polling",
                   "block_duration_minutes",
                   "capacity_reservation_group_arn",
                   "capacity_reservation_id",
                   "capacity_reservation_preference",
                   "custom_endpoint_ec2",
                   "decode_authorization_messages",
                   "disable_stop_instance",
                   "ebs_optimized",
                   "ena_support",
                   "enable_t2_unlimited",
                   "enable_unlimited_credits",
                   "fleet_tags",
                   "fleet_tag",
                   "force_delete_snapshot",
                   "force_deregister",
                   "iam_instance_profile",
                   "imds_support",
                   "insecure_skip_tls_verify",
                   "instance_type",
                   "license_specifications",
                   "max_retries",
                   "metadata_options",
                   "mfa_code",
                   "pause_before_connecting",
                   "pause_before_ssm",
                   "placement",
                   "profile",
                   "run_tag",
                   "run_tags",
                   "run_volume_tag",
                   "run_volume_tags",
                   "secret_key",
                   "security_group_filter",
                   "security_group_id",
                   "security_group_ids",
                   "session_manager_port",
                   "shared_credentials_file",
                   "shutdown_behavior",
                   "shutdown_timeout",
                   "skip_credential_validation",
                   "skip_metadata_api_check",
                   "skip_profile_validation",
                   "skip_region_validation",
                   "skip_save_build_region",
                   "snapshot_groups",
                   "snapshot_tag",
                   "snapshot_tags",
                   "snapshot_users",
                   "spot_allocation_strategy",
                   "spot_instance_types",
                   "spot_price",
                   "spot_price_auto_product",
                   "spot_tag",
                   "spot_tags",
                   "sriov_support",
                   "subnet_filter",
                   "subnet_id",
                   "temporary_iam_instance_profile_policy_document",
                   "temporary_key_pair_name",
                   "temporary_key_pair_type",
                   "temporary_key_pair_bits",
                   "temporary_security_group_source_cidrs",
                   "temporary_security_group_source_public_ip",
                   "tenancy",
                   "token",
                   "vault_aws_engine",
                   "vpc_filter",
                   "vpc_id",
                   "windows_password_timeout",
                   "ssh_agent_auth",
                   "ssh_bastion_host",
                   "ssh_bastion_port",
                   "ssh_bastion_username",
                   "ssh_bastion_private_key_file",
                   "ssh_bastion_agent_auth",
                   "ssh_certificate_file",
                   "ssh_ciphers",
                   "ssh_clear_authorized_keys",
                   "ssh_disable_agent_forwarding",
                   "ssh_file_transfer_method",
                   "ssh_handshake_attempts",
                   "ssh_host",
                   "ssh_interface",
                   "ssh_keep_alive_interval",
                   "ssh_key_exchange_algorithms",
                   "ssh_keypair_name",
                   "ssh_local_tunnels",
                   "ssh_password",
                   "ssh_port",
                   "ssh_private_key_file",
                   "ssh_proxy_host",
                   "ssh_proxy_port",
                   "ssh_pty",
                   "ssh_read_write_timeout",
                   "ssh_remote_tunnels",
                   "ssh_timeout",
                   "ssh_wait_timeout",
                   "deprecate_at",
                   "skip_ami_run_tags"});
}

// EC2's own rule, and Packer's message.
void check_ami_name(const std::string& name, const Place& place) {
  const auto allowed = [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("()[] ./-'@_").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (name.size() < 3 || name.size() > 128 || !std::ranges::all_of(name, allowed))
    throw place.error(fmt::format("'{}' cannot be an AMI's name: it has 3 to 128 characters: letters, digits, spaces "
                                  "and ()[]./-'@_",
                                  name),
                      "clean_resource_name makes one of any text");
}

void read_ebs(const RawBuild& raw, const RawTemplate& of, Build& build, std::vector<std::string>& notes) {
  Settings settings(raw.builder.settings, raw.builder.place, fmt::format("the builder '{}'", raw.builder.type),
                    raw.with);
  AmiWish& wish = build.ami.emplace();
  wish.name = settings.required("ami_name");
  check_ami_name(wish.name, settings.place("ami_name"));
  wish.description = settings.text("ami_description");
  wish.region = settings.text("region");
  wish.copy_to = settings.texts("ami_regions");
  wish.encrypted = settings.flag("encrypt_boot", false);
  wish.kms_key = settings.text("kms_key_id");
  settings.accept({"region_kms_key_ids"});
  wish.users = settings.texts("ami_users");
  wish.groups = settings.texts("ami_groups");
  build.ssh_user = settings.text("ssh_username");
  {
    const Interpolation fields = with_source_fields(raw.with);
    Settings tags(raw.builder.settings, raw.builder.place, "tags", fields);
    wish.tags = read_pairs(tags, "tags", "tag", "key", "value");
    settings.accept({"tags", "tag"});
  }
  build.image.base = read_source(settings, of, raw.builder.place, raw.with);
  const std::string communicator = settings.text("communicator", "ssh");
  if (communicator != "ssh")
    throw settings.place("communicator")
        .error(fmt::format("the communicator '{}' is not supported", communicator),
               "images that are baked are Linux images that are reached by ssh");
  const std::string virtualization = settings.text("ami_virtualization_type", "hvm");
  if (virtualization != "hvm") throw settings.place("ami_virtualization_type").error("only 'hvm' is supported");
  accept_instance_settings(settings);
  const bool surrogate = raw.builder.type == "amazon-ebssurrogate";
  for (const char* key : {"user_data", "user_data_file"})
    settings.refuse(key, surrogate ? "the builder's user data is Kiln's own" : "no instance boots, so nobody runs it",
                    surrogate ? "do its work in a 'shell' provisioner"
                              : std::string("do its work in a 'shell' provisioner, or ") + kInInstance);
  settings.refuse("skip_create_ami", "a bake always makes an image", "remove it; kiln bake --no-publish makes no AMI");
  settings.refuse("uefi_data", "images boot without UEFI variables", kInInstance);
  settings.refuse("ami_org_arns", "only accounts and groups can be given the image", "use 'ami_users'");
  settings.refuse("ami_ou_arns", "only accounts and groups can be given the image", "use 'ami_users'");
  if (surrogate) {
    settings.refuse("encrypt_boot", "the AMI is as its volume is",
                    "say 'encrypted' of the volume, in 'launch_block_device_mappings'");
    build.surrogate = read_surrogate(settings);
  }
  for (const char* key : {"launch_block_device_mappings", "ami_block_device_mappings"}) {
    if (!surrogate && settings.has(key))
      notes.push_back(fmt::format("{}: '{}': the size of an instance's disks is said when it is launched",
                                  settings.place(key).source->at(settings.place(key).where), key));
  }
  settings.finish();
}

void read_docker(const RawBuild& raw, Build& build) {
  Settings settings(raw.builder.settings, raw.builder.place, "the builder 'docker'", raw.with);
  const std::string image = settings.required("image");
  build.image.base = spec::OciBase{"docker://" + image};
  settings.accept({"commit", "discard", "export_path", "pull", "privileged", "run_command", "author", "message",
                   "container_dir", "exec_user", "cap_add", "cap_drop", "fix_upload_owner", "communicator", "tmpfs"});
  settings.refuse("changes", "an image's command is not part of a root",
                  "write it in a Dockerfile: image: {dockerfile: ..}");
  settings.refuse("volumes", "a bake sees no folders of this machine",
                  "put the files into the image with a 'file' provisioner");
  for (const char* key :
       {"login", "login_server", "login_username", "login_password", "ecr_login", "aws_access_key", "aws_secret_key"})
    settings.refuse(key, "the image is pulled without a login",
                    "pull it first: skopeo copy docker://.. oci:folder, and use that");
  settings.refuse("windows_container", "only Linux images are baked", "");
  settings.finish();
}

}  // namespace

void read_builder(const RawBuild& raw, const RawTemplate& of, Build& build, std::vector<std::string>& notes) {
  const std::string& type = raw.builder.type;
  if (type == "amazon-ebs" || type == "amazon-ebssurrogate") return read_ebs(raw, of, build, notes);
  if (type == "docker") return read_docker(raw, build);
  const auto near = nearest(type, {"amazon-ebs", "amazon-ebssurrogate", "docker"});
  throw raw.builder.place.error(
      fmt::format("the builder '{}' is not supported{}", type, near ? fmt::format("; did you mean '{}'?", *near) : ""),
      "there are amazon-ebs, amazon-ebssurrogate and docker; -only=NAME takes the builds that can be baked");
}

std::string finished(const std::string& text, const SourceImage& source) {
  const std::map<std::string, std::string> fields = {{"SourceAMI", source.id},
                                                     {"SourceAMIName", source.name},
                                                     {"SourceAMIOwner", source.owner},
                                                     {"SourceAMICreationDate", source.created},
                                                     {"BuildRegion", source.region}};
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t end = text[i] == kOpen ? text.find(kClose, i) : std::string::npos;
    if (end == std::string::npos) {
      out += text[i];
      continue;
    }
    const auto field = fields.find(text.substr(i + 1, end - i - 1));
    if (field != fields.end()) out += field->second;
    i = end;
  }
  return out;
}

}  // namespace kiln::packer
