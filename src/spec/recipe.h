// Recipe: what an image is made of. kiln.yaml, a Packer template and EC2 Image Builder's documents are all read into
// this, and whoever bakes knows only this.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "spec/image_test.h"
#include "spec/source.h"

namespace kiln::spec {

// What an image starts from.
struct DebianBase {
  std::string release;  // "bookworm"
  bool operator==(const DebianBase&) const = default;
};
struct ImageBase {
  std::string reference;  // of the catalog: "base@1.4.2", "base@stable" (a channel), "base@sha256:.."
  bool operator==(const ImageBase&) const = default;
};
struct AmiBase {  // DescribeImages' ImageId, or its Owners and Filters; exactly one may match unless `most_recent`
  std::string id{};
  std::vector<std::string> owners{};
  std::map<std::string, std::vector<std::string>> filters{};
  bool most_recent = false;
  bool operator==(const AmiBase&) const = default;
};
struct ArchiveBase {
  std::string path;  // of a root in a tar archive, relative to the app's folder
  bool operator==(const ArchiveBase&) const = default;
};
struct OciBase {
  std::string reference;  // as skopeo writes it: "oci:folder:tag", "docker://registry/name:tag"
  bool operator==(const OciBase&) const = default;
};
using Base = std::variant<DebianBase, ImageBase, AmiBase, ArchiveBase, OciBase>;

using Variables = std::vector<std::pair<std::string, std::string>>;  // in the order of the file

struct PackagesStep {
  std::vector<std::string> packages;  // as written: "nginx" or "nginx=1.22.1-9"
};

struct CopyStep {
  std::string from;  // relative to the app's folder; a trailing '/' means: what is in the folder
  std::string to;    // absolute; a trailing '/' means: into this folder
  std::optional<unsigned>
      mode;  // of the files; folders get the x bits that belong to it. Else: 0755 or 0644, by the source's x bit
  std::uint32_t uid = 0;  // `owner: 33:33`
  std::uint32_t gid = 0;
  std::string user{};   // `owner: www-data`: names instead of numbers, looked up in the image's own /etc/passwd
  std::string group{};  // likewise, in /etc/group; empty with a `user`: the user's own group
  std::vector<std::string> ignore{};  // patterns as in a .gitignore, relative to what is copied
  // A template: one text file in which every `{{ name }}` becomes the variable's value.
  std::optional<Variables> variables{};
};

// A file that a step's commands find in /run/kiln/files/ while they run; never part of the image.
struct StepFile {
  std::string name;  // may have folders: "roles/web/tasks/main.yml"
  std::string content;
  unsigned mode = 0644;
};

struct RunStep {
  std::vector<std::string> commands;  // each by `shell`, in order
  std::vector<std::string> shell = {"/bin/sh", "-ec"};
  Variables environment{};
  std::vector<StepFile> files{};
  // Names of ImageSpec::secrets; each is the file /run/kiln/secrets/<name> while the commands run.
  std::vector<std::string> secrets{};
  std::string title{};  // what people read instead of the commands: "user deploy"
};

struct EnableStep {
  std::vector<std::string> units;  // with suffix: "nginx.service"
};

// Commands on the machine that bakes, before the inputs of the steps after it are read (Packer's shell-local).
struct HostStep {
  std::vector<std::string> commands;
  std::vector<std::string> shell = {"/bin/sh", "-ec"};
  Variables environment{};
};

struct Step {
  Location where;
  std::variant<PackagesStep, CopyStep, RunStep, EnableStep, HostStep> action;
  std::string name{};  // for `after`; empty unless given
  // Names of steps above it that it needs, and with them what those need; of the others it sees nothing and may run
  // beside them. Not given: all steps above.
  std::optional<std::vector<std::string>> after{};
  // One line for people: "packages nginx", "copy site/ /var/www/html/".
  std::string text() const;
};

// An image that another file describes; whoever serves that file's format turns it into base and steps.
struct PackerSource {
  std::string template_path;  // relative to the app's folder, as are the others
  Variables variables{};
  std::vector<std::string> variable_files{};
  std::vector<std::string> only{};  // names of builds; empty: all
  bool operator==(const PackerSource&) const = default;
};
struct DockerfileSource {
  std::string file;
  std::string context = ".";
  std::string target{};  // a stage; empty: the last
  Variables args{};
  bool operator==(const DockerfileSource&) const = default;
};
struct ImageBuilderSource {  // one of the two
  std::string recipe{};
  std::vector<std::string> components{};
  Variables parameters{};
  bool operator==(const ImageBuilderSource&) const = default;
};
using ImageSource = std::variant<std::monostate, PackerSource, DockerfileSource, ImageBuilderSource>;

// What a step's commands may read and nobody else: never in a layer, a log, a key or an error.
struct Secret {
  Location where{};
  std::string name;
  std::string env{};   // the variable of our environment that has it, or
  std::string file{};  // the file; relative to the app's folder unless absolute
};

// A package repository beside Debian's own, for the steps that install packages.
struct Repository {
  Location where{};
  std::string name;
  std::string url;
  std::string suite;
  std::vector<std::string> components{};
  std::string key;  // a file of the app's folder: the public key that signs it, armoured or not
};

enum class VersionKind { literal, git, timestamp };

struct ImageSpec {
  Location where;
  Base base;
  VersionKind version_kind = VersionKind::git;
  std::string version;  // of a literal; semver without a leading "v"
  std::vector<Step> steps;
  // `writable:` in the file makes the root read-only but for these (absolute, sorted, unique). Without it all can be
  // written.
  std::optional<std::vector<std::string>> writable;
  ImageTest test{};       // in the order of the file
  ImageSource source{};   // none: `base` and `steps` are kiln.yaml's own; else `base` may be without a name
  Variables variables{};  // for templates; each template step has them already
  std::vector<Secret> secrets{};
  // Values that the steps hold in the clear, and that no title, log or error may show.
  std::vector<std::string> hidden{};
  std::vector<Repository> repositories{};
  std::string mirror{};           // of Debian; empty: deb.debian.org
  std::string security_mirror{};  // likewise
};

}  // namespace kiln::spec
