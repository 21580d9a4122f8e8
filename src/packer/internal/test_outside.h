// TestOutside: files, environment and time of a test. Private to this room's tests.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "packer/template.h"

namespace kiln::packer {

struct TestOutside {
  std::map<std::string, std::string> files{};
  std::map<std::string, std::string> variables{};

  Outside outside() const {
    Outside out;
    out.read = [this](const std::string& name) -> std::optional<HostFile> {
      const std::string plain = std::filesystem::path(name).lexically_normal().string();
      const auto found = files.find(plain.starts_with("/srv/shop/") ? plain.substr(10) : plain);
      if (found == files.end()) return std::nullopt;
      return HostFile{found->second, found->second.starts_with("#!")};
    };
    out.files_below = [this](const std::string& name) -> std::optional<std::vector<std::string>> {
      const std::string prefix = name.ends_with('/') ? name : name + "/";
      std::vector<std::string> names;
      for (const auto& [path, content] : files) {
        if (path.starts_with(prefix)) names.push_back(path.substr(prefix.size()));
      }
      if (names.empty()) return std::nullopt;
      return names;
    };
    out.environment = [this](const std::string& name) {
      const auto found = variables.find(name);
      return found == variables.end() ? std::string() : found->second;
    };
    out.working = "/srv/shop";
    out.uuid = "0b4f6c1e-0000-4000-8000-000000000001";
    out.now = parse_iso8601("2026-11-25T09:03:06Z");
    return out;
  }
};

// What `body` throws, or "no error".
template <typename Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code() == ErrorCode::usage ? error.message() : "wrong code: " + error.message();
  }
  return "no error";
}

}  // namespace kiln::packer
