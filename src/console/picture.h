// Picture: a deployment on a terminal, as lines; pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "console/traffic.h"
#include "deploy/engine.h"
#include "fleet/fleet.h"

namespace kiln::console {

struct Style {
  std::size_t width = 80;  // columns; lines are cut to it
  bool color = false;      // never the only carrier of a meaning
};

// What the user watches while `kiln deploy` or `kiln rollback` runs:
//   web 1.1.0 → production   rolling, 4 instances, min 4 max 8          00:00:21
//     old 1.0.0  i-0a91..  InService    healthy
//     new 1.1.0  i-0d10..  Pending
//     traffic    1.0.0 ██████████████░░░░░░ 1.1.0    512 req/s   0 errors   p99 4 ms
//     next       2 of 4 instances of 1.1.0 are healthy
std::vector<std::string> picture(const deploy::Moment& moment, const std::optional<Traffic>& traffic,
                                 const Style& style);

// One line an instance, for `kiln status` too: "i-0a91..  us-east-1a  InService    healthy".
std::string instance_line(const fleet::Instance& instance, const Style& style);

// Of a terminal: UTF-8 aware, one column a character; escape sequences take none.
std::size_t columns(const std::string& text);
// Cuts at `width` columns.
std::string cut(const std::string& line, std::size_t width);

}  // namespace kiln::console
