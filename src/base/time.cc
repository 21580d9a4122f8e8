// Time: RFC 3339 and SigV4's basic form, and spans such as "1m30s".
#include "base/time.h"

#include <fmt/format.h>

#include <array>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace kiln {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::sys_days;

struct Parts {
  int year, month, day, hour, minute, second, millisecond;
};

Parts parts_of(Time time) {
  auto day = floor<days>(time);
  std::chrono::year_month_day date(day);
  std::int64_t ms = (time - day).count();
  return {static_cast<int>(date.year()),
          static_cast<int>(static_cast<unsigned>(date.month())),
          static_cast<int>(static_cast<unsigned>(date.day())),
          static_cast<int>(ms / 3'600'000),
          static_cast<int>(ms / 60'000 % 60),
          static_cast<int>(ms / 1000 % 60),
          static_cast<int>(ms % 1000)};
}

[[noreturn]] void refuse(std::string_view text) {
  throw Error(ErrorCode::invalid, fmt::format("not a time: '{}'", text.substr(0, 64)),
              "Write a time as 2026-11-24T03:01:56Z.");
}

// Reads fixed-width fields from the front of a text.
class Reader {
 public:
  explicit Reader(std::string_view text) : whole_(text), rest_(text) {}
  int digits(std::size_t count) {
    if (rest_.size() < count) refuse(whole_);
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (rest_[i] < '0' || rest_[i] > '9') refuse(whole_);
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return value;
  }
  void expect(char c) {
    if (!take(c)) refuse(whole_);
  }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // A fraction of a second, cut to milliseconds.
  int fraction() {
    int value = 0;
    int count = 0;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9') {
      if (count < 3) value = value * 10 + (rest_.front() - '0');
      ++count;
      rest_.remove_prefix(1);
    }
    if (count == 0) refuse(whole_);
    for (; count < 3; ++count) value *= 10;
    return value;
  }
  void end() {
    if (!rest_.empty()) refuse(whole_);
  }
  std::string_view whole() const { return whole_; }

 private:
  std::string_view whole_;
  std::string_view rest_;
};

Time assemble(const Parts& p, std::string_view text) {
  std::chrono::year_month_day date(std::chrono::year(p.year), std::chrono::month(static_cast<unsigned>(p.month)),
                                   std::chrono::day(static_cast<unsigned>(p.day)));
  // A leap second (60) is read as the next second's begin, as POSIX clocks do.
  if (!date.ok() || p.hour > 23 || p.minute > 59 || p.second > 60) refuse(text);
  return sys_days(date) + std::chrono::hours(p.hour) + std::chrono::minutes(p.minute) + std::chrono::seconds(p.second) +
         Duration(p.millisecond);
}

}  // namespace

std::string format_iso8601(Time time) {
  Parts p = parts_of(time);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", p.year, p.month, p.day, p.hour, p.minute, p.second,
                     p.millisecond);
}

Time parse_iso8601(std::string_view text) {
  Reader in(text);
  Parts p{};
  p.year = in.digits(4);
  in.expect('-');
  p.month = in.digits(2);
  in.expect('-');
  p.day = in.digits(2);
  if (!in.take('T')) in.expect(' ');
  p.hour = in.digits(2);
  in.expect(':');
  p.minute = in.digits(2);
  in.expect(':');
  p.second = in.digits(2);
  if (in.take('.')) p.millisecond = in.fraction();
  std::chrono::minutes offset{0};
  if (!in.take('Z')) {
    int sign = in.take('-') ? -1 : (in.expect('+'), 1);
    int hours = in.digits(2);
    in.take(':');
    offset = std::chrono::minutes(sign * (hours * 60 + in.digits(2)));
  }
  in.end();
  return assemble(p, text) - offset;
}

std::string format_basic_iso8601(Time time) {
  Parts p = parts_of(time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", p.year, p.month, p.day, p.hour, p.minute, p.second);
}

Time parse_basic_iso8601(std::string_view text) {
  Reader in(text);
  Parts p{};
  p.year = in.digits(4);
  p.month = in.digits(2);
  p.day = in.digits(2);
  in.expect('T');
  p.hour = in.digits(2);
  p.minute = in.digits(2);
  p.second = in.digits(2);
  in.expect('Z');
  in.end();
  return assemble(p, text);
}

std::string format_date(Time time) { return format_basic_iso8601(time).substr(0, 8); }

namespace {

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
constexpr std::array<Unit, 5> kUnits = {{{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};

}  // namespace

Duration parse_duration(std::string_view text) {
  auto refuse_span = [&] {
    throw Error(ErrorCode::invalid, fmt::format("not a span of time: '{}'", text.substr(0, 64)),
                "Write a number with its unit: 250ms, 5s, 2m, 1h, 2d, or a sum such as 1m30s.");
  };
  std::string_view rest = trim(text);
  if (rest.empty()) refuse_span();
  std::int64_t total = 0;
  while (!rest.empty()) {
    std::size_t digits = rest.find_first_not_of("0123456789");
    if (digits == 0 || digits == std::string_view::npos || digits > 12) refuse_span();
    std::int64_t number = *parse_int(rest.substr(0, digits));
    rest.remove_prefix(digits);
    std::size_t letters = std::min(rest.find_first_of("0123456789"), rest.size());
    bool known = false;
    for (const Unit& unit : kUnits) {
      if (rest.substr(0, letters) != unit.name) continue;
      if (number > std::numeric_limits<std::int64_t>::max() / 4 / unit.ms) refuse_span();
      total += number * unit.ms;
      known = true;
    }
    if (!known || total > 3'650LL * 86'400'000) refuse_span();
    rest.remove_prefix(letters);
  }
  return Duration(total);
}

std::string format_duration(Duration duration) {
  std::int64_t ms = duration.count();
  if (ms == 0) return "0s";
  std::string out = ms < 0 ? "-" : "";
  if (ms < 0) ms = -ms;
  for (const Unit& unit : kUnits) {
    if (ms / unit.ms == 0) continue;
    out += fmt::format("{}{}", ms / unit.ms, unit.name);
    ms %= unit.ms;
  }
  return out;
}

std::string format_elapsed(Duration duration) {
  std::int64_t seconds = duration.count() / 1000;
  return fmt::format("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string format_seconds(Duration duration) {
  if (duration.count() < 1000) return fmt::format("{} ms", duration.count());
  return fmt::format("{:.2f} s", static_cast<double>(duration.count()) / 1000);
}

}  // namespace kiln
