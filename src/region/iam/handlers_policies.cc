// Handlers of IAM: managed policies with their versions, and the policies of users and roles.
#include <fmt/format.h>

#include "region/iam/handlers.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

namespace w = wire::iam;

std::string version_name(std::int64_t number) { return fmt::format("v{}", number); }

w::Policy to_wire(const Iam& iam, const Policy& policy) {
  w::Policy out;
  out.policy_name = policy.name;
  out.policy_id = policy.id;
  out.arn = policy.arn;
  out.path = policy.path;
  out.default_version_id = version_name(policy.default_version);
  out.attachment_count = iam.attachments(policy.arn);
  out.permissions_boundary_usage_count = 0;
  out.is_attachable = true;
  out.create_date = policy.created;
  out.update_date = policy.updated;
  return out;
}

// A list has neither descriptions nor tags.
w::Policy whole(const Iam& iam, const Policy& policy) {
  w::Policy out = to_wire(iam, policy);
  if (!policy.description.empty()) out.description = policy.description;
  out.tags = kiln::region::iam::to_wire(policy.tags);
  return out;
}

w::PolicyVersion to_wire(const Policy& policy, const PolicyVersion& version, bool with_document) {
  w::PolicyVersion out;
  if (with_document) out.document = encoded(version.document);
  out.version_id = version_name(version.number);
  out.is_default_version = version.number == policy.default_version;
  out.create_date = version.created;
  return out;
}

w::ListPoliciesResponse list(const Iam& iam, const w::ListPoliciesRequest& input) {
  only<w::ListPolicies>(input, {"Scope", "OnlyAttached", "PathPrefix", "PolicyUsageFilter", "Marker", "MaxItems"});
  const std::string scope = input.scope.value_or("All");
  // No policy is a boundary: those are refused where they are set.
  const bool none = input.policy_usage_filter.value_or("") == "PermissionsBoundary";
  w::ListPoliciesResponse answer;
  Page page(input);
  for (const Policy* policy : iam.policies()) {
    if (none || (scope != "All" && (scope == "AWS") != Iam::is_aws_managed(policy->arn))) continue;
    if (!policy->path.starts_with(input.path_prefix.value_or("/"))) continue;
    if (input.only_attached.value_or(false) && iam.attachments(policy->arn) == 0) continue;
    if (page.takes(policy->name + " " + policy->arn)) answer.policies.push_back(to_wire(iam, *policy));
  }
  page.finish(answer);
  return answer;
}

