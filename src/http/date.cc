// Dates as HTTP writes them.
#include "http/date.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace kiln::http {

namespace {

constexpr std::string_view weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

}  // namespace

std::string format_date(Time time) {
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date(day);
  auto of_day = std::chrono::floor<std::chrono::seconds>(time - day).count();
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
                     weekdays[std::chrono::weekday(std::chrono::sys_days(day)).c_encoding()],
                     static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                     static_cast<int>(date.year()), of_day / 3600, of_day / 60 % 60, of_day % 60);
}

std::optional<Time> parse_date(std::string_view text) {
  constexpr std::size_t length = 29;
  if (text.size() != length) {
    return std::nullopt;
  }
  unsigned day = 0, hour = 0, minute = 0, second = 0;
  int year = 0;
  char month[4] = {};
  if (std::sscanf(std::string(text.substr(5)).c_str(), "%2u %3s %4d %2u:%2u:%2u GMT", &day, month, &year, &hour,
                  &minute, &second) != 6) {
    return std::nullopt;
  }
  auto name = std::find(std::begin(months), std::end(months), std::string_view(month));
  std::chrono::year_month_day date(std::chrono::year(year),
                                   std::chrono::month(static_cast<unsigned>(name - std::begin(months)) + 1),
                                   std::chrono::day(day));
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  return Time(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

}  // namespace kiln::http
