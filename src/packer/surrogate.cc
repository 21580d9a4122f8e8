// read_surrogate: the volumes that an amazon-ebssurrogate fills, and what becomes of them in the AMI.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "packer/internal/raw.h"

namespace kiln::packer {
namespace {

std::optional<std::int64_t> number_in(Settings& settings, std::string_view key) {
  if (!settings.has(key)) return std::nullopt;
  const auto number = parse_int(settings.text(key));
  if (!number || *number < 0) throw settings.place(key).error(fmt::format("'{}' must be a whole number", key));
  return *number;
}

std::optional<bool> flag_in(Settings& settings, std::string_view key) {
  return settings.has(key) ? std::optional(settings.flag(key, false)) : std::nullopt;
}

spec::Volume read_volume(Settings& settings) {
  spec::Volume volume;
  volume.device = settings.required("device_name");
  volume.type = settings.text("volume_type");
  volume.size_gib = number_in(settings, "volume_size");
  volume.iops = number_in(settings, "iops");
  volume.throughput = number_in(settings, "throughput");
  volume.delete_on_termination = flag_in(settings, "delete_on_termination");
  return volume;
}

// A list, or a block: of one HCL2 gives the block itself.
std::vector<Value> blocks_in(Settings& settings, std::string_view key) {
  const Value* value = settings.find(key);
  if (value == nullptr) return {};
  return value->is(Value::Kind::list) ? value->items : std::vector<Value>{*value};
}

// `apart`: takes the devices whose volumes are left out of the AMI; null: none may be.
std::vector<spec::Volume> read_volumes(Settings& settings, std::string_view key, std::vector<std::string>* apart) {
  std::vector<spec::Volume> volumes;
  for (const Value& block : blocks_in(settings, key)) {
    const Place place = block.place.source == nullptr ? settings.place(key) : block.place;
    if (!block.is(Value::Kind::object)) throw place.error(fmt::format("'{}' must hold objects", key));
    Settings one(block, place, fmt::format("'{}'", key), settings.with());
    spec::Volume volume = read_volume(one);
    volume.snapshot = one.text("snapshot_id");
    volume.encrypted = flag_in(one, "encrypted");
    volume.kms_key = one.text("kms_key_id");
    if (apart != nullptr && one.flag("omit_from_artifact", false)) apart->push_back(volume.device);
    one.refuse("virtual_name", "instances have no disks but their volumes", "leave it out");
    one.refuse("no_device", "only what is there can be left out", "leave the mapping out");
    one.finish();
    if (std::ranges::any_of(volumes, [&](const spec::Volume& other) { return other.device == volume.device; }))
      throw place.error(fmt::format("'{}' has the device {} twice", key, volume.device));
    volumes.push_back(std::move(volume));
  }
  return volumes;
}

}  // namespace

spec::Surrogate read_surrogate(Settings& settings) {
  spec::Surrogate out;
  out.launched = read_volumes(settings, "launch_block_device_mappings", &out.apart);
  out.more = read_volumes(settings, "ami_block_device_mappings", nullptr);
  const std::vector<Value> roots = blocks_in(settings, "ami_root_device");
  if (roots.size() != 1 || !roots[0].is(Value::Kind::object))
    throw settings.place("ami_root_device").error("'ami_root_device' must be here once, as an object");
  const Place place = settings.place("ami_root_device");
  Settings root(roots[0], place, "'ami_root_device'", settings.with());
  out.source = root.required("source_device_name");
  out.root = read_volume(root);
  root.finish();
  const bool launched = std::ranges::any_of(out.launched, [&](const auto& one) { return one.device == out.source; });
  if (!launched)
    throw place.error(
        fmt::format("'source_device_name' is {}, and the builder is launched without such a volume", out.source),
        "add it to 'launch_block_device_mappings'");
  if (std::ranges::find(out.apart, out.source) != out.apart.end())
    throw place.error(fmt::format("{} is the root device of the AMI and 'omit_from_artifact'", out.source),
                      "remove 'omit_from_artifact'");
  out.architecture = settings.text("ami_architecture", "x86_64");
  if (out.architecture != "x86_64" && out.architecture != "arm64")
    throw settings.place("ami_architecture")
        .error(fmt::format("'{}' is no architecture of an AMI", out.architecture), "there are x86_64 and arm64");
  return out;
}

}  // namespace kiln::packer
