// Inventories and SBOMs: layers over one another, whose file each is, and the same bytes for the same image.
#include "proof/sbom.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::proof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kStatus =
    "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0+b1\n"
    "Maintainer: Some One <one@example.org>\nConffiles:\n /etc/tool.conf 9a0364b9e99bb480dd25e1f0284c8555\n";

FileRecord file(const std::string& md5) {
  return {7, md5, std::string(40, 'a'), std::string(64, 'b'), 'f', 0644, 0, 0, ""};
}
FileRecord of_type(char type, const std::string& target = "") { return {0, "", "", "", type, 0755, 0, 0, target}; }

LayerContents base() {
  LayerContents layer;
  layer.files = {{"/usr/bin/tool", file("1")},        {"/etc/tool.conf", file("9a0364b9e99bb480dd25e1f0284c8555")},
                 {"/usr/share/tool/a", file("2")},    {"/usr/share/tool/deep/b", file("3")},
                 {"/var/lib/dpkg/status", file("4")}, {"/var/cache/x", file("5")},
                 {"/etc/os-release", file("6")},      {"/bin", of_type('l', "usr/bin")}};
  layer.texts = {
      {"/var/lib/dpkg/status", kStatus},
      {"/var/lib/dpkg/info/tool.list", "/.\n/bin/tool\n/usr/share/tool/a\n/usr/share/tool/deep/b\n/etc/os-release\n"},
      {"/var/lib/dpkg/info/tool.md5sums", "1  bin/tool\n2  usr/share/tool/a\n3  usr/share/tool/deep/b\n"},
      {"/usr/share/doc/tool/copyright", "MIT AND LicenseRef-Debian-Odd"},
      {"/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"}};
  return layer;
}

std::vector<std::string> loose(const std::vector<LayerContents>& layers) {
  std::vector<std::string> names;
  for (const Inventory::Loose& one : take_inventory(layers).files)
    names.push_back(one.path + (one.changed_from.empty() ? "" : " of " + one.changed_from));
  return names;
}

TEST(Inventories, TellWhoseEachFileIs) {
  EXPECT_THAT(loose({base()}), ElementsAre());
  LayerContents more;
  more.files = {{"/etc/tool.conf", file("changed")}, {"/srv/own", file("1")}, {"/usr/bin/tool", file("9")}};
  EXPECT_THAT(loose({base(), more}), ElementsAre("/etc/tool.conf of tool", "/srv/own", "/usr/bin/tool of tool"));
  const Inventory inventory = take_inventory({base()});
  EXPECT_EQ(inventory.distribution, "debian");
  EXPECT_EQ(inventory.release, "12");
  ASSERT_EQ(inventory.packages.size(), 1U);
  EXPECT_EQ(inventory.packages[0].licence, "MIT AND LicenseRef-Debian-Odd");
  EXPECT_EQ(package_url(inventory, inventory.packages[0]),
            "pkg:deb/debian/tool@1%3A2.0%2Bb1?arch=amd64&distro=debian-12");
}

TEST(Inventories, FollowWhatLayersRemoveAndHide) {
  LayerContents below;
  below.files = {{"/a", of_type('d')},      {"/a/one", file("1")},        {"/a/two", file("1")}, {"/b", of_type('d')},
                 {"/b/deep", of_type('d')}, {"/b/deep/three", file("1")}, {"/c", file("1")},     {"/ab", file("1")},
                 {"/d", of_type('d')},      {"/d/four", file("1")}};
  LayerContents removes;
  removes.removed = {"/a/one", "/b"};
  removes.files = {{"/d", file("2")}, {"/c", of_type('d')}};
  EXPECT_THAT(loose({below, removes}), ElementsAre("/a/two", "/ab", "/d"));
  LayerContents hides;
  hides.opaque = {"/a"};
  hides.files = {{"/a", of_type('d')}, {"/a/new", file("1")}, {"/c", of_type('d')}, {"/d", of_type('l', "elsewhere")}};
  EXPECT_THAT(loose({below, hides}), ElementsAre("/a/new", "/ab", "/b/deep/three"));
  LayerContents emptied;
  emptied.texts = {{"/var/lib/dpkg/status", ""}};
  EXPECT_TRUE(take_inventory({base(), emptied}).packages.empty());
}

