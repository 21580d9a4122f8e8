// Client: manifests, tags and referrers. Blobs are in download.cc and upload.cc.
#include "registry/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "registry/header_values.h"
#include "registry/reference.h"

namespace kiln::registry {
namespace {

using nlohmann::json;

constexpr std::size_t kPagesMax = 1000;  // of a thousand tags each
constexpr std::size_t kTagsMax = 100'000;

std::string accepted_types() {
  return fmt::format("{}, {}, {}, {}", kOciManifest, kOciIndex, kDockerManifest, kDockerIndex);
}

std::string manifest_url(const std::string& repository, const std::string& reference) {
  return fmt::format("/v2/{}/manifests/{}", repository, reference);
}

[[noreturn]] void unexpected(const std::string& registry, const std::string& what, const http::Response& answer) {
  throw Error(ErrorCode::invalid,
              fmt::format("{} answered {} with {}: {}", registry, what, answer.status, Session::said(answer)),
              "Check that the address is a registry's, and that it knows OCI images.");
}

void refuse_page(const std::string& registry, const http::Response& answer) {
  if (media_type_of(answer.headers.get("Content-Type")) != "text/html") return;
  throw Error(ErrorCode::corrupt,
              fmt::format("{} answered with a web page (text/html) where a manifest was asked for", registry),
              "Check that the address is a registry's: a login page or a proxy may stand before it.");
}

std::string fallback_tag(const Digest& subject) { return "sha256-" + subject.hex(); }

}  // namespace

Client::Client(std::string registry, Connect connect, host::Clock& clock, host::Random& random,
               std::uint64_t chunk_bytes)
    : session_(std::move(registry), std::move(connect), clock, random), chunk_bytes_(chunk_bytes) {}

Manifest Client::manifest(const std::string& repository, const std::string& reference) {
  return with_context(fmt::format("reading {} of {}/{}", reference, registry(), repository), [&] {
    Call call;
    call.url = manifest_url(repository, reference);
    call.headers.set("Accept", accepted_types());
    call.scopes = {{repository, "pull"}};
    http::Response answer = session_.call(call);
    if (answer.status == 404) {
      throw Error(ErrorCode::not_found, fmt::format("{} has no {} in {}", registry(), reference, repository),
                  fmt::format("See what is there: skopeo list-tags docker://{}/{}", registry(), repository));
    }
    if (answer.status != 200) unexpected(registry(), "the question for a manifest", answer);
    refuse_page(registry(), answer);
    Manifest manifest{std::move(answer.body), media_type_of(answer.headers.get("Content-Type")), {}};
    manifest.digest = sha256(manifest.bytes);
    const std::string_view promised = reference.find(':') != std::string::npos
                                          ? std::string_view(reference)
                                          : answer.headers.get("Docker-Content-Digest");
    if (promised.starts_with("sha256:") && promised != manifest.digest.str()) {
      throw Error(ErrorCode::corrupt,
                  fmt::format("{} was to send {}, and sent something else: {}", registry(), promised.substr(0, 100),
                              manifest.digest.str()),
                  "Do not trust this registry, or what stands between it and us.");
    }
    return manifest;
  });
}

std::optional<Digest> Client::has_manifest(const std::string& repository, const std::string& reference) {
  Call call;
  call.method = "HEAD";
  call.url = manifest_url(repository, reference);
  call.headers.set("Accept", accepted_types());
  call.scopes = {{repository, "pull,push"}};
  const http::Response answer = session_.call(call);
  const std::string_view digest = answer.headers.get("Docker-Content-Digest");
  if (answer.status != 200 || !digest.starts_with("sha256:")) return std::nullopt;
  return Digest::parse(digest);
}

bool Client::put_manifest(const std::string& repository, const std::string& reference, const Manifest& manifest) {
  return with_context(fmt::format("writing {} of {}/{}", reference, registry(), repository), [&] {
    Call call;
    call.method = "PUT";
    call.url = manifest_url(repository, reference);
    call.headers.set("Content-Type", manifest.media_type);
    call.body = manifest.bytes;
    call.scopes = {{repository, "pull,push"}};
    const http::Response answer = session_.call(call);
    if (answer.status == 400 && Session::said(answer).find("TAG_INVALID") != std::string::npos) {
      throw Error(ErrorCode::conflict,
                  fmt::format("{} does not take the tag {}: {}", registry(), reference, Session::said(answer)),
                  "The registry may hold its tags fast; push by another tag.");
    }
    if (answer.status != 201 && answer.status != 200 && answer.status != 202) {
      unexpected(registry(), "the manifest", answer);
    }
    const std::string_view digest = answer.headers.get("Docker-Content-Digest");
    if (digest.starts_with("sha256:") && digest != manifest.digest.str()) {
      throw Error(ErrorCode::corrupt, fmt::format("{} was given {} and calls it {}", registry(), manifest.digest.str(),
                                                  digest.substr(0, 100)));
    }
    return answer.headers.has("OCI-Subject");
  });
}

std::vector<std::string> Client::tags(const std::string& repository) {
  return with_context(fmt::format("listing the tags of {}/{}", registry(), repository), [&] {
    std::vector<std::string> tags;
    std::set<std::string> seen;
    std::string url = fmt::format("/v2/{}/tags/list?n=1000", repository);
    for (std::size_t page = 0; page < kPagesMax && seen.insert(url).second; ++page) {
      Call call;
      call.url = url;
      call.scopes = {{repository, "pull"}};
      const http::Response answer = session_.call(call);
      if (answer.status == 404) {
        throw Error(ErrorCode::not_found, fmt::format("{} has no repository {}", registry(), repository));
      }
      if (answer.status != 200) unexpected(registry(), "the question for tags", answer);
      const json body = json::parse(answer.body, nullptr, false);
      if (!body.is_object() || !body.contains("tags") || !(body["tags"].is_array() || body["tags"].is_null())) {
        throw Error(ErrorCode::corrupt, fmt::format("{} sent no list of tags", registry()),
                    "Check that the address is a registry's.");
      }
      for (const json& tag : body["tags"]) {
        if (!tag.is_string() || !is_tag(tag.get<std::string>()) || tags.size() == kTagsMax) {
          throw Error(ErrorCode::corrupt, fmt::format("{} sent a list with something that is no tag", registry()));
        }
        tags.push_back(tag);
      }
      const auto next = parse_next_link(answer.headers.get("Link"));
      if (!next) break;
      url = next->starts_with("/") || next->find("://") != std::string::npos
                ? *next
                : fmt::format("/v2/{}/tags/{}", repository, *next);
    }
    std::ranges::sort(tags);
    tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
    return tags;
  });
}

std::vector<Referrer> Client::referrers(const std::string& repository, const Digest& subject) {
  return with_context(fmt::format("asking what is said about {} in {}/{}", subject.str(), registry(), repository), [&] {
    std::vector<Referrer> found;
    std::set<std::string> seen;
    std::string url = fmt::format("/v2/{}/referrers/{}", repository, subject.str());
    while (seen.size() < kPagesMax && seen.insert(url).second) {
      Call call;
      call.url = url;
      call.headers.set("Accept", std::string(kOciIndex));
      call.scopes = {{repository, "pull"}};
      const http::Response answer = session_.call(call);
      if (answer.status != 200 || media_type_of(answer.headers.get("Content-Type")) != kOciIndex) break;
      for (Referrer& referrer : read_referrers(answer.body)) found.push_back(std::move(referrer));
      const auto next = parse_next_link(answer.headers.get("Link"));
      if (!next) return found;
      url = *next;
    }
    if (!found.empty()) return found;
    // A registry older than the API: the specification's tag stands for it.
    try {
      return read_referrers(manifest(repository, fallback_tag(subject)).bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
      return found;
    }
  });
}

void Client::note_referrer(const std::string& repository, const Digest& subject, const Referrer& referrer) {
  std::vector<Referrer> list;
  try {
    list = read_referrers(manifest(repository, fallback_tag(subject)).bytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
  }
  for (const Referrer& known : list) {
    if (known.manifest.digest == referrer.manifest.digest) return;
  }
  list.push_back(referrer);
  Manifest index{write_referrers(list), std::string(kOciIndex), {}};
  index.digest = sha256(index.bytes);
  put_manifest(repository, fallback_tag(subject), index);
}

}  // namespace kiln::registry
