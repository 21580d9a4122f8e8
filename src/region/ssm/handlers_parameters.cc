// Handlers of Systems Manager: Parameter Store.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "region/ec2/filters.h"
#include "region/ssm/handlers.h"
#include "wire/ssm.h"

namespace kiln::region::ssm {
namespace {

namespace w = wire::ssm;

constexpr std::size_t kNamesMax = 10;  // of GetParameters and DeleteParameters
constexpr std::int64_t kPageDefault = 10;
constexpr std::int64_t kPageMax = 50;

std::optional<std::string> present(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional(text);
}

w::Parameter to_wire(const ParameterView& view) {
  w::Parameter out;
  out.name = view.name;
  out.type = view.type;
  out.value = view.version.value;
  out.version = view.version.number;
  out.selector = present(view.selector);
  out.last_modified_date = view.version.modified;
  out.arn = view.arn;
  out.data_type = view.version.data_type;
  return out;
}

w::ParameterMetadata to_metadata(const ParameterView& view) {
  w::ParameterMetadata out;
  out.name = view.name;
  out.arn = view.arn;
  out.type = view.type;
  out.key_id = present(view.key_id);
  out.last_modified_date = view.version.modified;
  out.last_modified_user = view.version.modified_by;
  out.description = present(view.version.description);
  out.allowed_pattern = present(view.version.allowed_pattern);
  out.version = view.version.number;
  out.tier = view.version.tier;
  out.data_type = view.version.data_type;
  return out;
}

w::ParameterHistory to_history(const ParameterView& view) {
  w::ParameterHistory out;
  out.name = view.name;
  out.type = view.type;
  out.key_id = present(view.key_id);
  out.last_modified_date = view.version.modified;
  out.last_modified_user = view.version.modified_by;
  out.description = present(view.version.description);
  out.value = view.version.value;
  out.allowed_pattern = present(view.version.allowed_pattern);
  out.version = view.version.number;
  out.labels.assign(view.version.labels.begin(), view.version.labels.end());
  out.tier = view.version.tier;
  out.data_type = view.version.data_type;
  return out;
}

Tags from_wire(const std::vector<w::Tag>& tags) {
  Tags out;
  for (const w::Tag& tag : tags) out[tag.key.value_or("")] = tag.value.value_or("");
  return out;
}

std::vector<ParameterFilter> from_wire(const std::vector<w::ParameterStringFilter>& filters) {
  std::vector<ParameterFilter> out;
  for (const auto& filter : filters) {
    out.push_back({filter.key.value_or(""), filter.option.value_or(""), filter.values});
  }
  return out;
}

void check_names(const std::vector<std::string>& names) {
  if (!names.empty() && names.size() <= kNamesMax) return;
  throw ApiError("ValidationException",
                 fmt::format("1 validation error detected: Value at 'names' failed to satisfy constraint: Member must "
                             "have length less than or equal to {}.",
                             kNamesMax));
}

void check_resource_type(const std::optional<std::string>& type) {
  if (type == "Parameter") return;
  throw ApiError("InvalidResourceType", "The resource type isn't valid: only parameters have tags in this region.");
}

void write(Handlers& handlers, Parameters& parameters) {
  handlers.before<w::PutParameter>([](const w::PutParameterRequest& input) {
    check_pattern(input.allowed_pattern.value_or(""), input.value.value_or(""));
  });
  handlers.on<w::PutParameter>([&parameters](const Call& call, const w::PutParameterRequest& input) {
    only<w::PutParameter>(input, {"Name", "Description", "Value", "Type", "KeyId", "Overwrite", "AllowedPattern",
                                  "Tags", "Tier", "DataType"});
    PutParameter asked;
    asked.name = input.name.value_or("");
    asked.value = input.value.value_or("");
    asked.type = input.type.value_or("");
    asked.key_id = input.key_id.value_or("");
    asked.tier = input.tier.value_or("");
    asked.description = input.description;
    asked.allowed_pattern = input.allowed_pattern.value_or("");
    asked.data_type = input.data_type.value_or("");
    asked.tags = from_wire(input.tags);
    asked.overwrite = input.overwrite.value_or(false);
    asked.caller = "arn:aws:iam::" + call.account + ":root";
    const ParameterVersion& made = parameters.put(asked);
    w::PutParameterResult answer;
    answer.version = made.number;
    answer.tier = made.tier;
    return answer;
  });
  handlers.on<w::DeleteParameter>([&parameters](const Call&, const w::DeleteParameterRequest& input) {
    parameters.remove(input.name.value_or(""));
    return w::DeleteParameterResult{};
  });
  handlers.on<w::DeleteParameters>([&parameters](const Call&, const w::DeleteParametersRequest& input) {
    check_names(input.names);
    w::DeleteParametersResult answer;
    for (const std::string& name : input.names) {
      try {
        parameters.remove(name);
        answer.deleted_parameters.push_back(name);
      } catch (const ApiError&) {
        answer.invalid_parameters.push_back(name);
      }
    }
    return answer;
  });
  handlers.on<w::LabelParameterVersion>([&parameters](const Call&, const w::LabelParameterVersionRequest& input) {
    const auto done = parameters.label(input.name.value_or(""), input.parameter_version, input.labels);
    w::LabelParameterVersionResult answer;
    answer.invalid_labels = done.invalid;
    answer.parameter_version = done.version;
    return answer;
  });
  handlers.on<w::UnlabelParameterVersion>([&parameters](const Call&, const w::UnlabelParameterVersionRequest& input) {
    const auto done = parameters.unlabel(input.name.value_or(""), input.parameter_version.value_or(0), input.labels);
    w::UnlabelParameterVersionResult answer;
    answer.removed_labels = done.removed;
    answer.invalid_labels = done.invalid;
    return answer;
  });
}

void read(Handlers& handlers, Parameters& parameters) {
  handlers.on<w::GetParameter>([&parameters](const Call&, const w::GetParameterRequest& input) {
    w::GetParameterResult answer;
    answer.parameter = to_wire(parameters.get(input.name.value_or(""), input.with_decryption.value_or(false)));
    return answer;
  });
  handlers.on<w::GetParameters>([&parameters](const Call&, const w::GetParametersRequest& input) {
    check_names(input.names);
    w::GetParametersResult answer;
    for (const std::string& name : std::set<std::string>(input.names.begin(), input.names.end())) {
      try {
        answer.parameters.push_back(to_wire(parameters.get(name, input.with_decryption.value_or(false))));
      } catch (const ApiError&) {
        answer.invalid_parameters.push_back(name);
      }
    }
    return answer;
  });
  handlers.on<w::GetParametersByPath>([&parameters](const Call&, const w::GetParametersByPathRequest& input) {
    check_max_results(input.max_results, 1, kPageDefault);
    ec2::Page page(input.max_results.value_or(kPageDefault), input.next_token, 1, kPageDefault);
    w::GetParametersByPathResult answer;
    for (const ParameterView& view :
         parameters.below(input.path.value_or(""), input.recursive.value_or(false),
                          input.with_decryption.value_or(false), from_wire(input.parameter_filters))) {
      if (page.takes(view.name)) answer.parameters.push_back(to_wire(view));
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.on<w::GetParameterHistory>([&parameters](const Call&, const w::GetParameterHistoryRequest& input) {
    check_max_results(input.max_results, 1, kPageMax);
    ec2::Page page(input.max_results.value_or(kPageMax), input.next_token, 1, kPageMax);
    w::GetParameterHistoryResult answer;
    for (const ParameterView& view :
         parameters.history(input.name.value_or(""), input.with_decryption.value_or(false))) {
      if (page.takes(fmt::format("{:019}", view.version.number))) answer.parameters.push_back(to_history(view));
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.on<w::DescribeParameters>([&parameters](const Call&, const w::DescribeParametersRequest& input) {
    only<w::DescribeParameters>(input, {"Filters", "ParameterFilters", "MaxResults", "NextToken"});
    check_max_results(input.max_results, 1, kPageMax);
    if (!input.filters.empty() && !input.parameter_filters.empty()) {
      throw ApiError("ValidationException", "You can use either Filters or ParameterFilters in a single request.");
    }
    std::vector<ParameterFilter> filters = from_wire(input.parameter_filters);
    for (const w::ParametersFilter& filter : input.filters) {
      // The older form of names looks at their beginning.
      const std::string key = filter.key.value_or("");
      filters.push_back({key, key == "Name" ? "BeginsWith" : "Equals", filter.values});
    }
    ec2::Page page(input.max_results.value_or(kPageMax), input.next_token, 1, kPageMax);
    w::DescribeParametersResult answer;
    for (const ParameterView& view : parameters.describe(filters)) {
      if (page.takes(view.name)) answer.parameters.push_back(to_metadata(view));
    }
    answer.next_token = page.next_token();
    return answer;
  });
}

void tag(Handlers& handlers, Parameters& parameters) {
  handlers.on<w::AddTagsToResource>([&parameters](const Call&, const w::AddTagsToResourceRequest& input) {
    check_resource_type(input.resource_type);
    parameters.add_tags(input.resource_id.value_or(""), from_wire(input.tags));
    return w::AddTagsToResourceResult{};
  });
  handlers.on<w::RemoveTagsFromResource>([&parameters](const Call&, const w::RemoveTagsFromResourceRequest& input) {
    check_resource_type(input.resource_type);
    parameters.remove_tags(input.resource_id.value_or(""), input.tag_keys);
    return w::RemoveTagsFromResourceResult{};
  });
  handlers.on<w::ListTagsForResource>([&parameters](const Call&, const w::ListTagsForResourceRequest& input) {
    check_resource_type(input.resource_type);
    w::ListTagsForResourceResult answer;
    for (const auto& [key, value] : parameters.tags(input.resource_id.value_or(""))) {
      auto& one = answer.tag_list.emplace_back();
      one.key = key;
      one.value = value;
    }
    return answer;
  });
}

}  // namespace

void check_max_results(const std::optional<std::int64_t>& max_results, std::int64_t minimum, std::int64_t maximum) {
  if (!max_results || (*max_results >= minimum && *max_results <= maximum)) return;
  const bool over = *max_results > maximum;
  throw ApiError("ValidationException",
                 fmt::format("1 validation error detected: Value '{}' at 'maxResults' failed to satisfy constraint: "
                             "Member must have value {} than or equal to {}",
                             *max_results, over ? "less" : "greater", over ? maximum : minimum));
}

void serve(Handlers& handlers, Parameters& parameters) {
  write(handlers, parameters);
  read(handlers, parameters);
  tag(handlers, parameters);
}

}  // namespace kiln::region::ssm
