// Principal: who has signed a call.
#pragma once

#include <string>

namespace kiln::region {

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable
struct Principal {
  std::string account;  // 12 digits
  std::string arn;      // "arn:aws:iam::A:root", "arn:aws:iam::A:user/NAME", "arn:aws:sts::A:assumed-role/ROLE/SESSION"
  std::string user_id;  // the account, "AIDA..", "AROA..:SESSION"
  std::string role_arn;    // of an assumed role: the role's ARN, else empty
  bool temporary = false;  // its credentials expire
};

}  // namespace kiln::region
