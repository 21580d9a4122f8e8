// Launch templates: versions that are numbered in the order of their making and never change.
#include <fmt/format.h>

#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

constexpr std::size_t kVersionsMax = 10'000;  // AWS's quota a template

bool good_name(const std::string& name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789().-/_";
  return name.size() >= 3 && name.size() <= 128 && name.find_first_not_of(kAllowed) == std::string::npos;
}

}  // namespace

LaunchTemplate& Ec2::State::find_template(const std::string& id, const std::string& name) {
  if (!id.empty() && !name.empty()) {
    throw ApiError("InvalidParameterCombination", "Specify a launch template by its ID or by its name, not by both");
  }
  if (!id.empty()) {
    auto it = templates.find(id);
    if (it != templates.end()) return it->second;
    if (!well_formed(id, "lt-")) {
      throw ApiError("InvalidLaunchTemplateId.Malformed", fmt::format("The launch template ID '{}' is malformed", id));
    }
    throw ApiError("InvalidLaunchTemplateId.NotFound",
                   fmt::format("The specified launch template, with template ID {}, does not exist.", id));
  }
  if (name.empty()) throw ApiError("MissingParameter", "The request must name a launch template");
  for (auto& [key, launch_template] : templates) {
    if (launch_template.name == name) return launch_template;
  }
  throw ApiError("InvalidLaunchTemplateName.NotFoundException",
                 fmt::format("The specified launch template, with template name {}, does not exist.", name));
}

TemplateVersion& Ec2::State::find_version(LaunchTemplate& launch_template, const std::string& version) {
  std::int64_t number = 0;
  if (version.empty() || version == "$Default") {
    number = launch_template.default_version;
  } else if (version == "$Latest") {
    number = launch_template.versions.rbegin()->first;
  } else {
    number = parse_int(version).value_or(0);
  }
  auto it = launch_template.versions.find(number);
  if (it != launch_template.versions.end()) return it->second;
  throw ApiError("InvalidLaunchTemplateId.VersionNotFound",
                 fmt::format("Could not find the specified version {} for the launch template with ID {}.", version,
                             launch_template.id));
}

TemplateVersion* Ec2::State::made_before(const std::string& client_token, const std::string& asked) {
  auto known = template_tokens.find(client_token);
  if (client_token.empty() || known == template_tokens.end()) return nullptr;
  std::vector<std::string> parts = split(known->second, ':');
  if (parts.size() != 3 || parts[2] != sha256(asked).hex()) {
    throw ApiError("IdempotentParameterMismatch",
                   "The request uses the same client token as a previous, but non-identical request");
  }
  auto its = templates.find(parts[0]);
  if (its == templates.end()) return nullptr;
  auto version = its->second.versions.find(parse_int(parts[1]).value_or(0));
  return version == its->second.versions.end() ? nullptr : &version->second;
}

void Ec2::State::remember(const std::string& client_token, const std::string& asked,
                          const LaunchTemplate& launch_template, std::int64_t version) {
  if (client_token.empty()) return;
  std::string& kept = template_tokens[client_token];
  kept = fmt::format("{}:{}:{}", launch_template.id, version, sha256(asked).hex());
  journal.put(kTokenTable, client_token, kept);
}

const LaunchTemplate& Ec2::create_launch_template(const std::string& name, const std::string& description,
                                                  const LaunchData& data, const Tags& tags,
                                                  const std::string& client_token) {
  State& s = *state_;
  std::string asked = fmt::format("{}|{}|{}", name, description, text_of(data));
  for (const auto& [key, value] : tags) asked += fmt::format("|{}={}", key, value);
  if (s.made_before(client_token, asked) != nullptr) return s.find_template("", name);
  if (!good_name(name)) {
    throw ApiError(
        "InvalidLaunchTemplateName.MalformedException",
        "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the "
        "following characters: - ( ) . / _");
  }
  for (const auto& [id, other] : s.templates) {
    if (other.name == name) {
      throw ApiError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.");
    }
  }
  check_tags(tags);
  LaunchTemplate made;
  made.id = s.new_id("lt-");
  made.name = name;
  made.created = s.loop.now();
  made.latest_version = 1;
  made.tags = tags;
  made.versions[1] = {1, description, made.created, data};
  LaunchTemplate& kept = s.templates[made.id] = made;
  s.remember(client_token, asked, kept, 1);
  s.save(kept);
  return kept;
}

const TemplateVersion& Ec2::create_launch_template_version(const TemplateSpec& spec, const std::string& source_version,
                                                           const std::string& description, const LaunchData& data,
                                                           const std::string& client_token) {
  State& s = *state_;
  LaunchTemplate& launch_template = s.find_template(spec.id, spec.name);
  std::string asked = fmt::format("{}|{}|{}|{}", launch_template.id, source_version, description, text_of(data));
  if (TemplateVersion* made = s.made_before(client_token, asked)) return *made;
  if (launch_template.versions.size() >= kVersionsMax) {
    throw ApiError("VersionsPerLaunchTemplateLimitExceeded", "The launch template has too many versions");
  }
  LaunchData base;
  if (!source_version.empty()) base = s.find_version(launch_template, source_version).data;
  std::int64_t number = ++launch_template.latest_version;
  TemplateVersion& made = launch_template.versions[number] = {number, description, s.loop.now(), merge(base, data)};
  s.remember(client_token, asked, launch_template, number);
  s.save(launch_template);
  return made;
}

const std::map<std::string, LaunchTemplate>& Ec2::launch_templates() const { return state_->templates; }

const LaunchTemplate& Ec2::launch_template(const std::string& id, const std::string& name) const {
  return state_->find_template(id, name);
}

const TemplateVersion& Ec2::template_version(const TemplateSpec& spec) const {
  return state_->find_version(state_->find_template(spec.id, spec.name), spec.version);
}

const LaunchTemplate& Ec2::set_default_version(const TemplateSpec& spec) {
  LaunchTemplate& launch_template = state_->find_template(spec.id, spec.name);
  launch_template.default_version = state_->find_version(launch_template, spec.version).number;
  state_->save(launch_template);
  return launch_template;
}

LaunchTemplate Ec2::delete_launch_template(const std::string& id, const std::string& name) {
  LaunchTemplate gone = state_->find_template(id, name);
  state_->templates.erase(gone.id);
  state_->journal.erase(kTemplateTable, gone.id);
  std::erase_if(state_->template_tokens, [&](const auto& token) {
    bool its = token.second.substr(0, token.second.find(':')) == gone.id;
    if (its) state_->journal.erase(kTokenTable, token.first);
    return its;
  });
  return gone;
}

std::optional<std::string> Ec2::delete_template_version(const std::string& template_id, std::int64_t number) {
  LaunchTemplate& launch_template = state_->find_template(template_id, "");
  if (!launch_template.versions.contains(number)) return "launchTemplateVersionDoesNotExist";
  if (number == launch_template.default_version) return "unexpectedError";
  launch_template.versions.erase(number);
  state_->save(launch_template);
  return std::nullopt;
}

}  // namespace kiln::region::ec2
