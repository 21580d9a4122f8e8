// Refusals: what a call of a service's own functions is refused with, in AWS's words. Empty: it was not refused.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "region/api_error.h"

namespace kiln::region::testing {

template <class Body>
std::optional<ApiError> refusal_of(Body&& body) {
  try {
    std::forward<Body>(body)();
  } catch (const ApiError& error) {
    return error;
  }
  return std::nullopt;
}

template <class Body>
std::string code_of(Body&& body) {
  const auto refusal = refusal_of(std::forward<Body>(body));
  return refusal ? refusal->code() : "";
}

template <class Body>
std::string message_of(Body&& body) {
  const auto refusal = refusal_of(std::forward<Body>(body));
  return refusal ? refusal->message() : "";
}

}  // namespace kiln::region::testing
