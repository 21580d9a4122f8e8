// Fuzzer: any bytes as a policy document are taken or refused as malformed, and a trust policy that is taken decides.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "region/api_error.h"
#include "region/iam/policy_document.h"

namespace {

namespace iam = kiln::region::iam;

template <class Body>
void refused_only_as(const char* code, Body&& body) {
  try {
    body();
  } catch (const kiln::region::ApiError& error) {
    if (error.code() != code && error.code() != "MalformedPolicyDocument") std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view document(reinterpret_cast<const char*>(data), size);
  refused_only_as("ValidationError", [&] { iam::check_identity_policy(document); });
  const kiln::region::Principal caller{"123456789012", "arn:aws:iam::123456789012:user/ann", "AIDAANN", "", false};
  iam::TrustRequest request;
  request.caller = &caller;
  request.session_name = "session";
  refused_only_as("ValidationError", [&] {
    const iam::TrustPolicy policy(document);
    policy.named();
    refused_only_as("UnsupportedOperation", [&] { policy.allows(request, {}); });
  });
  return 0;
}
