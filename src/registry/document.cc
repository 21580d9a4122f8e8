// Document: JSON to values.
#include "registry/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::registry {
namespace {

using nlohmann::json;

constexpr int kDepthMax = 32;
constexpr std::size_t kEntriesMax = 4096;

json parse(std::string_view bytes) {
  if (bytes.size() > kDocumentBytesMax) {
    throw Error(ErrorCode::corrupt,
                fmt::format("a manifest of {} bytes; at most {} are read", bytes.size(), kDocumentBytesMax));
  }
  const auto bound_depth = [](int depth, json::parse_event_t, json&) {
    if (depth > kDepthMax) throw Error(ErrorCode::corrupt, fmt::format("a manifest nested deeper than {}", kDepthMax));
    return true;
  };
  json body;
  try {
    body = json::parse(bytes, bound_depth);
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("not a manifest but something else: {}", error.what()));
  }
  if (!body.is_object()) throw Error(ErrorCode::corrupt, "a manifest that is no JSON object");
  return body;
}

template <typename Read>
auto reading(Read&& read) -> decltype(read()) {
  try {
    return read();
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("a manifest that cannot be read: {}", error.what()));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid) throw;
    throw Error(ErrorCode::corrupt, fmt::format("a manifest that cannot be read: {}", error.message()));
  }
}

store::Blob descriptor(const json& entry) {
  const json& size = entry.at("size");
  if (!size.is_number_unsigned()) throw Error(ErrorCode::corrupt, "a manifest with a size that is no whole number");
  store::Blob blob{Digest::parse(entry.at("digest").get<std::string>()),
                   size.get<std::uint64_t>(),
                   entry.at("mediaType").get<std::string>(),
                   {}};
  return blob;
}

// Layers that only the addresses in their descriptor give out, not a registry.
bool is_foreign(const json& entry) {
  const std::string type = entry.at("mediaType");
  return entry.contains("urls") && (type.find("foreign") != type.npos || type.find("nondistributable") != type.npos);
}

std::map<std::string, std::string> annotations_of(const json& object) {
  const auto found = object.find("annotations");
  return found == object.end() || found->is_null() ? std::map<std::string, std::string>()
                                                   : found->get<std::map<std::string, std::string>>();
}

const json& list_of(const json& object, const char* key) {
  const json& list = object.at(key);
  if (!list.is_array() || list.size() > kEntriesMax) {
    throw Error(ErrorCode::corrupt, fmt::format("a manifest whose '{}' is no list of at most {}", key, kEntriesMax));
  }
  return list;
}

}  // namespace

Document read_document(std::string_view bytes, std::string_view media_type) {
  const json body = parse(bytes);
  return reading([&] {
    Document document;
    document.media_type = body.value("mediaType", "");
    if (document.media_type.empty()) {
      // OCI lets it out; then what the registry said, if it means anything, and else what the content looks like.
      const bool known = media_type == kOciManifest || media_type == kOciIndex;
      document.media_type = known ? media_type : body.contains("manifests") ? kOciIndex : kOciManifest;
    }
    if (body.value("schemaVersion", 0) == 1) {
      throw Error(ErrorCode::unsupported, "an image in Docker's old format (schema 1)",
                  "Push it again with a Docker or skopeo of the last ten years.");
    }
    const bool ours = document.media_type == kOciManifest || document.media_type == kDockerManifest;
    document.is_index = document.media_type == kOciIndex || document.media_type == kDockerIndex;
    if (!ours && !document.is_index) {
      throw Error(ErrorCode::unsupported,
                  fmt::format("a manifest of the type '{}'", document.media_type.substr(0, 200)));
    }
    const bool registrys_word_counts =
        media_type.find("manifest") != media_type.npos || media_type.find("image.index") != media_type.npos;
    if (registrys_word_counts && media_type != document.media_type) {
      throw Error(ErrorCode::corrupt, fmt::format("the registry calls it {}, it calls itself {}",
                                                  media_type.substr(0, 200), document.media_type));
    }
    document.artifact_type = body.value("artifactType", "");
    document.annotations = annotations_of(body);
    if (body.contains("subject") && !body["subject"].is_null()) document.subject = descriptor(body["subject"]);
    if (document.is_index) {
      for (const json& entry : list_of(body, "manifests")) document.manifests.push_back(descriptor(entry));
      return document;
    }
    document.blobs.push_back(descriptor(body.at("config")));
    for (const json& entry : list_of(body, "layers")) {
      if (!is_foreign(entry)) document.blobs.push_back(descriptor(entry));
    }
    return document;
  });
}

std::string referrer_type(const Document& document) {
  if (!document.artifact_type.empty() || document.is_index) return document.artifact_type;
  return document.blobs.front().media_type;
}

std::vector<Referrer> read_referrers(std::string_view bytes) {
  const json body = parse(bytes);
  return reading([&] {
    std::vector<Referrer> referrers;
    if (!body.contains("manifests") || body["manifests"].is_null()) return referrers;
    for (const json& entry : list_of(body, "manifests")) {
      referrers.push_back({descriptor(entry), entry.value("artifactType", ""), annotations_of(entry)});
    }
    return referrers;
  });
}

std::string write_referrers(const std::vector<Referrer>& referrers) {
  std::vector<const Referrer*> sorted;
  for (const Referrer& referrer : referrers) sorted.push_back(&referrer);
  std::ranges::sort(sorted, {}, [](const Referrer* one) { return one->manifest.digest; });
  json list = json::array();
  for (const Referrer* referrer : sorted) {
    json entry{{"mediaType", referrer->manifest.media_type},
               {"digest", referrer->manifest.digest.str()},
               {"size", referrer->manifest.size_bytes}};
    if (!referrer->artifact_type.empty()) entry["artifactType"] = referrer->artifact_type;
    if (!referrer->annotations.empty()) entry["annotations"] = referrer->annotations;
    list.push_back(std::move(entry));
  }
  return json{{"schemaVersion", 2}, {"mediaType", kOciIndex}, {"manifests", std::move(list)}}.dump();
}

}  // namespace kiln::registry
