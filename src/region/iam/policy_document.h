// Policy document: AWS's JSON policy language, as far as its form is checked, and the trust policies that are
// evaluated. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "region/principal.h"

namespace kiln::region::iam {

// What a user or role may do. Throws ApiError MalformedPolicyDocument in AWS's words.
void check_identity_policy(std::string_view document);
// Characters but white space: what AWS counts against a policy's quota.
std::size_t counted_size(std::string_view document);

// Who asks to be let in.
struct TrustRequest {
  const Principal* caller = nullptr;  // a user, a root or a session; null when it is a service
  std::string service;                // "ec2.amazonaws.com"
  std::string session_name;
  std::optional<std::string> external_id;
};

// Who may assume a role.
class TrustPolicy {
 public:
  // Throws ApiError MalformedPolicyDocument.
  explicit TrustPolicy(std::string_view document);
  ~TrustPolicy();
  // The ARNs of users and roles that it names.
  std::vector<std::string> named() const;
  // Whether sts:AssumeRole is allowed: by a statement, and denied by none. `trusted_ids` says which unique ids are
  // meant by the ARNs of `named`; one that it does not hold is taken by its ARN alone. ApiError UnsupportedOperation
  // names a condition that would decide and that is not evaluated here.
  bool allows(const TrustRequest& request, const std::map<std::string, std::string>& trusted_ids) const;

  struct Statement;

 private:
  std::vector<Statement> statements_;
};

}  // namespace kiln::region::iam
