// Parameters: see parameters.h.
#include "region/ssm/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ssm/record.h"
#include "region/ssm/secret.h"

namespace kiln::region::ssm {
namespace {

constexpr std::size_t kVersionsKept = 100;  // AWS's page "Working with parameter versions"
constexpr std::size_t kLabelsMax = 10;      // of a version
constexpr std::size_t kLevelsMax = 15;      // of a path
constexpr std::size_t kNameMax = 1011;      // PutParameter's page: 2048 with what AWS adds
constexpr std::size_t kTagsMax = 50;
constexpr std::size_t kParametersMax = 10'000;  // standard ones in an account and region
constexpr std::size_t kStandardBytes = 4096;
constexpr std::size_t kAdvancedBytes = 8192;
constexpr const char* kPublic = "/aws/service/";
constexpr const char* kDefaultKey = "alias/aws/ssm";

[[noreturn]] void invalid(std::string message) { throw ApiError("ValidationException", std::move(message)); }

ApiError not_found(const std::string& name) {
  return {"ParameterNotFound", name.empty() ? "" : fmt::format("Parameter {} not found.", name)};
}
ApiError no_version(const std::string& name, std::string_view version) {
  return {
      "ParameterVersionNotFound",
      fmt::format("Systems Manager could not find version {} of {}. Verify the version and try again.", version, name)};
}

bool only_of(std::string_view text, std::string_view more) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

// PutParameter's page, "Parameter names".
void check_name(const std::string& name) {
  const std::string lower = to_lower(name);
  const std::string_view first = lower.starts_with('/') ? std::string_view(lower).substr(1) : std::string_view(lower);
  if (lower.starts_with("/aws") && name.find('/', 1) != std::string::npos) {
    throw ApiError("AccessDeniedException", fmt::format("No access to reserved parameter name: {}.", name));
  }
  if (first.starts_with("aws") || first.starts_with("ssm")) {
    invalid("Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).");
  }
  if (name.empty() || name.size() > kNameMax || !only_of(name, "._-/") || name.ends_with('/') ||
      name.find("//") != std::string::npos) {
    invalid(
        "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of "
        "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following "
        "3 symbols .-_");
  }
  const auto levels = static_cast<std::size_t>(std::count(name.begin(), name.end(), '/'));
  if (levels > 0 && !name.starts_with('/')) invalid("Parameter name must be a fully qualified name.");
  if (levels > kLevelsMax) {
    throw ApiError("HierarchyLevelLimitExceededException",
                   fmt::format("Parameter name must not exceed {} levels.", kLevelsMax));
  }
}

void check_tags(const Tags& tags) {
  if (tags.size() > kTagsMax) {
    throw ApiError("TooManyTagsError", "The Targets parameter includes too many tags. Remove one or more tags.");
  }
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > 128 || value.size() > 256 || to_lower(key).starts_with("aws:")) {
      invalid(fmt::format("The tag '{}' is not valid.", key));
    }
  }
}

// "web:3" → "web", ":3".
std::pair<std::string, std::string> split_selector(const std::string& name) {
  const std::size_t colon = name.find(':');
  return colon == std::string::npos ? std::pair(name, std::string())
                                    : std::pair(name.substr(0, colon), name.substr(colon));
}

bool directly_below(const std::string& name, const std::string& folder) {
  return name.starts_with(folder) && name.find('/', folder.size()) == std::string::npos;
}

std::string folder_of(const std::string& path) { return path.ends_with('/') ? path : path + "/"; }

bool any_matches(const ParameterFilter& filter, const std::string& value) {
  return std::any_of(filter.values.begin(), filter.values.end(), [&](const std::string& wanted) {
    if (filter.option == "BeginsWith") return value.starts_with(wanted);
    if (filter.option == "Contains") return value.find(wanted) != std::string::npos;
    return value == wanted;
  });
}

