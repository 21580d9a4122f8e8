// Time: points and spans in milliseconds, and how they are written and read. Only `host` knows what time it is.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace kiln {

using Duration = std::chrono::milliseconds;
// Since the Unix epoch, UTC, without leap seconds.
using Time = std::chrono::sys_time<Duration>;

// "2026-11-24T03:01:56.000Z" (RFC 3339, always UTC, always milliseconds: what EC2 answers).
std::string format_iso8601(Time time);
// Accepts a fraction of any length and an offset ("Z", "+01:00"); throws Error(invalid).
Time parse_iso8601(std::string_view text);
// "20261124T030156Z", as SigV4 writes it; and its reader, which throws Error(invalid).
std::string format_basic_iso8601(Time time);
Time parse_basic_iso8601(std::string_view text);
// "20261124T030156Z" → "20261124".
std::string format_date(Time time);

// "250ms", "5s", "2m", "1h", "2d", and sums such as "1m30s"; a bare number is refused. Throws Error(invalid).
Duration parse_duration(std::string_view text);
// The shortest exact form that parse_duration reads: "1m30s", "250ms", "0s".
std::string format_duration(Duration duration);
// For people: "00:01:30".
std::string format_elapsed(Duration duration);
// For people: seconds with two digits, "1.25 s", or "340 ms" below one second.
std::string format_seconds(Duration duration);

}  // namespace kiln
