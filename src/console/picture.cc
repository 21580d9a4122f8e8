// Picture: a deployment on a terminal, as lines.
#include "console/picture.h"

#include <fmt/format.h>

#include <cmath>

namespace kiln::console {
namespace {

constexpr std::size_t kBarCells = 20;

std::string paint(const std::string& text, const char* code, const Style& style) {
  return style.color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

const char* color_of(const std::string& health) {
  if (health == "healthy") return "32";
  if (health == "unhealthy") return "31";
  return "33";
}

std::string bar(double share_of_old) {
  auto full = static_cast<std::size_t>(std::lround(share_of_old * kBarCells));
  std::string out;
  for (std::size_t i = 0; i < kBarCells; ++i) out += i < full ? "█" : "░";
  return out;
}

// The versions in the order in which the bar shows them: the old one left, the new one right.
std::string traffic_line(const deploy::Moment& moment, const Traffic& traffic) {
  const std::string& to = moment.wanted.version;
  std::string from = moment.progress.from_version;
  std::uint64_t sum = traffic.per_second();
  std::uint64_t of_new = 0;
  if (auto it = traffic.requests.find(to); it != traffic.requests.end()) of_new = it->second;
  double share_of_old = sum == 0 ? 0 : 1 - static_cast<double>(of_new) / static_cast<double>(sum);
  return fmt::format("  traffic    {} {} {}    {} req/s   {} errors   p99 {:.0f} ms", from, bar(share_of_old), to, sum,
                     traffic.failed, traffic.p99_ms);
}

std::string next_line(const deploy::Moment& moment) {
  if (moment.plan.finish) return "  done       " + moment.plan.finish->why;
  if (moment.plan.wait) {
    return fmt::format("  next       {} (gives up in {})", moment.plan.wait->reason,
                       format_elapsed(std::max(Duration(0), moment.plan.wait->until - moment.now)));
  }
  if (!moment.plan.actions.empty()) {
    return "  now        " + deploy::sentence(moment.plan.actions.front(), moment.wanted);
  }
  return "  now        looking";
}

std::string title_line(const deploy::Moment& moment, const Style& style) {
  std::string left =
      fmt::format("{} {} → {}   rolling, {} instances, min {} max {}", moment.wanted.names.app, moment.wanted.version,
                  moment.wanted.names.environment.empty() ? "default" : moment.wanted.names.environment,
                  moment.wanted.fleet.size, moment.wanted.fleet.min, moment.wanted.fleet.max);
  std::string right = format_elapsed(moment.now - moment.progress.started);
  std::size_t width = std::min<std::size_t>(style.width, 100);
  std::size_t gap = columns(left) + right.size() + 1 < width ? width - columns(left) - right.size() : 1;
  return left + std::string(gap, ' ') + right;
}

}  // namespace

std::string instance_line(const fleet::Instance& instance, const Style& style) {
  std::string health = instance.target.state.empty() ? "-" : instance.target.state;
  std::string line = fmt::format("{:<19}  {:<12} {:<11}", instance.id, instance.zone, instance.lifecycle);
  line += "  " + paint(health, color_of(health), style);
  if (instance.health == "Unhealthy") line += "  " + paint("Unhealthy", "31", style);
  if (!instance.target.reason.empty() && health != "healthy") line += "  " + instance.target.reason;
  return line;
}

std::size_t columns(const std::string& text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++count;
    }
  }
  return count;
}

std::string cut(const std::string& line, std::size_t width) {
  if (columns(line) <= width) return line;
  std::string out;
  std::size_t count = 0;
  for (std::size_t i = 0; i < line.size();) {
    std::size_t length = 1;
    if (line[i] == '\x1b') {
      while (i + length < line.size() && line[i + length - 1] != 'm') ++length;
    } else {
      if (count + 1 == width) break;
      while (i + length < line.size() && (static_cast<unsigned char>(line[i + length]) & 0xc0) == 0x80) ++length;
      ++count;
    }
    out += line.substr(i, length);
    i += length;
  }
  return out + "…" + (out.find('\x1b') != std::string::npos ? "\x1b[0m" : "");
}

std::vector<std::string> picture(const deploy::Moment& moment, const std::optional<Traffic>& traffic,
                                 const Style& style) {
  std::vector<std::string> lines = {title_line(moment, style)};
  if (moment.fleet.group) {
    for (bool fresh : {false, true}) {
      for (const fleet::Instance& instance : moment.fleet.group->instances) {
        bool is_new = instance.image_version == moment.wanted.version;
        if (is_new != fresh) continue;
        std::string version =
            instance.image_version.empty() ? fmt::format("v{}", instance.template_version) : instance.image_version;
        lines.push_back(fmt::format("  {} {:<7}  {}", fresh ? "new" : "old", version, instance_line(instance, style)));
      }
    }
    for (const std::string& target : moment.fleet.leftovers) {
      lines.push_back(fmt::format("  old          {:<19}  draining", target));
    }
  }
  if (traffic) lines.push_back(traffic_line(moment, *traffic));
  lines.push_back(next_line(moment));
  for (std::string& line : lines) line = cut(line, style.width);
  return lines;
}

}  // namespace kiln::console