bool matches(const ParameterFilter& filter, const Parameter& parameter, const ParameterVersion& version) {
  if (filter.key.starts_with("tag:")) {
    const auto tag = parameter.tags.find(filter.key.substr(4));
    return tag != parameter.tags.end() && (filter.values.empty() || any_matches(filter, tag->second));
  }
  if (filter.key == "Path") {
    return std::any_of(filter.values.begin(), filter.values.end(), [&](const std::string& path) {
      const std::string folder = folder_of(path);
      return filter.option == "Recursive" ? parameter.name.starts_with(folder) : directly_below(parameter.name, folder);
    });
  }
  if (filter.key == "Label") {
    return std::any_of(version.labels.begin(), version.labels.end(),
                       [&](const std::string& label) { return any_matches(filter, label); });
  }
  if (filter.key == "Name") {
    // A leading slash may be left out of what is looked for.
    return any_matches(filter, parameter.name) ||
           (parameter.name.starts_with('/') && any_matches(filter, parameter.name.substr(1)));
  }
  if (filter.key == "Type") return any_matches(filter, parameter.type);
  if (filter.key == "KeyId") return any_matches(filter, parameter.key_id);
  if (filter.key == "Tier") return any_matches(filter, version.tier);
  return any_matches(filter, version.data_type);
}

bool all_match(const std::vector<ParameterFilter>& filters, const Parameter& parameter,
               const ParameterVersion& version) {
  return std::all_of(filters.begin(), filters.end(),
                     [&](const ParameterFilter& filter) { return matches(filter, parameter, version); });
}

void check_filters(const std::vector<ParameterFilter>& filters, const std::vector<std::string>& keys) {
  for (const ParameterFilter& filter : filters) {
    const bool tag = filter.key.starts_with("tag:") && std::find(keys.begin(), keys.end(), "tag:") != keys.end();
    if (!tag && std::find(keys.begin(), keys.end(), filter.key) == keys.end()) {
      throw ApiError("InvalidFilterKey",
                     fmt::format("The following filter key is not valid: {}. Valid filter keys include: [{}]",
                                 filter.key, join(keys, ", ")));
    }
    std::vector<std::string> options = {"Equals"};
    if (filter.key == "Path") options = {"Recursive", "OneLevel"};
    if (filter.key == "Name") options = {"Equals", "BeginsWith", "Contains"};
    if (filter.key == "KeyId") options = {"Equals", "BeginsWith"};
    if (!filter.option.empty() && std::find(options.begin(), options.end(), filter.option) == options.end()) {
      throw ApiError("InvalidFilterOption",
                     fmt::format("The following filter option is not valid: {}. Valid options include: [{}]",
                                 filter.option, join(options, ", ")));
    }
    if (filter.values.empty() && !tag) {
      throw ApiError("InvalidFilterValue",
                     fmt::format("The following filter values are missing : null for filter key {}", filter.key));
    }
  }
}

}  // namespace

