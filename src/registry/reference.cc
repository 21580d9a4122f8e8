// Reference: host, repository, tag and digest out of one line.
#include "registry/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace kiln::registry {
namespace {

constexpr std::size_t kRepositoryBytesMax = 255;  // with the host; what Docker's registry takes
constexpr std::size_t kTagBytesMax = 128;         // the specification's

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
bool is_component(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t start = at;
    while (at < text.size() && is_lower_alnum(text[at])) ++at;
    if (at == start) return false;
    if (at == text.size()) return true;
    const std::size_t separator = at;
    while (at < text.size() && !is_lower_alnum(text[at])) ++at;
    const std::string_view between = text.substr(separator, at - separator);
    if (between != "." && between != "_" && between != "__" && between.find_first_not_of('-') != between.npos) {
      return false;
    }
  }
  return false;
}

bool is_port(std::string_view text) {
  const auto port = parse_int(text);
  return port && *port > 0 && *port < 65536 && text.find_first_not_of("0123456789") == text.npos;
}

bool is_host(std::string_view text) {
  std::string_view name = text;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == text.npos || end == 1) return false;
    if (text.substr(1, end - 1).find_first_not_of("0123456789abcdefABCDEF:.") != text.npos) return false;
    return end + 1 == text.size() || (text[end + 1] == ':' && is_port(text.substr(end + 2)));
  }
  if (const std::size_t colon = text.find(':'); colon != text.npos) {
    if (!is_port(text.substr(colon + 1))) return false;
    name = text.substr(0, colon);
  }
  if (name.empty() || !is_alnum(name.front()) || !is_alnum(name.back())) return false;
  return std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '.' || c == '-'; });
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw Error(ErrorCode::usage, fmt::format("'{}' names no image in a registry: {}", text.substr(0, 300), why),
              "Write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…, for example registry.example.com/team/web:1.4.2.");
}

}  // namespace

bool is_tag(std::string_view text) {
  if (text.empty() || text.size() > kTagBytesMax || (!is_alnum(text[0]) && text[0] != '_')) return false;
  return std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_repository(std::string_view text) {
  if (text.empty() || text.size() > kRepositoryBytesMax) return false;
  for (const std::string& part : split(text, '/')) {
    if (!is_component(part)) return false;
  }
  return true;
}

std::string to_tag(std::string_view text) {
  std::string tag(text.substr(0, kTagBytesMax));
  for (char& c : tag) {
    if (!is_alnum(c) && c != '.' && c != '-') c = '_';
  }
  if (!tag.empty() && !is_alnum(tag[0])) tag[0] = '_';
  return tag;
}

Reference parse_reference(std::string_view text) {
  Reference reference;
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  if (slash == text.npos || (host.find_first_of(".:[") == host.npos && host != "localhost")) {
    refuse(text, "there is no registry before the name");
  }
  if (!is_host(host)) refuse(text, fmt::format("'{}' is no host", host.substr(0, 100)));
  reference.registry = host;
  std::string_view rest = text.substr(slash + 1);
  if (const std::size_t at = rest.find('@'); at != rest.npos) {
    try {
      reference.digest = Digest::parse(rest.substr(at + 1));
    } catch (const Error& error) {
      refuse(text, error.message());
    }
    rest = rest.substr(0, at);
  }
  if (const std::size_t colon = rest.find(':'); colon != rest.npos) {
    reference.tag = rest.substr(colon + 1);
    if (!is_tag(reference.tag)) refuse(text, fmt::format("'{}' is no tag", reference.tag.substr(0, 100)));
    rest = rest.substr(0, colon);
  }
  reference.repository = rest;
  if (reference.registry == "docker.io" && rest.find('/') == rest.npos)
    reference.repository = "library/" + std::string(rest);
  if (!is_repository(reference.repository)) {
    refuse(text,
           fmt::format("'{}' is no repository: small letters, digits, and . _ - / between them", rest.substr(0, 100)));
  }
  return reference;
}

std::string Reference::manifest() const {
  if (!digest.empty()) return digest.str();
  return tag.empty() ? "latest" : tag;
}

std::string Reference::str() const {
  std::string text = registry + "/" + repository;
  if (!tag.empty()) text += ":" + tag;
  if (!digest.empty()) text += "@" + digest.str();
  return text;
}

}  // namespace kiln::registry
