// Fuzzing: what fuzzers ask of a reader of outside bytes: a value, or an Error of the one code that says they are bad.
#pragma once

#include <cstdlib>
#include <utility>

#include "base/error.h"

namespace kiln::testing {

template <typename Read>
void value_or(ErrorCode code, Read&& read) {
  try {
    std::forward<Read>(read)();
  } catch (const Error& error) {
    if (error.code() != code) std::abort();
  }
}

template <typename Read>
void value_or_corrupt(Read&& read) {
  value_or(ErrorCode::corrupt, std::forward<Read>(read));
}

template <typename Read>
void value_or_usage(Read&& read) {
  value_or(ErrorCode::usage, std::forward<Read>(read));
}

}  // namespace kiln::testing
