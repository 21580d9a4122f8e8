// AwsError: AWS's codes and what they mean for a caller.
#include "aws/error.h"

#include <algorithm>

#include <fmt/format.h>

namespace kiln::aws {

namespace {

template <std::size_t N>
bool is_one_of(std::string_view code, const std::string_view (&codes)[N]) {
  return std::find(std::begin(codes), std::end(codes), code) != std::end(codes);
}

std::string describe(const AwsError::Details& details) {
  std::string text = fmt::format("{} {}: {} ({}", details.service, details.operation,
                                 details.message.empty() ? "refused" : details.message, details.code);
  if (!details.request_id.empty()) {
    text += ", request " + details.request_id;
  }
  if (details.attempts > 1) {
    text += fmt::format(", after {} attempts", details.attempts);
  }
  return text + ")";
}

}  // namespace

AwsError::AwsError(ErrorCode error_code, Details details, std::string next)
    : Error(error_code, describe(details), std::move(next)), details_(std::move(details)) {}

// The three lists are those of botocore's standard mode (botocore/retries/standard.py).
bool is_throttling(const std::string& aws_code) {
  static constexpr std::string_view codes[] = {"Throttling",
                                               "ThrottlingException",
                                               "ThrottledException",
                                               "RequestThrottledException",
                                               "TooManyRequestsException",
                                               "ProvisionedThroughputExceededException",
                                               "TransactionInProgressException",
                                               "RequestLimitExceeded",
                                               "BandwidthLimitExceeded",
                                               "LimitExceededException",
                                               "RequestThrottled",
                                               "SlowDown",
                                               "PriorRequestNotComplete",
                                               "EC2ThrottledException"};
  return is_one_of(aws_code, codes);
}

bool is_transient(const std::string& aws_code, int http_status) {
  static constexpr std::string_view codes[] = {"RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete"};
  return is_one_of(aws_code, codes) || http_status == 500 || http_status == 502 || http_status == 503 ||
         http_status == 504;
}

bool is_clock_skew(const std::string& aws_code) {
  static constexpr std::string_view codes[] = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"};
  return is_one_of(aws_code, codes);
}

bool may_be_clock_skew(const std::string& aws_code) {
  static constexpr std::string_view codes[] = {"InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure"};
  return is_one_of(aws_code, codes);
}

ErrorCode classify(const std::string& aws_code, int http_status) {
  static constexpr std::string_view denied[] = {
      "AuthFailure",           "UnauthorizedOperation",     "AccessDenied",
      "AccessDeniedException", "InvalidClientTokenId",      "UnrecognizedClientException",
      "SignatureDoesNotMatch", "InvalidSignatureException", "MissingAuthenticationToken",
      "ExpiredToken",          "ExpiredTokenException",     "MissingAuthenticationTokenException",
      "RequestExpired",        "IncompleteSignature",       "IncompleteSignatureException",
      "OptInRequired",         "RequestTimeTooSkewed",      "RequestInTheFuture"};
  static constexpr std::string_view conflict[] = {"InstanceRefreshInProgress",  "ResourceInUse",
                                                  "ResourceInUseException",     "ResourceContention",
                                                  "ScalingActivityInProgress",  "DependencyViolation",
                                                  "IncorrectInstanceState",     "IncorrectState",
                                                  "InvalidGroup.InUse",         "IdempotentParameterMismatch",
                                                  "IrreversibleInstanceRefresh"};
  static constexpr std::string_view unsupported[] = {"UnsupportedOperation", "InvalidAction", "NotImplemented",
                                                     "UnknownOperationException"};
  auto contains = [&](std::string_view part) { return aws_code.find(part) != std::string::npos; };
  if (is_throttling(aws_code)) {
    return ErrorCode::unavailable;
  }
  if (is_one_of(aws_code, denied)) {
    return ErrorCode::denied;
  }
  if (is_one_of(aws_code, conflict)) {
    return ErrorCode::conflict;
  }
  if (is_one_of(aws_code, unsupported)) {
    return ErrorCode::unsupported;
  }
  // "InvalidInstanceID.NotFound", "LoadBalancerNotFound"; "InvalidGroup.Duplicate", "DuplicateListener",
  // "AlreadyExists"
  if (contains("NotFound")) {
    return ErrorCode::not_found;
  }
  if (contains("Duplicate") || contains("AlreadyExists")) {
    return ErrorCode::already_exists;
  }
  if (http_status >= 500) {
    return ErrorCode::unavailable;
  }
  return http_status == 401 || http_status == 403 ? ErrorCode::denied : ErrorCode::invalid;
}

}  // namespace kiln::aws