void versions(Handlers& handlers, Iam& iam) {
  handlers.on<w::CreatePolicyVersion>([&iam](const Call&, const w::CreatePolicyVersionRequest& input) {
    const std::string arn = input.policy_arn.value_or("");
    const PolicyVersion& made =
        iam.create_policy_version(arn, input.policy_document.value_or(""), input.set_as_default.value_or(false));
    w::CreatePolicyVersionResponse answer;
    answer.policy_version = to_wire(iam.policy(arn), made, false);
    return answer;
  });
  handlers.on<w::GetPolicyVersion>([&iam](const Call&, const w::GetPolicyVersionRequest& input) {
    const std::string arn = input.policy_arn.value_or("");
    w::GetPolicyVersionResponse answer;
    answer.policy_version = to_wire(iam.policy(arn), iam.policy_version(arn, input.version_id.value_or("")), true);
    return answer;
  });
  handlers.on<w::ListPolicyVersions>([&iam](const Call&, const w::ListPolicyVersionsRequest& input) {
    const Policy& policy = iam.policy(input.policy_arn.value_or(""));
    w::ListPolicyVersionsResponse answer;
    Page page(input);
    for (auto it = policy.versions.rbegin(); it != policy.versions.rend(); ++it) {
      // The newest first; the page's key falls as the number grows.
      if (page.takes(fmt::format("{:020}", 9'000'000'000'000 - it->first))) {
        answer.versions.push_back(to_wire(policy, it->second, false));
      }
    }
    page.finish(answer);
    return answer;
  });
  handlers.on<w::DeletePolicyVersion>([&iam](const Call&, const w::DeletePolicyVersionRequest& input) {
    iam.delete_policy_version(input.policy_arn.value_or(""), input.version_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::SetDefaultPolicyVersion>([&iam](const Call&, const w::SetDefaultPolicyVersionRequest& input) {
    iam.set_default_policy_version(input.policy_arn.value_or(""), input.version_id.value_or(""));
    return wire::Empty{};
  });
}

// The operations of users and of roles differ by their names only.
Holder holder_of(const auto& input) {
  if constexpr (requires { input.role_name; }) {
    return {Holder::Kind::role, input.role_name.value_or("")};
  } else {
    return {Holder::Kind::user, input.user_name.value_or("")};
  }
}

template <class Op>
void put(Handlers& handlers, Iam& iam) {
  handlers.on<Op>([&iam](const Call&, const typename Op::Input& input) {
    iam.put_policy(holder_of(input), input.policy_name.value_or(""), input.policy_document.value_or(""));
    return wire::Empty{};
  });
}

template <class Op>
void get(Handlers& handlers, Iam& iam) {
  handlers.on<Op>([&iam](const Call&, const typename Op::Input& input) {
    const Holder holder = holder_of(input);
    typename Op::Output answer;
    if constexpr (requires { answer.role_name; }) {
      answer.role_name = holder.name;
    } else {
      answer.user_name = holder.name;
    }
    answer.policy_name = input.policy_name;
    answer.policy_document = encoded(iam.inline_policy(holder, input.policy_name.value_or("")));
    return answer;
  });
}

template <class Op>
void remove(Handlers& handlers, Iam& iam) {
  handlers.on<Op>([&iam](const Call&, const typename Op::Input& input) {
    iam.delete_inline_policy(holder_of(input), input.policy_name.value_or(""));
    return wire::Empty{};
  });
}

template <class Op>
void list_names(Handlers& handlers, Iam& iam) {
  handlers.on<Op>([&iam](const Call&, const typename Op::Input& input) {
    typename Op::Output answer;
    Page page(input);
    for (const auto& [name, document] : iam.identity(holder_of(input)).inline_policies) {
      if (page.takes(name)) answer.policy_names.push_back(name);
    }
    page.finish(answer);
    return answer;
  });
}

template <class Attach, class Detach>
void attach(Handlers& handlers, Iam& iam) {
  handlers.on<Attach>([&iam](const Call&, const typename Attach::Input& input) {
    iam.attach(holder_of(input), input.policy_arn.value_or(""));
    return wire::Empty{};
  });
  handlers.on<Detach>([&iam](const Call&, const typename Detach::Input& input) {
    iam.detach(holder_of(input), input.policy_arn.value_or(""));
    return wire::Empty{};
  });
}

template <class Op>
void list_attached(Handlers& handlers, Iam& iam) {
  handlers.on<Op>([&iam](const Call&, const typename Op::Input& input) {
    typename Op::Output answer;
    Page page(input);
    for (const std::string& arn : iam.identity(holder_of(input)).attached) {
      const Policy& policy = iam.policy(arn);
      if (!policy.path.starts_with(input.path_prefix.value_or("/")) || !page.takes(arn)) continue;
      answer.attached_policies.push_back({policy.name, arn});
    }
    page.finish(answer);
    return answer;
  });
}

}  // namespace

void serve_policies(Handlers& handlers, Iam& iam) {
  handlers.on<w::CreatePolicy>([&iam](const Call&, const w::CreatePolicyRequest& input) {
    w::CreatePolicyResponse answer;
    answer.policy = whole(iam, iam.create_policy(input.policy_name.value_or(""), input.path.value_or("/"),
                                                 input.policy_document.value_or(""), input.description.value_or(""),
                                                 from_wire(input.tags)));
    return answer;
  });
  handlers.on<w::GetPolicy>([&iam](const Call&, const w::GetPolicyRequest& input) {
    w::GetPolicyResponse answer;
    answer.policy = whole(iam, iam.policy(input.policy_arn.value_or("")));
    return answer;
  });
  handlers.on<w::DeletePolicy>([&iam](const Call&, const w::DeletePolicyRequest& input) {
    iam.delete_policy(input.policy_arn.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ListPolicies>([&iam](const Call&, const w::ListPoliciesRequest& input) { return list(iam, input); });
  versions(handlers, iam);
}

void serve_held_policies(Handlers& handlers, Iam& iam) {
  put<w::PutRolePolicy>(handlers, iam);
  put<w::PutUserPolicy>(handlers, iam);
  get<w::GetRolePolicy>(handlers, iam);
  get<w::GetUserPolicy>(handlers, iam);
  remove<w::DeleteRolePolicy>(handlers, iam);
  remove<w::DeleteUserPolicy>(handlers, iam);
  list_names<w::ListRolePolicies>(handlers, iam);
  list_names<w::ListUserPolicies>(handlers, iam);
  attach<w::AttachRolePolicy, w::DetachRolePolicy>(handlers, iam);
  attach<w::AttachUserPolicy, w::DetachUserPolicy>(handlers, iam);
  list_attached<w::ListAttachedRolePolicies>(handlers, iam);
  list_attached<w::ListAttachedUserPolicies>(handlers, iam);
}

}  // namespace kiln::region::iam
