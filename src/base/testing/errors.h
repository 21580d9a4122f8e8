// Errors: what tests ask of a refusal: that there is one, of which code, and that message or next step say enough.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "base/error.h"

namespace kiln::testing {

// What `body` throws; that it throws nothing is a failure of the test.
template <typename Body>
Error failure(Body&& body) {
  try {
    std::forward<Body>(body)();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorCode::internal, ""};
}

template <typename Body>
void expect_error(ErrorCode code, const std::string& part, Body&& body) {
  const Error error = failure(std::forward<Body>(body));
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_THAT(std::string(error.what()) + " " + error.next(), ::testing::HasSubstr(part));
}

}  // namespace kiln::testing
