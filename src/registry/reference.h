// Reference: where an image is in a registry: "registry.example:5000/team/web:1.4.2@sha256:…".
//
// The grammar is that of the OCI distribution specification 1.1 (repository, tag) with the registry's host before it.
// The host is never guessed: "web:1" names no registry and is refused, not sent to somebody's default.
#pragma once

#include <string>
#include <string_view>

#include "base/digest.h"

namespace kiln::registry {

struct Reference {
  std::string registry;    // host, and port if one was written
  std::string repository;  // "team/web"
  std::string tag;         // empty: none
  Digest digest;           // empty: none; wins over the tag

  // What follows /manifests/: the digest, else the tag, else "latest".
  std::string manifest() const;
  std::string str() const;
  bool operator==(const Reference&) const = default;
};

// Throws Error(usage) that names the part that is wrong. "docker.io/debian" is "docker.io/library/debian".
Reference parse_reference(std::string_view text);
// May a registry call it so?
bool is_tag(std::string_view text);
bool is_repository(std::string_view text);
// The nearest text that is a tag: "1.0.0+git" → "1.0.0_git".
std::string to_tag(std::string_view text);

}  // namespace kiln::registry
