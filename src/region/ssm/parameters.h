// Parameters: Parameter Store: named values with versions, labels and tags, and the public ones of AWS that are read
// only.
//
// It lives on the region's loop; every change is in the journal before the turn ends. The value of a SecureString is
// kept sealed, in memory and in the journal (secret.h). What a caller did wrong is an ApiError with AWS's code; rules
// are those of the pages of the operations and of "Parameter Store" in AWS's Systems Manager guide.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "host/loop.h"
#include "host/random.h"
#include "region/journal.h"

namespace kiln::region::ssm {

using Tags = std::map<std::string, std::string>;

struct ParameterVersion {
  std::int64_t number = 0;
  std::string value;  // of a SecureString: sealed
  std::string description;
  std::string allowed_pattern;
  std::string tier = "Standard";
  std::string data_type = "text";
  Time modified{};
  std::string modified_by;  // an ARN
  std::set<std::string> labels;
};

struct Parameter {
  std::string name;
  std::string type;    // "String", "StringList", "SecureString"
  std::string key_id;  // of a SecureString
  Tags tags;
  std::map<std::int64_t, ParameterVersion> versions;  // the newest 100
  const ParameterVersion& latest() const { return versions.rbegin()->second; }
};

// A version of a parameter, as it was asked for.
struct ParameterView {
  std::string name;
  std::string type;
  std::string key_id;
  std::string selector;  // ":3", ":prod"; empty without one
  std::string arn;
  std::string source;        // of a public one
  ParameterVersion version;  // its value as it is to be shown
};

struct PutParameter {
  std::string name;
  std::string value;
  std::string type;  // empty: that of the parameter
  std::string key_id;
  std::string tier;  // empty: Standard, or what it has
  std::optional<std::string> description;
  std::string allowed_pattern;
  std::string data_type;
  Tags tags;
  bool overwrite = false;
  std::string caller;  // an ARN
};

struct ParameterOptions {
  std::string region = "us-east-1";
  std::string account = "123456789012";
  std::string key;  // 32 bytes; what is sealed is lost without it
};

// One of ParameterFilters.
struct ParameterFilter {
  std::string key;
  std::string option;
  std::vector<std::string> values;
};

// Throws ApiError when a value does not match a pattern. From any thread: a pattern may need its time.
void check_pattern(const std::string& pattern, const std::string& value);

class Parameters {
 public:
  // All must outlive it.
  Parameters(host::Loop& loop, host::Random& random, Tables& journal, ParameterOptions options);
  ~Parameters();
  void open();

  // Those below /aws/service, by name: what they hold now.
  void set_public(std::function<std::map<std::string, std::string>()> source);
  // Whether there is such an image: parameters of the type aws:ec2:image must hold one.
  void set_image_exists(std::function<bool(const std::string& id)> exists);

  const ParameterVersion& put(const PutParameter& asked);
  void remove(const std::string& name);  // ApiError ParameterNotFound

  // "name", "name:3", "name:label", or the ARN of one. ApiError ParameterNotFound, ParameterVersionNotFound.
  ParameterView get(const std::string& name, bool decrypt) const;
  // The newest versions of those directly below a path, or anywhere below it, by name.
  std::vector<ParameterView> below(const std::string& path, bool recursive, bool decrypt,
                                   const std::vector<ParameterFilter>& filters) const;
  std::vector<ParameterView> history(const std::string& name, bool decrypt) const;  // the oldest first
  // The newest versions without their values, by name; public ones are not among them.
  std::vector<ParameterView> describe(const std::vector<ParameterFilter>& filters) const;

  struct Labelled {
    std::int64_t version = 0;
    std::vector<std::string> invalid;
  };
  // `version` absent: the newest. A label that another version has moves.
  Labelled label(const std::string& name, std::optional<std::int64_t> version, const std::vector<std::string>& labels);
  struct Unlabelled {
    std::vector<std::string> removed;
    std::vector<std::string> invalid;
  };
  Unlabelled unlabel(const std::string& name, std::int64_t version, const std::vector<std::string>& labels);

  // ApiError InvalidResourceId.
  const Tags& tags(const std::string& name) const;
  void add_tags(const std::string& name, const Tags& tags);
  void remove_tags(const std::string& name, const std::vector<std::string>& keys);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region::ssm
