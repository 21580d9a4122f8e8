// Handlers of IAM: roles and instance profiles.
#include "region/iam/handlers.h"
#include "region/iam/state.h"

namespace kiln::region::iam {

namespace w = wire::iam;

w::Role to_wire(const Role& role, bool with_tags) {
  w::Role out;
  out.path = role.path;
  out.role_name = role.name;
  out.role_id = role.id;
  out.arn = role.arn;
  out.create_date = role.created;
  out.assume_role_policy_document = encoded(role.trust);
  if (!role.description.empty()) out.description = role.description;
  out.max_session_duration = role.max_session_seconds;
  if (with_tags) out.tags = to_wire(role.tags);
  return out;
}

namespace {

w::InstanceProfile to_wire(const Iam& iam, const InstanceProfile& profile, bool with_tags) {
  w::InstanceProfile out;
  out.path = profile.path;
  out.instance_profile_name = profile.name;
  out.instance_profile_id = profile.id;
  out.arn = profile.arn;
  out.create_date = profile.created;
  if (!profile.role.empty()) out.roles = {kiln::region::iam::to_wire(iam.role(profile.role), false)};
  if (with_tags) out.tags = kiln::region::iam::to_wire(profile.tags);
  return out;
}

void tags(Handlers& handlers, Iam& iam) {
  handlers.on<w::TagRole>([&iam](const Call&, const w::TagRoleRequest& input) {
    iam.tag({Holder::Kind::role, input.role_name.value_or("")}, from_wire(input.tags));
    return wire::Empty{};
  });
  handlers.on<w::UntagRole>([&iam](const Call&, const w::UntagRoleRequest& input) {
    iam.untag({Holder::Kind::role, input.role_name.value_or("")}, input.tag_keys);
    return wire::Empty{};
  });
  handlers.on<w::ListRoleTags>([&iam](const Call&, const w::ListRoleTagsRequest& input) {
    w::ListRoleTagsResponse answer;
    Page page(input);
    for (const auto& [key, value] : iam.role(input.role_name.value_or("")).tags) {
      if (page.takes(key)) answer.tags.push_back({key, value});
    }
    page.finish(answer);
    return answer;
  });
}

}  // namespace

void serve_roles(Handlers& handlers, Iam& iam) {
  handlers.on<w::CreateRole>([&iam](const Call&, const w::CreateRoleRequest& input) {
    only<w::CreateRole>(input,
                        {"RoleName", "Path", "AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Tags"});
    NewRole request;
    request.name = input.role_name.value_or("");
    request.path = input.path.value_or("/");
    request.trust = input.assume_role_policy_document.value_or("");
    request.description = input.description.value_or("");
    request.max_session_seconds = input.max_session_duration.value_or(request.max_session_seconds);
    request.tags = from_wire(input.tags);
    w::CreateRoleResponse answer;
    answer.role = to_wire(iam.create_role(request), true);
    return answer;
  });
  handlers.on<w::GetRole>([&iam](const Call&, const w::GetRoleRequest& input) {
    w::GetRoleResponse answer;
    answer.role = to_wire(iam.role(input.role_name.value_or("")), true);
    answer.role->role_last_used.emplace();
    return answer;
  });
  handlers.on<w::UpdateRole>([&iam](const Call&, const w::UpdateRoleRequest& input) {
    only<w::UpdateRole>(input, {"RoleName", "Description", "MaxSessionDuration"});
    // An empty description comes as an absent one: a request that says nothing else takes it away.
    std::optional<std::string> description = input.description;
    if (!description && !input.max_session_duration) description = "";
    iam.update_role(input.role_name.value_or(""), description, input.max_session_duration);
    return w::UpdateRoleResponse{};
  });
  handlers.on<w::UpdateAssumeRolePolicy>([&iam](const Call&, const w::UpdateAssumeRolePolicyRequest& input) {
    iam.set_trust(input.role_name.value_or(""), input.policy_document.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::DeleteRole>([&iam](const Call&, const w::DeleteRoleRequest& input) {
    iam.delete_role(input.role_name.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ListRoles>([&iam](const Call&, const w::ListRolesRequest& input) {
    w::ListRolesResponse answer;
    Page page(input);
    for (const auto& [name, role] : iam.roles()) {
      if (role.path.starts_with(input.path_prefix.value_or("/")) && page.takes(name)) {
        answer.roles.push_back(to_wire(role, false));
      }
    }
    page.finish(answer);
    return answer;
  });
  tags(handlers, iam);
}

void serve_instance_profiles(Handlers& handlers, Iam& iam) {
  handlers.on<w::CreateInstanceProfile>([&iam](const Call&, const w::CreateInstanceProfileRequest& input) {
    w::CreateInstanceProfileResponse answer;
    answer.instance_profile = to_wire(iam,
                                      iam.create_instance_profile(input.instance_profile_name.value_or(""),
                                                                  input.path.value_or("/"), from_wire(input.tags)),
                                      true);
    return answer;
  });
  handlers.on<w::GetInstanceProfile>([&iam](const Call&, const w::GetInstanceProfileRequest& input) {
    w::GetInstanceProfileResponse answer;
    answer.instance_profile = to_wire(iam, iam.instance_profile(input.instance_profile_name.value_or("")), true);
    return answer;
  });
  handlers.on<w::DeleteInstanceProfile>([&iam](const Call&, const w::DeleteInstanceProfileRequest& input) {
    iam.delete_instance_profile(input.instance_profile_name.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ListInstanceProfiles>([&iam](const Call&, const w::ListInstanceProfilesRequest& input) {
    w::ListInstanceProfilesResponse answer;
    Page page(input);
    for (const auto& [name, profile] : iam.instance_profiles()) {
      if (profile.path.starts_with(input.path_prefix.value_or("/")) && page.takes(name)) {
        answer.instance_profiles.push_back(to_wire(iam, profile, false));
      }
    }
    page.finish(answer);
    return answer;
  });
  handlers.on<w::ListInstanceProfilesForRole>([&iam](const Call&, const w::ListInstanceProfilesForRoleRequest& input) {
    const std::string role = iam.role(input.role_name.value_or("")).name;
    w::ListInstanceProfilesForRoleResponse answer;
    Page page(input);
    for (const auto& [name, profile] : iam.instance_profiles()) {
      if (profile.role == role && page.takes(name)) answer.instance_profiles.push_back(to_wire(iam, profile, false));
    }
    page.finish(answer);
    return answer;
  });
  handlers.on<w::AddRoleToInstanceProfile>([&iam](const Call&, const w::AddRoleToInstanceProfileRequest& input) {
    iam.add_role(input.instance_profile_name.value_or(""), input.role_name.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::RemoveRoleFromInstanceProfile>(
      [&iam](const Call&, const w::RemoveRoleFromInstanceProfileRequest& input) {
        iam.remove_role(input.instance_profile_name.value_or(""), input.role_name.value_or(""));
        return wire::Empty{};
      });
}

}  // namespace kiln::region::iam
