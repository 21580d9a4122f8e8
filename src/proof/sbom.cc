// Sbom: two ways of writing the same list.
#include "proof/sbom.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"
#include "base/time.h"
#include "proof/hash.h"
#include "proof/json.h"
#include "store/erofs.h"

namespace kiln::proof {
namespace {

constexpr std::size_t kSbomBytesMax = std::size_t{256} << 20;
constexpr std::string_view kNobody = "NOASSERTION";
const std::string kImage = "SPDXRef-Image";
const std::string kFiles = "SPDXRef-Files";
const std::string kPackagePrefix = "SPDXRef-Package-";

std::string epoch() {
  const std::string text = format_iso8601(Time(std::chrono::seconds(store::kLayerEpochSeconds)));
  return text.substr(0, 19) + "Z";  // SPDX knows no fractions
}

// SPDX identifiers have letters, digits, '.' and '-' only.
std::string identifier(std::string_view kind, std::string_view text) {
  std::string id = fmt::format("SPDXRef-{}-", kind);
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-';
    id += plain ? c : '-';
  }
  return id;
}

std::string name_of_file(const Inventory::Loose& file) { return identifier("File", sha256(file.path).hex()); }

std::string name_of_package(const Package& package) {
  return identifier("Package", fmt::format("{}-{}-{}", package.name, package.architecture,
                                           sha256(package.name + ":" + package.architecture).short_str()));
}

Json spdx_package(const Inventory& inventory, const Package& package) {
  Json json{{"SPDXID", name_of_package(package)},
            {"name", package.name},
            {"versionInfo", package.version},
            {"downloadLocation", kNobody},
            {"filesAnalyzed", false},
            {"licenseConcluded", kNobody},
            {"licenseDeclared", package.licence.empty() ? std::string(kNobody) : package.licence},
            {"copyrightText", kNobody},
            {"sourceInfo", fmt::format("built from {} {}", package.source, package.source_version)},
            {"externalRefs", Json::array({{{"referenceCategory", "PACKAGE-MANAGER"},
                                           {"referenceType", "purl"},
                                           {"referenceLocator", package_url(inventory, package)}}})}};
  // "Name <address>" is written "Name (address)".
  if (const std::size_t open = package.maintainer.find(" <"); open != std::string::npos) {
    const std::string address = package.maintainer.substr(open + 2, package.maintainer.find('>') - open - 2);
    json["supplier"] = fmt::format("Organization: {} ({})", package.maintainer.substr(0, open), address);
  }
  if (package.homepage.starts_with("http")) json["homepage"] = package.homepage;
  if (!package.summary.empty()) json["summary"] = package.summary;
  return json;
}

Json spdx_file(const Inventory::Loose& file) {
  Json json{{"SPDXID", name_of_file(file)},
            {"fileName", "." + file.path},
            {"checksums", Json::array({{{"algorithm", "SHA1"}, {"checksumValue", file.file.sha1}},
                                       {{"algorithm", "SHA256"}, {"checksumValue", file.file.sha256}}})},
            {"licenseConcluded", kNobody},
            {"licenseInfoInFiles", Json::array({kNobody})},
            {"copyrightText", kNobody}};
  if (!file.changed_from.empty()) json["comment"] = "changed since the package " + file.changed_from + " brought it";
  return json;
}

// The files that no package brought, as a package of their own: SPDX's files belong to one that was analysed.
Json spdx_files_package(const SbomSubject& subject, const Inventory& inventory) {
  std::vector<std::string> sums;
  for (const Inventory::Loose& file : inventory.files) sums.push_back(file.file.sha1);
  std::ranges::sort(sums);
  Hash sha1(EVP_sha1());
  for (const std::string& sum : sums) sha1.update(sum);
  return {{"SPDXID", kFiles},
          {"name", subject.app + " files"},
          {"versionInfo", subject.version},
          {"downloadLocation", kNobody},
          {"filesAnalyzed", true},
          {"packageVerificationCode", {{"packageVerificationCodeValue", sha1.hex()}}},
          {"licenseConcluded", kNobody},
          {"licenseInfoFromFiles", Json::array({kNobody})},
          {"licenseDeclared", kNobody},
          {"copyrightText", kNobody},
          {"comment", "Files that no Debian package owns, and files that were changed since their package came."}};
}

// Names of licences that SPDX does not list must be explained in the document.
Json unlisted_licences(const Inventory& inventory) {
  std::map<std::string, std::string> seen;  // name → package
  for (const Package& package : inventory.packages) {
    std::string text = package.licence;
    for (char& c : text) {
      if (c == '(' || c == ')') c = ' ';
    }
    for (const std::string& word : split(text, ' ')) {
      if (word.starts_with("LicenseRef-")) seen.emplace(word, package.name);
    }
  }
  Json list = Json::array();
  for (const auto& [name, package] : seen) {
    list.push_back({{"licenseId", name},
                    {"name", name.substr(std::string_view("LicenseRef-").size())},
                    {"extractedText", fmt::format("See /usr/share/doc/{}/copyright in the image.", package)}});
  }
  return list;
}

Json relation(const std::string& from, const char* kind, const std::string& to) {
  return {{"spdxElementId", from}, {"relationshipType", kind}, {"relatedSpdxElement", to}};
}

Json cyclonedx_package(const Inventory& inventory, const Package& package) {
  const std::string url = package_url(inventory, package);
  Json json{{"type", "library"},
            {"bom-ref", url},
            {"name", package.name},
            {"version", package.version},
            {"purl", url},
            {"properties",
             Json::array({{{"name", "kiln:source"}, {"value", package.source + " " + package.source_version}}})}};
  if (!package.maintainer.empty()) json["publisher"] = package.maintainer;
  if (!package.summary.empty()) json["description"] = package.summary;
  if (!package.licence.empty()) json["licenses"] = Json::array({{{"expression", package.licence}}});
  return json;
}

Json cyclonedx_file(const Inventory::Loose& file) {
  Json json{{"type", "file"},
            {"bom-ref", "file:" + file.path},
            {"name", file.path},
            {"hashes", Json::array({{{"alg", "SHA-1"}, {"content", file.file.sha1}},
                                    {{"alg", "SHA-256"}, {"content", file.file.sha256}}})}};
  if (!file.changed_from.empty())
    json["properties"] = Json::array({{{"name", "kiln:changed-from"}, {"value", file.changed_from}}});
  return json;
}

// A UUID of version 8 (made by the application) from the image's digest.
std::string uuid_of(const SbomSubject& subject) {
  std::string hex = sha256(subject.app + "@" + subject.version + " " + subject.digest.str()).hex();
  hex[12] = '8';
  hex[16] = 'a';
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4), hex.substr(16, 4),
                     hex.substr(20, 12));
}

}  // namespace

