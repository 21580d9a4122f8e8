// Template: a Packer template, legacy JSON or HCL2, read into what Kiln bakes.
//
// `read_template` is pure: the same text, variables, files and time give the same builds. What is not supported is an
// Error(usage) that quotes the line and says the way round; nothing is left out in silence, but for settings of the
// builder instance (its type, network, keys), because none is launched.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "packer/evaluate.h"
#include "spec/app.h"
#include "spec/recipe.h"
#include "spec/surrogate.h"

namespace kiln::packer {

struct Request {
  std::string path;                           // "web.pkr.hcl", "web.json", or a folder of *.pkr.hcl
  spec::Variables variables{};                // -var, in order; the last one of a name holds
  std::vector<std::string> variable_files{};  // -var-file; before `variables`
  std::vector<std::string> only{};            // names of builds, '*' matches any run; empty: all
  std::vector<std::string> except{};
};

// What the template wants of the AMI.
struct AmiWish {
  std::string name;
  std::string description{};
  std::map<std::string, std::string> tags{};  // may hold what only `finished` knows
  std::string region{};
  std::vector<std::string> copy_to{};  // regions
  bool encrypted = false;
  std::string kms_key{};
  std::vector<std::string> users{};  // accounts that may launch it
  std::vector<std::string> groups{};
};

// What a template may say of the image that it started from: {{ .SourceAMIName }}.
struct SourceImage {
  std::string id{};
  std::string name{};
  std::string owner{};
  std::string created{};
  std::string region{};
};
std::string finished(const std::string& text, const SourceImage& source);

struct PostProcessor {
  enum class Kind { manifest, checksum, docker_tag, docker_push };
  Kind kind = Kind::manifest;
  Place place{};
  std::string output{};                              // manifest, checksum: a file
  bool strip_path = false;                           // manifest
  std::map<std::string, std::string> custom_data{};  // manifest
  std::vector<std::string> types{};                  // checksum: "sha256"
  std::string repository{};                          // docker_tag
  std::vector<std::string> tags{};                   // docker_tag
  std::string server{}, username{}, password{};      // docker_push
};

struct Build {
  std::string
      name;  // "amazon-ebs.web", with the build block's name before it; legacy: "amazon-ebs" or what it is named
  std::string short_name;  // PACKER_BUILD_NAME: "web"
  std::string type;        // "amazon-ebs"
  spec::ImageSpec image{};
  std::string ssh_user{};
  std::optional<spec::Surrogate> surrogate{};                 // of amazon-ebssurrogate
  std::optional<AmiWish> ami{};                               // of the amazon builders
  std::vector<std::vector<PostProcessor>> post_processors{};  // sequences
};

struct Template {
  // The file that the steps' locations are of.
  std::shared_ptr<const spec::Source> source;
  // All files, for places to refer to.
  std::vector<std::shared_ptr<const spec::Source>> files;
  std::vector<Build> builds;         // never empty
  std::vector<std::string> notes;    // for people: what a bake on this machine does otherwise, one line each
  std::vector<std::string> secrets;  // values of sensitive variables: not to be shown
};

inline constexpr std::size_t kTemplateBytesMax = std::size_t{1} << 20;

// Throws Error(usage).
Template read_template(const Request& request, const Outside& outside);

// Packer's manifest file: `before` is its content now, or empty; the build is added at its end. Error(usage) when it is
// not such a file.
struct Outcome {
  std::string name, type, artifact, uuid;
  Time now{};
};
std::string manifest_of(const std::string& before, const Outcome& outcome, const PostProcessor& how);

}  // namespace kiln::packer
