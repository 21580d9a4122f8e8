// Dates as HTTP writes them (RFC 9110, section 5.6.7): "Tue, 24 Nov 2026 03:30:00 GMT".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace kiln::http {

std::string format_date(Time time);
// Nullopt for anything else than that form.
std::optional<Time> parse_date(std::string_view text);

}  // namespace kiln::http
