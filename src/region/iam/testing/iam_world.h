// IamWorld: an Ec2World with users, roles and profiles at hand, and callers who sign with keys of their own.
#pragma once

#include "region/testing/ec2_world.h"
#include "wire/iam.h"
#include "wire/sts.h"

namespace kiln::region::testing {

class IamWorld : public Ec2World {
 protected:
  static constexpr const char* kTrustRoot =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",)"
      R"("Principal":{"AWS":"arn:aws:iam::123456789012:root"}}]})";
  static constexpr const char* kTrustEc2 =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",)"
      R"("Principal":{"Service":"ec2.amazonaws.com"}}]})";
  static constexpr const char* kPolicy =
      R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]})";

  wire::iam::User make_user(const std::string& name) {
    wire::iam::CreateUserRequest request;
    request.user_name = name;
    return call<wire::iam::CreateUser>(request).user.value();
  }
  wire::Credentials make_key(const std::string& user) {
    wire::iam::CreateAccessKeyRequest request;
    request.user_name = user;
    const wire::iam::AccessKey key = call<wire::iam::CreateAccessKey>(request).access_key.value();
    return {key.access_key_id.value(), key.secret_access_key.value(), ""};
  }
  // A user's first key.
  wire::Credentials make_user_with_key(const std::string& name) {
    make_user(name);
    return make_key(name);
  }
  wire::iam::Role make_role(const std::string& name, const std::string& trust = kTrustRoot) {
    wire::iam::CreateRoleRequest request;
    request.role_name = name;
    request.assume_role_policy_document = trust;
    return call<wire::iam::CreateRole>(request).role.value();
  }
  // A profile with a role of the same name, for EC2.
  wire::iam::InstanceProfile make_profile(const std::string& name, const std::string& trust = kTrustEc2) {
    make_role(name, trust);
    wire::iam::CreateInstanceProfileRequest profile;
    profile.instance_profile_name = name;
    const auto made = call<wire::iam::CreateInstanceProfile>(profile).instance_profile.value();
    wire::iam::AddRoleToInstanceProfileRequest add;
    add.instance_profile_name = name;
    add.role_name = name;
    call<wire::iam::AddRoleToInstanceProfile>(add);
    return made;
  }
  wire::Credentials assume(const std::string& role, const std::string& session = "session") {
    wire::sts::AssumeRoleRequest request;
    request.role_arn = "arn:aws:iam::123456789012:role/" + role;
    request.role_session_name = session;
    return of(call<wire::sts::AssumeRole>(request).credentials.value());
  }
  static wire::Credentials of(const wire::sts::Credentials& credentials) {
    return {credentials.access_key_id.value(), credentials.secret_access_key.value(),
            credentials.session_token.value()};
  }
  // Signs with these from here on.
  void as(const wire::Credentials& who) { credentials = who; }
  void as_root() { credentials = {"AKIDEXAMPLE", "the secret", ""}; }
  wire::sts::GetCallerIdentityResponse who() { return call<wire::sts::GetCallerIdentity>({}); }
};

}  // namespace kiln::region::testing