class Sboms : public testing::Test {
 protected:
  Sboms() {
    LayerContents more;
    more.files = {{"/srv/own", file("1")}, {"/etc/tool.conf", file("changed")}};
    inventory_ = take_inventory({base(), more});
  }
  const SbomSubject subject_{"web", "1.0.0", sha256("image"), "0.1.0"};
  Inventory inventory_;
};

TEST_F(Sboms, AreTheSameBytesTwiceAndNameTheirImage) {
  for (const auto write : {&write_spdx, &write_cyclonedx}) {
    const std::string text = write(subject_, inventory_);
    EXPECT_EQ(write(subject_, inventory_), text);
    EXPECT_EQ(sbom_subject(text), subject_.digest);
    EXPECT_EQ(sbom_packages(text), (std::map<std::string, std::string>{{"tool", "1:2.0+b1"}}));
    SbomSubject other = subject_;
    other.digest = sha256("another");
    EXPECT_EQ(sbom_subject(write(other, inventory_)), other.digest);
  }
  EXPECT_THROW(sbom_subject("{}"), Error);
  EXPECT_THROW(sbom_packages(R"({"packages":[{"SPDXID":3}]})"), Error);
}

TEST_F(Sboms, SpdxHasPackagesFilesAndWhatTheyMean) {
  const auto json = nlohmann::json::parse(write_spdx(subject_, inventory_));
  EXPECT_EQ(json["spdxVersion"], "SPDX-2.3");
  EXPECT_EQ(json["creationInfo"]["created"], "2024-01-01T00:00:00Z");
  EXPECT_THAT(json["documentNamespace"].get<std::string>(), HasSubstr(subject_.digest.hex()));
  ASSERT_EQ(json["packages"].size(), 3U);
  EXPECT_EQ(json["packages"][1]["supplier"], "Organization: Some One (one@example.org)");
  EXPECT_EQ(json["packages"][1]["licenseDeclared"], "MIT AND LicenseRef-Debian-Odd");
  // Two files, each with the SHA-1 "aa..": the SHA-1 of both in a row.
  EXPECT_EQ(json["packages"][2]["packageVerificationCode"]["packageVerificationCodeValue"],
            "86f33652fcffd7fa1443e246dd34fe5d00e25ffd");
  ASSERT_EQ(json["files"].size(), 2U);
  EXPECT_EQ(json["files"][0]["fileName"], "./etc/tool.conf");
  EXPECT_THAT(json["files"][0]["comment"].get<std::string>(), HasSubstr("tool"));
  EXPECT_EQ(json["hasExtractedLicensingInfos"][0]["licenseId"], "LicenseRef-Debian-Odd");
}

TEST_F(Sboms, CycloneDxHasComponentsAndWhatTheImageHolds) {
  const auto json = nlohmann::json::parse(write_cyclonedx(subject_, inventory_));
  EXPECT_EQ(json["specVersion"], "1.5");
  ASSERT_EQ(json["components"].size(), 3U);
  EXPECT_EQ(json["components"][0]["purl"], "pkg:deb/debian/tool@1%3A2.0%2Bb1?arch=amd64&distro=debian-12");
  EXPECT_EQ(json["components"][2]["name"], "/srv/own");
  EXPECT_EQ(json["dependencies"][0]["dependsOn"].size(), 3U);
  EXPECT_THAT(json["serialNumber"].get<std::string>(),
              testing::MatchesRegex("urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}"));
}

}  // namespace
}  // namespace kiln::proof
