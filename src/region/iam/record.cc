// Record: IAM's things as the journal keeps them. Secrets of keys are in them.
#include "region/iam/state.h"
#include "region/record_json.h"

namespace kiln::region::iam {
namespace {

json identity_json(const Identity& value) {
  return {{"name", value.name},
          {"path", value.path},
          {"id", value.id},
          {"arn", value.arn},
          {"created", number(value.created)},
          {"tags", value.tags},
          {"inline_policies", value.inline_policies},
          {"attached", value.attached}};
}

void read_identity(const json& from, Identity& value) {
  from.at("name").get_to(value.name);
  from.at("path").get_to(value.path);
  from.at("id").get_to(value.id);
  from.at("arn").get_to(value.arn);
  value.created = time_of(from.at("created"));
  from.at("tags").get_to(value.tags);
  from.at("inline_policies").get_to(value.inline_policies);
  from.at("attached").get_to(value.attached);
}

}  // namespace

std::string write_record(const User& value) {
  json out = identity_json(value);
  out["keys"] = json::array();
  for (const auto& [id, key] : value.keys) {
    out["keys"].push_back(
        {{"id", key.id}, {"secret", key.secret}, {"active", key.active}, {"created", number(key.created)}});
  }
  return out.dump();
}

User read_user(const std::string& text) {
  return read("a user", text, [](const json& from) {
    User value;
    read_identity(from, value);
    for (const json& one : from.at("keys")) {
      AccessKey key;
      one.at("id").get_to(key.id);
      one.at("secret").get_to(key.secret);
      one.at("active").get_to(key.active);
      key.created = time_of(one.at("created"));
      value.keys[key.id] = key;
    }
    return value;
  });
}

std::string write_record(const Role& value) {
  json out = identity_json(value);
  out["trust"] = value.trust;
  out["trusted_ids"] = value.trusted_ids;
  out["description"] = value.description;
  out["max_session_seconds"] = value.max_session_seconds;
  return out.dump();
}

Role read_role(const std::string& text) {
  return read("a role", text, [](const json& from) {
    Role value;
    read_identity(from, value);
    from.at("trust").get_to(value.trust);
    from.at("trusted_ids").get_to(value.trusted_ids);
    from.at("description").get_to(value.description);
    from.at("max_session_seconds").get_to(value.max_session_seconds);
    return value;
  });
}

std::string write_record(const InstanceProfile& value) {
  return json{{"name", value.name}, {"path", value.path}, {"id", value.id},
              {"arn", value.arn},   {"tags", value.tags}, {"created", number(value.created)},
              {"role", value.role}}
      .dump();
}

InstanceProfile read_instance_profile(const std::string& text) {
  return read("an instance profile", text, [](const json& from) {
    InstanceProfile value;
    from.at("name").get_to(value.name);
    from.at("path").get_to(value.path);
    from.at("id").get_to(value.id);
    from.at("arn").get_to(value.arn);
    value.created = time_of(from.at("created"));
    from.at("tags").get_to(value.tags);
    from.at("role").get_to(value.role);
    return value;
  });
}

std::string write_record(const Policy& value) {
  json versions = json::array();
  for (const auto& [version_number, version] : value.versions) {
    versions.push_back(
        {{"number", version.number}, {"document", version.document}, {"created", number(version.created)}});
  }
  return json{{"name", value.name},
              {"path", value.path},
              {"id", value.id},
              {"arn", value.arn},
              {"description", value.description},
              {"created", number(value.created)},
              {"updated", number(value.updated)},
              {"tags", value.tags},
              {"default_version", value.default_version},
              {"latest_version", value.latest_version},
              {"versions", versions}}
      .dump();
}

Policy read_policy(const std::string& text) {
  return read("a policy", text, [](const json& from) {
    Policy value;
    from.at("name").get_to(value.name);
    from.at("path").get_to(value.path);
    from.at("id").get_to(value.id);
    from.at("arn").get_to(value.arn);
    from.at("description").get_to(value.description);
    value.created = time_of(from.at("created"));
    value.updated = time_of(from.at("updated"));
    from.at("tags").get_to(value.tags);
    from.at("default_version").get_to(value.default_version);
    from.at("latest_version").get_to(value.latest_version);
    for (const json& one : from.at("versions")) {
      PolicyVersion version;
      one.at("number").get_to(version.number);
      one.at("document").get_to(version.document);
      version.created = time_of(one.at("created"));
      value.versions[version.number] = version;
    }
    return value;
  });
}

std::string write_record(const Session& value) {
  return json{{"access_key", value.access_key},
              {"secret", value.secret},
              {"token", value.token},
              {"made", number(value.made)},
              {"expires", number(value.expires)},
              {"account", value.principal.account},
              {"arn", value.principal.arn},
              {"user_id", value.principal.user_id},
              {"role_arn", value.principal.role_arn},
              {"source_id", value.source_id},
              {"instance", value.instance}}
      .dump();
}

Session read_session(const std::string& text) {
  return read("temporary credentials", text, [](const json& from) {
    Session value;
    from.at("access_key").get_to(value.access_key);
    from.at("secret").get_to(value.secret);
    from.at("token").get_to(value.token);
    value.made = time_of(from.at("made"));
    value.expires = time_of(from.at("expires"));
    from.at("account").get_to(value.principal.account);
    from.at("arn").get_to(value.principal.arn);
    from.at("user_id").get_to(value.principal.user_id);
    from.at("role_arn").get_to(value.principal.role_arn);
    value.principal.temporary = true;
    from.at("source_id").get_to(value.source_id);
    from.at("instance").get_to(value.instance);
    return value;
  });
}

}  // namespace kiln::region::iam
