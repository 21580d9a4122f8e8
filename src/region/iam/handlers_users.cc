// Handlers of IAM: users, their access keys and tags.
#include "region/iam/handlers.h"
#include "region/iam/state.h"

namespace kiln::region::iam {
namespace {

namespace w = wire::iam;

w::User to_wire(const User& user, bool with_tags) {
  w::User out;
  out.path = user.path;
  out.user_name = user.name;
  out.user_id = user.id;
  out.arn = user.arn;
  out.create_date = user.created;
  if (with_tags) out.tags = kiln::region::iam::to_wire(user.tags);
  return out;
}

// The user that is named, or the one who calls.
std::string name_or_caller(const Call& call, const std::optional<std::string>& name) {
  if (name) return *name;
  const std::string& arn = call.principal.arn;
  if (arn.find(":user/") == std::string::npos) {
    refuse_value("Must specify userName when calling with non-User credentials");
  }
  return arn.substr(arn.rfind('/') + 1);
}

w::User whole(const Call& call, const Iam& iam, const std::optional<std::string>& name) {
  if (!name && call.principal.arn == root_of(call.account).arn) {
    // The root user has no name, and nobody has made it.
    w::User root;
    root.user_id = call.account;
    root.arn = call.principal.arn;
    return root;
  }
  return to_wire(iam.user(name_or_caller(call, name)), true);
}

void users(Handlers& handlers, Iam& iam) {
  handlers.on<w::CreateUser>([&iam](const Call&, const w::CreateUserRequest& input) {
    only<w::CreateUser>(input, {"UserName", "Path", "Tags"});
    w::CreateUserResponse answer;
    answer.user =
        to_wire(iam.create_user(input.user_name.value_or(""), input.path.value_or("/"), from_wire(input.tags)), true);
    return answer;
  });
  handlers.on<w::GetUser>([&iam](const Call& call, const w::GetUserRequest& input) {
    w::GetUserResponse answer;
    answer.user = whole(call, iam, input.user_name);
    return answer;
  });
  handlers.on<w::DeleteUser>([&iam](const Call&, const w::DeleteUserRequest& input) {
    iam.delete_user(input.user_name.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ListUsers>([&iam](const Call&, const w::ListUsersRequest& input) {
    w::ListUsersResponse answer;
    Page page(input);
    for (const auto& [name, user] : iam.users()) {
      if (user.path.starts_with(input.path_prefix.value_or("/")) && page.takes(name)) {
        answer.users.push_back(to_wire(user, false));
      }
    }
    page.finish(answer);
    return answer;
  });
  // There are no groups.
  handlers.on<w::ListGroupsForUser>([&iam](const Call&, const w::ListGroupsForUserRequest& input) {
    iam.user(input.user_name.value_or(""));
    w::ListGroupsForUserResponse answer;
    Page(input).finish(answer);
    return answer;
  });
}

void access_keys(Handlers& handlers, Iam& iam) {
  handlers.on<w::CreateAccessKey>([&iam](const Call& call, const w::CreateAccessKeyRequest& input) {
    const std::string name = name_or_caller(call, input.user_name);
    const AccessKey& key = iam.create_access_key(name);
    w::CreateAccessKeyResponse answer;
    w::AccessKey& out = answer.access_key.emplace();
    out.user_name = name;
    out.access_key_id = key.id;
    out.secret_access_key = key.secret;
    out.status = "Active";
    out.create_date = key.created;
    return answer;
  });
  handlers.on<w::UpdateAccessKey>([&iam](const Call& call, const w::UpdateAccessKeyRequest& input) {
    const std::string status = input.status.value_or("");
    if (status == "Expired") refuse_value("The status of an access key is set to Active or Inactive");
    iam.set_access_key_active(name_or_caller(call, input.user_name), input.access_key_id.value_or(""),
                              status == "Active");
    return wire::Empty{};
  });
  handlers.on<w::DeleteAccessKey>([&iam](const Call& call, const w::DeleteAccessKeyRequest& input) {
    iam.delete_access_key(name_or_caller(call, input.user_name), input.access_key_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ListAccessKeys>([&iam](const Call& call, const w::ListAccessKeysRequest& input) {
    const User& user = iam.user(name_or_caller(call, input.user_name));
    w::ListAccessKeysResponse answer;
    Page page(input);
    for (const auto& [id, key] : user.keys) {
      if (!page.takes(id)) continue;
      w::AccessKeyMetadata& out = answer.access_key_metadata.emplace_back();
      out.user_name = user.name;
      out.access_key_id = id;
      out.status = key.active ? "Active" : "Inactive";
      out.create_date = key.created;
    }
    page.finish(answer);
    return answer;
  });
}

void tags(Handlers& handlers, Iam& iam) {
  handlers.on<w::TagUser>([&iam](const Call&, const w::TagUserRequest& input) {
    iam.tag({Holder::Kind::user, input.user_name.value_or("")}, from_wire(input.tags));
    return wire::Empty{};
  });
  handlers.on<w::UntagUser>([&iam](const Call&, const w::UntagUserRequest& input) {
    iam.untag({Holder::Kind::user, input.user_name.value_or("")}, input.tag_keys);
    return wire::Empty{};
  });
  handlers.on<w::ListUserTags>([&iam](const Call&, const w::ListUserTagsRequest& input) {
    w::ListUserTagsResponse answer;
    Page page(input);
    for (const auto& [key, value] : iam.user(input.user_name.value_or("")).tags) {
      if (page.takes(key)) answer.tags.push_back({key, value});
    }
    page.finish(answer);
    return answer;
  });
}

}  // namespace

void serve_users(Handlers& handlers, Iam& iam) {
  users(handlers, iam);
  access_keys(handlers, iam);
  tags(handlers, iam);
}

}  // namespace kiln::region::iam