std::string package_url(const Inventory& inventory, const Package& package) {
  const std::string distribution = inventory.distribution.empty() ? "debian" : inventory.distribution;
  return fmt::format("pkg:deb/{}/{}@{}?arch={}&distro={}-{}", percent_encode(distribution),
                     percent_encode(package.name), percent_encode(package.version),
                     percent_encode(package.architecture), percent_encode(distribution),
                     percent_encode(inventory.release));
}

std::string write_spdx(const SbomSubject& subject, const Inventory& inventory) {
  Json packages =
      Json::array({{{"SPDXID", kImage},
                    {"name", subject.app},
                    {"versionInfo", subject.version},
                    {"downloadLocation", kNobody},
                    {"filesAnalyzed", false},
                    {"licenseConcluded", kNobody},
                    {"licenseDeclared", kNobody},
                    {"copyrightText", kNobody},
                    {"primaryPackagePurpose", "OPERATING-SYSTEM"},
                    {"checksums", Json::array({{{"algorithm", "SHA256"}, {"checksumValue", subject.digest.hex()}}})}}});
  Json relations = Json::array({relation("SPDXRef-DOCUMENT", "DESCRIBES", kImage)});
  for (const Package& package : inventory.packages) {
    packages.push_back(spdx_package(inventory, package));
    relations.push_back(relation(kImage, "CONTAINS", name_of_package(package)));
  }
  if (!inventory.files.empty()) {
    packages.push_back(spdx_files_package(subject, inventory));
    relations.push_back(relation(kImage, "CONTAINS", kFiles));
  }
  Json files = Json::array();
  for (const Inventory::Loose& file : inventory.files) {
    files.push_back(spdx_file(file));
    relations.push_back(relation(kFiles, "CONTAINS", name_of_file(file)));
  }
  Json document{{"spdxVersion", "SPDX-2.3"},
                {"dataLicense", "CC0-1.0"},
                {"SPDXID", "SPDXRef-DOCUMENT"},
                {"name", subject.app + "-" + subject.version},
                {"documentNamespace", fmt::format("https://spdx.org/spdxdocs/{}-{}-{}", percent_encode(subject.app),
                                                  percent_encode(subject.version), subject.digest.hex())},
                {"creationInfo", {{"created", epoch()}, {"creators", Json::array({"Tool: kiln-" + subject.kiln})}}},
                {"packages", std::move(packages)},
                {"files", std::move(files)},
                {"relationships", std::move(relations)}};
  if (Json licences = unlisted_licences(inventory); !licences.empty())
    document["hasExtractedLicensingInfos"] = std::move(licences);
  return to_text(document);
}

