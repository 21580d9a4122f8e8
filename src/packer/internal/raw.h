// Raw: a template whose language is dealt with: what was JSON or HCL2 is builders, provisioners and post-processors,
// each a type and an object of settings. Private to this room.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "packer/interpolate.h"
#include "packer/template.h"

namespace kiln::packer {

struct Raw {
  std::string type;
  Value settings;  // an object
  Place place;
};

struct RawBuild {
  std::string name;        // of the build, for -only
  std::string short_name;  // PACKER_BUILD_NAME
  std::string source;      // what `only` and `override` of provisioners name
  Raw builder;
  std::vector<Raw> provisioners{};
  std::vector<std::vector<Raw>> post_processors{};
  Interpolation with{};
};

struct RawTemplate {
  std::vector<std::shared_ptr<const spec::Source>> files{};
  std::shared_ptr<const spec::Source> main{};
  std::vector<RawBuild> builds{};
  // data "amazon-ami": by name, its settings.
  std::map<std::string, Value> amis{};
  std::vector<std::string> secrets{};
  bool short_secrets = false;  // some are too short to be hidden
};

// Of a value that is sensitive: its texts and numbers, and those within it.
void keep_secret(const Value& value, RawTemplate& in);

RawTemplate read_legacy(const Request& request, const Outside& outside);
RawTemplate read_hcl2(const Request& request, const Outside& outside);

// What `data.amazon-ami.NAME.id` is while a template is read.
inline constexpr const char* kDataAmi = "data.amazon-ami.";

// The settings of one thing, each read once; what nobody asked for is refused at the end.
class Settings {
 public:
  // All must outlive it.
  Settings(const Value& object, const Place& place, std::string what, const Interpolation& with)
      : object_(object), place_(place), what_(std::move(what)), with_(with) {}

  const Value* find(std::string_view key);
  bool has(std::string_view key) { return find(key) != nullptr; }
  std::string text(std::string_view key, const std::string& otherwise = {});
  std::string raw_text(std::string_view key, const std::string& otherwise);  // not interpolated
  std::string required(std::string_view key);
  bool flag(std::string_view key, bool otherwise);
  std::vector<std::string> texts(std::string_view key);
  std::map<std::string, std::string> map(std::string_view key);
  double seconds(std::string_view key);  // "10s"; 0 when it is not given
  Place place(std::string_view key) const;

  // Settings that have no effect here.
  void accept(std::initializer_list<std::string_view> keys);
  void refuse(std::string_view key, const std::string& why, const std::string& way);
  void finish();
  const Interpolation& with() const { return with_; }
  std::string interpolated(const Value& value) const;

 private:
  const Value& object_;
  const Place& place_;
  std::string what_;
  const Interpolation& with_;
  std::set<std::string, std::less<>> known_;
};

// builders.cc
void read_builder(const RawBuild& raw, const RawTemplate& of, Build& build, std::vector<std::string>& notes);
// surrogate.cc: of an amazon-ebssurrogate, its volumes and which of them is the image.
spec::Surrogate read_surrogate(Settings& settings);
// provisioners.cc
void read_provisioners(const RawBuild& raw, const Outside& outside, Build& build);
// post_processors.cc
std::vector<PostProcessor> read_post_processors(const std::vector<Raw>& sequence, const RawBuild& raw);

// Whether `only` and `except` of a provisioner or post-processor name this build; the two keys are then done with.
bool meant_for(Settings& settings, const RawBuild& build);
std::string shell_quoted(const std::string& text);

}  // namespace kiln::packer
