// AwsError: what AWS answered when it refused a call.
#pragma once

#include <string>

#include "base/error.h"

namespace kiln::aws {

// Match on `aws_code`, never on text. Error's code is its class: denied (authentication, authorisation), not_found,
// already_exists, unavailable (throttled or 5xx after the last attempt), conflict, invalid.
class AwsError : public Error {
 public:
  struct Details {
    std::string service;    // "ec2"
    std::string operation;  // "RunInstances"
    std::string code;       // "InvalidAMIID.NotFound"; "HttpError503" for an answer that carries none
    std::string message;    // AWS's
    std::string request_id;
    int http_status = 0;
    int attempts = 1;  // more than 1: an earlier attempt may have done the work unseen
  };
  AwsError(ErrorCode error_code, Details details, std::string next = {});

  const std::string& aws_code() const { return details_.code; }
  const Details& details() const { return details_; }

 private:
  Details details_;
};

// The class of an AWS error code.
ErrorCode classify(const std::string& aws_code, int http_status);
// The codes on which AWS's SDKs slow down and try again.
bool is_throttling(const std::string& aws_code);
// Other codes on which they try again.
bool is_transient(const std::string& aws_code, int http_status);
// The signature's time was refused, or may have been.
bool is_clock_skew(const std::string& aws_code);
bool may_be_clock_skew(const std::string& aws_code);

}  // namespace kiln::aws