std::string write_cyclonedx(const SbomSubject& subject, const Inventory& inventory) {
  Json components = Json::array(), contained = Json::array();
  for (const Package& package : inventory.packages) {
    components.push_back(cyclonedx_package(inventory, package));
    contained.push_back(components.back()["bom-ref"]);
  }
  for (const Inventory::Loose& file : inventory.files) {
    components.push_back(cyclonedx_file(file));
    contained.push_back(components.back()["bom-ref"]);
  }
  const Json image{{"type", "operating-system"},
                   {"bom-ref", "image"},
                   {"name", subject.app},
                   {"version", subject.version},
                   {"hashes", Json::array({{{"alg", "SHA-256"}, {"content", subject.digest.hex()}}})}};
  const Json tool{{"type", "application"}, {"name", "kiln"}, {"version", subject.kiln}};
  return to_text(
      {{"$schema", "http://cyclonedx.org/schema/bom-1.5.schema.json"},
       {"bomFormat", "CycloneDX"},
       {"specVersion", "1.5"},
       {"serialNumber", "urn:uuid:" + uuid_of(subject)},
       {"version", 1},
       {"metadata", {{"timestamp", epoch()}, {"tools", {{"components", Json::array({tool})}}}, {"component", image}}},
       {"components", std::move(components)},
       {"dependencies", Json::array({{{"ref", "image"}, {"dependsOn", std::move(contained)}}})}});
}

Digest sbom_subject(std::string_view text) {
  return reading_json("SBOM", text, kSbomBytesMax, [](const Json& json) {
    if (json.contains("bomFormat")) {
      const Json hashes = json.at("metadata").at("component").value("hashes", Json::array());
      for (const Json& hash : hashes) {
        if (hash.at("alg") == "SHA-256") return Digest::parse("sha256:" + hash.at("content").get<std::string>());
      }
      return Digest();
    }
    for (const Json& package : json.at("packages")) {
      if (package.at("SPDXID") != kImage) continue;
      for (const Json& sum : package.at("checksums")) {
        if (sum.at("algorithm") == "SHA256")
          return Digest::parse("sha256:" + sum.at("checksumValue").get<std::string>());
      }
    }
    return Digest();
  });
}

std::map<std::string, std::string> sbom_packages(std::string_view text) {
  return reading_json("SBOM", text, kSbomBytesMax, [](const Json& json) {
    std::map<std::string, std::string> packages;
    const auto take = [&](const Json& name, const Json& version) {
      auto [place, fresh] = packages.emplace(name.get<std::string>(), version.get<std::string>());
      if (!fresh && compare_versions(version.get<std::string>(), place->second) < 0) place->second = version;
    };
    if (json.contains("bomFormat")) {
      for (const Json& component : json.value("components", Json::array())) {
        if (component.at("type") == "library") take(component.at("name"), component.at("version"));
      }
      return packages;
    }
    for (const Json& package : json.at("packages")) {
      if (package.at("SPDXID").get<std::string>().starts_with(kPackagePrefix))
        take(package.at("name"), package.at("versionInfo"));
    }
    return packages;
  });
}

}  // namespace kiln::proof