void check_pattern(const std::string& pattern, const std::string& value) {
  if (pattern.empty()) return;
  std::regex compiled;
  try {
    compiled = std::regex(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error&) {
    throw ApiError("InvalidAllowedPatternException", "The request does not meet the regular expression requirement.");
  }
  try {
    if (std::regex_match(value, compiled)) return;
  } catch (const std::regex_error&) {
    // Too complex for this value: not known to match.
  }
  throw ApiError("ParameterPatternMismatchException",
                 fmt::format("Parameter value, cannot be validated against allowedPattern: {}", pattern));
}

struct Parameters::State {
  State(host::Loop& on, host::Random& chance, Tables& book, ParameterOptions with)
      : loop(on), random(chance), journal(book), options(std::move(with)) {}

  void save(const Parameter& parameter) { journal.put(kParameterTable, parameter.name, write_record(parameter)); }

  // The name in an ARN of this account's or AWS's parameters; what is no ARN is the name itself. "parameter/a/b" is
  // "/a/b", and "parameter/a" is "a" or "/a".
  std::string name_in(const std::string& text) const {
    if (!text.starts_with("arn:")) return text;
    for (const std::string& account : {options.account, std::string()}) {
      const std::string head = fmt::format("arn:aws:ssm:{}:{}:parameter/", options.region, account);
      if (!text.starts_with(head)) continue;
      const std::string rest = text.substr(head.size());
      const auto [name, selector] = split_selector(rest);
      return parameters.contains(name) ? rest : "/" + rest;
    }
    throw not_found(text);
  }
  Parameter& find(const std::string& name) {
    const auto found = parameters.find(name_in(name));
    if (found == parameters.end()) throw not_found(name);
    return found->second;
  }
  std::string arn_of(const std::string& name) const {
    const bool is_public = name.starts_with(kPublic);
    return fmt::format("arn:aws:ssm:{}:{}:parameter{}{}", options.region, is_public ? "" : options.account,
                       name.starts_with('/') ? "" : "/", name);
  }
  ParameterView view_of(const Parameter& parameter, const ParameterVersion& version, bool decrypt) const {
    ParameterView view{parameter.name, parameter.type, parameter.key_id, {}, arn_of(parameter.name), {}, version};
    if (parameter.type != "SecureString") return view;
    view.version.value = decrypt ? unseal(options.key, parameter.name, version.value) : base64_encode(version.value);
    return view;
  }
  ParameterView public_view(const std::string& name, const std::string& value) const {
    ParameterView view;
    view.name = name;
    view.type = "String";
    view.arn = arn_of(name);
    view.version.number = 1;
    view.version.value = value;
    view.version.modified = opened;
    return view;
  }
  std::string tier_for(const PutParameter& asked, const Parameter* before) const;
  void make_room(Parameter& parameter);

  host::Loop& loop;
  host::Random& random;
  Tables& journal;
  ParameterOptions options;
  Time opened{};
  std::map<std::string, Parameter> parameters;
  std::function<std::map<std::string, std::string>()> public_ones = [] { return std::map<std::string, std::string>(); };
  std::function<bool(const std::string&)> image_exists = [](const std::string&) { return false; };
};

Parameters::Parameters(host::Loop& loop, host::Random& random, Tables& journal, ParameterOptions options)
    : state_(std::make_unique<State>(loop, random, journal, std::move(options))) {}
Parameters::~Parameters() = default;

void Parameters::open() {
  state_->opened = state_->loop.now();
  for (const auto& [name, text] : state_->journal.load(kParameterTable)) {
    state_->parameters[name] = read_parameter(text);
  }
}

void Parameters::set_public(std::function<std::map<std::string, std::string>()> source) {
  state_->public_ones = std::move(source);
}

void Parameters::set_image_exists(std::function<bool(const std::string& id)> exists) {
  state_->image_exists = std::move(exists);
}

// ---- writing

std::string Parameters::State::tier_for(const PutParameter& asked, const Parameter* before) const {
  const bool was_advanced = before != nullptr && before->latest().tier == "Advanced";
  std::string tier = asked.tier;
  if (tier.empty()) tier = was_advanced ? "Advanced" : "Standard";
  if (tier == "Intelligent-Tiering") {
    tier = was_advanced || asked.value.size() > kStandardBytes ? "Advanced" : "Standard";
  }
  if (tier == "Standard" && was_advanced) {
    invalid(
        "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter "
        "tier to the standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a "
        "standard parameter. Be aware that you can't retrieve the value of a parameter after it has been deleted.");
  }
  if (tier == "Standard" && asked.value.size() > kStandardBytes) {
    invalid(
        "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter "
        "value, upgrade the parameter to use the advanced-parameter tier. For more information, see "
        "https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html");
  }
  if (asked.value.size() > kAdvancedBytes) {
    invalid("Advanced tier parameters support a maximum parameter value of 8192 characters.");
  }
  return tier;
}

// The oldest version goes, unless a label holds it.
void Parameters::State::make_room(Parameter& parameter) {
  if (parameter.versions.size() < kVersionsKept) return;
  const ParameterVersion& oldest = parameter.versions.begin()->second;
  if (!oldest.labels.empty()) {
    throw ApiError(
        "ParameterMaxVersionLimitExceeded",
        fmt::format("You attempted to create a new version of {} by calling the PutParameter API with the overwrite "
                    "flag. Version {}, the oldest version, can't be deleted because it has a label associated with it. "
                    "Move the label to another version of the parameter, and try again.",
                    parameter.name, oldest.number));
  }
  parameter.versions.erase(parameter.versions.begin());
}

const ParameterVersion& Parameters::put(const PutParameter& asked) {
  State& s = *state_;
  const std::string name = s.name_in(asked.name);
  check_name(name);
  if (asked.value.empty()) {
    invalid(
        "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length "
        "greater than or equal to 1.");
  }
  const auto found = s.parameters.find(name);
  const Parameter* before = found == s.parameters.end() ? nullptr : &found->second;
  if (before != nullptr && !asked.overwrite) {
    throw ApiError(
        "ParameterAlreadyExists",
        "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.");
  }
  if (asked.overwrite && !asked.tags.empty()) {
    invalid(
        "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove "
        "overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or "
        "RemoveTagsFromResource.");
  }
  if (before == nullptr && asked.type.empty()) invalid("A parameter type is required when you create a parameter.");
  if (before == nullptr && s.parameters.size() >= kParametersMax) {
    throw ApiError("ParameterLimitExceeded", "The account has too many parameters in this region.");
  }
  const std::string type = asked.type.empty() ? before->type : asked.type;
  if (before != nullptr && type != before->type) {
    throw ApiError("HierarchyTypeMismatchException",
                   fmt::format("The parameter {} is a {}; Parameter Store doesn't support changing its type to {}.",
                               name, before->type, type));
  }
  if (!asked.key_id.empty() && (type != "SecureString" || asked.key_id != kDefaultKey)) {
    throw ApiError("InvalidKeyId", fmt::format("The key '{}' cannot be used: this region has the key {} for "
                                               "SecureString parameters and no other.",
                                               asked.key_id, kDefaultKey));
  }
  check_tags(asked.tags);
  ParameterVersion version;
  version.data_type = asked.data_type.empty() ? "text" : asked.data_type;
  if (version.data_type != "text" && version.data_type != "aws:ec2:image") {
    invalid(fmt::format("The following data type is not supported: {} (Data type names are all lowercase.)",
                        version.data_type));
  }
  if (version.data_type == "aws:ec2:image" && (type != "String" || !s.image_exists(asked.value))) {
    invalid(fmt::format("The value {} is not the ID of an AMI that is available in this region.", asked.value));
  }
  version.tier = s.tier_for(asked, before);
  version.number = before == nullptr ? 1 : before->latest().number + 1;
  version.value = type == "SecureString" ? seal(s.options.key, name, asked.value, s.random) : asked.value;
  version.description = asked.description.value_or(before == nullptr ? "" : before->latest().description);
  version.allowed_pattern = asked.allowed_pattern;
  version.modified = s.loop.now();
  version.modified_by = asked.caller;

  if (before != nullptr) s.make_room(found->second);
  Parameter& kept = s.parameters[name];
  if (before == nullptr) {
    kept.name = name;
    kept.type = type;
    kept.key_id = type == "SecureString" ? kDefaultKey : "";
    kept.tags = asked.tags;
  }
  ParameterVersion& made = kept.versions[version.number] = std::move(version);
  s.save(kept);
  return made;
}

void Parameters::remove(const std::string& name) {
  const std::string known = state_->find(name).name;
  state_->parameters.erase(known);
  state_->journal.erase(kParameterTable, known);
}

// ---- reading

ParameterView Parameters::get(const std::string& asked, bool decrypt) const {
  State& s = *state_;
  const auto [name, selector] = split_selector(s.name_in(asked));
  if (name.starts_with(kPublic)) {
    const auto values = s.public_ones();
    const auto value = values.find(name);
    if (value == values.end()) throw not_found(asked);
    if (!selector.empty() && selector != ":1") throw no_version(name, selector.substr(1));
    ParameterView view = s.public_view(name, value->second);
    view.selector = selector;
    return view;
  }
  const auto found = s.parameters.find(name);
  if (found == s.parameters.end() || selector.find(':', 1) != std::string::npos) throw not_found(asked);
  const Parameter& parameter = found->second;
  const ParameterVersion* version = &parameter.latest();
  if (!selector.empty()) {
    version = nullptr;
    const std::string wanted = selector.substr(1);
    for (const auto& [number, one] : parameter.versions) {
      if (std::to_string(number) == wanted || one.labels.contains(wanted)) version = &one;
    }
    if (version == nullptr) throw no_version(name, wanted);
  }
  ParameterView view = s.view_of(parameter, *version, decrypt);
  view.selector = selector;
  return view;
}

std::vector<ParameterView> Parameters::below(const std::string& path, bool recursive, bool decrypt,
                                             const std::vector<ParameterFilter>& filters) const {
  const State& s = *state_;
  if (!path.starts_with('/')) {
    invalid(
        "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward "
        "slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use only letters, "
        "numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not "
        "allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: "
        "/get/parameters2-/by1./path0_.");
  }
  check_filters(filters, {"Type", "KeyId", "Label", "DataType"});
  const std::string folder = folder_of(path);
  const auto its = [&](const std::string& name) {
    return recursive ? name.starts_with(folder) : directly_below(name, folder);
  };
  std::vector<ParameterView> views;
  if (folder.starts_with(kPublic)) {
    for (const auto& [name, value] : s.public_ones()) {
      if (filters.empty() && its(name)) views.push_back(s.public_view(name, value));
    }
    return views;
  }
  for (const auto& [name, parameter] : s.parameters) {
    if (!its(name)) continue;
    // With a label it is the version that has it; otherwise the newest.
    const ParameterVersion* shown = &parameter.latest();
    for (const ParameterFilter& filter : filters) {
      if (filter.key != "Label") continue;
      for (const auto& [number, version] : parameter.versions) {
        if (matches(filter, parameter, version)) shown = &version;
      }
    }
    if (all_match(filters, parameter, *shown)) views.push_back(s.view_of(parameter, *shown, decrypt));
  }
  return views;
}

std::vector<ParameterView> Parameters::history(const std::string& name, bool decrypt) const {
  const Parameter& parameter = state_->find(name);
  std::vector<ParameterView> views;
  for (const auto& [number, version] : parameter.versions) {
    views.push_back(state_->view_of(parameter, version, decrypt));
  }
  return views;
}

std::vector<ParameterView> Parameters::describe(const std::vector<ParameterFilter>& filters) const {
  check_filters(filters, {"Path", "Name", "Type", "KeyId", "Tier", "DataType", "tag:"});
  std::vector<ParameterView> views;
  for (const auto& [name, parameter] : state_->parameters) {
    if (!all_match(filters, parameter, parameter.latest())) continue;
    views.push_back(state_->view_of(parameter, parameter.latest(), false));
    views.back().version.value.clear();
  }
  return views;
}

// ---- labels and tags

Parameters::Labelled Parameters::label(const std::string& name, std::optional<std::int64_t> version,
                                       const std::vector<std::string>& labels) {
  Parameter& parameter = state_->find(name);
  Labelled done;
  done.version = version.value_or(parameter.latest().number);
  const auto target = parameter.versions.find(done.version);
  if (target == parameter.versions.end()) throw no_version(parameter.name, std::to_string(done.version));
  std::set<std::string> added;
  for (const std::string& one : labels) {
    // LabelParameterVersion's page, "Labels".
    const std::string lower = to_lower(one);
    const bool good = !one.empty() && one.size() <= 100 && only_of(one, "._-") && (one[0] < '0' || one[0] > '9') &&
                      !lower.starts_with("aws") && !lower.starts_with("ssm");
    if (good) {
      added.insert(one);
    } else {
      done.invalid.push_back(one);
    }
  }
  std::set<std::string> then = target->second.labels;
  then.insert(added.begin(), added.end());
  if (then.size() > kLabelsMax) {
    throw ApiError("ParameterVersionLabelLimitExceeded",
                   "A parameter version can have maximum 10 labels. Move one or more labels to another version and try "
                   "again.");
  }
  for (auto& [number, other] : parameter.versions) {
    for (const std::string& one : added) other.labels.erase(one);
  }
  target->second.labels = then;
  state_->save(parameter);
  return done;
}

Parameters::Unlabelled Parameters::unlabel(const std::string& name, std::int64_t version,
                                           const std::vector<std::string>& labels) {
  Parameter& parameter = state_->find(name);
  const auto target = parameter.versions.find(version);
  if (target == parameter.versions.end()) throw no_version(parameter.name, std::to_string(version));
  Unlabelled done;
  for (const std::string& one : labels) {
    (target->second.labels.erase(one) > 0 ? done.removed : done.invalid).push_back(one);
  }
  state_->save(parameter);
  return done;
}

namespace {

Parameter& resource(std::map<std::string, Parameter>& parameters, const std::string& name) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) {
    throw ApiError("InvalidResourceId",
                   "The resource ID isn't valid. Verify that you entered the correct ID and try again.");
  }
  return found->second;
}

}  // namespace

const Tags& Parameters::tags(const std::string& name) const { return resource(state_->parameters, name).tags; }

void Parameters::add_tags(const std::string& name, const Tags& tags) {
  Parameter& parameter = resource(state_->parameters, name);
  Tags all = tags;
  all.insert(parameter.tags.begin(), parameter.tags.end());
  check_tags(all);
  parameter.tags = all;
  state_->save(parameter);
}

void Parameters::remove_tags(const std::string& name, const std::vector<std::string>& keys) {
  Parameter& parameter = resource(state_->parameters, name);
  for (const std::string& key : keys) parameter.tags.erase(key);
  state_->save(parameter);
}

}  // namespace kiln::region::ssm
