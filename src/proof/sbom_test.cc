// Inventories and SBOMs: layers over one another, whose file each is, and the same bytes for the same image.
#include "proof/sbom.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::proof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kStatus =
    "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0+b1\n"
    "Maintainer: Some One <one@example.org>\nConffiles:\n /etc/tool.conf 9a0364b9e99bb480dd25e1f0284c8555\n";

FileRecord file(const std::string& md5) { return {7, md5, std::string(40, 'a'), std::string(64, 'b')}; }

LayerContents base() {
  LayerContents layer;
  layer.files = {{"/usr/bin/tool", file("1")},        {"/etc/tool.conf", file("9a0364b9e99bb480dd25e1f0284c8555")},
                 {"/usr/share/tool/a", file("2")},    {"/usr/share/tool/deep/b", file("3")},
                 {"/var/lib/dpkg/status", file("4")}, {"/var/cache/x", file("5")},
                 {"/etc/os-release", file("6")}};
  layer.links = {{"/bin", "usr/bin"}};
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

TEST(Inventories, LayersRemoveAndHideAsOverlayfsDoes) {
  LayerContents below;
  below.files = {{"/a/one", file("1")}, {"/a/two", file("1")}, {"/b/deep/three", file("1")},
                 {"/c", file("1")},     {"/ab", file("1")},    {"/d/four", file("1")}};
  below.folders = {"/a", "/b", "/b/deep", "/d"};
  LayerContents removes;
  removes.removed = {"/a/one", "/b"};
  removes.files = {{"/d", file("2")}};
  removes.folders = {"/c"};
  EXPECT_THAT(loose({below, removes}), ElementsAre("/a/two", "/ab", "/d"));
  LayerContents hides;
  hides.folders = {"/a", "/c"};
  hides.opaque = {"/a"};
  hides.files = {{"/a/new", file("1")}};
  hides.links = {{"/d", "elsewhere"}};
  EXPECT_THAT(loose({below, hides}), ElementsAre("/a/new", "/ab", "/b/deep/three"));
  // The database that counts is the topmost one.
  LayerContents emptied;
  emptied.texts = {{"/var/lib/dpkg/status", ""}};
  EXPECT_TRUE(take_inventory({base(), emptied}).packages.empty());
}

TEST(Layers, AreReadFromAFolderAndRememberedAsText) {
  const host::TemporaryFolder folder("kiln-proof-layer-");
  host::make_folders(folder.path() / "usr/share/doc/x");
  host::make_folders(folder.path() / "var/lib/dpkg/info");
  host::write_file(folder.path() / "hello", "hello");
  host::write_file(folder.path() / "var/lib/dpkg/info/x.list", "/hello\n");
  host::write_file(folder.path() / "usr/share/doc/x/copyright", "Format: x\n\nFiles: *\nLicense: Expat\n");
  // Links are told, never followed.
  fs::create_symlink("/etc/passwd", folder.path() / "out");
  fs::create_symlink("loop", folder.path() / "loop");
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  const LayerContents contents = read_layer(folder.path());
  const FileRecord& hello = contents.files.at("/hello");
  EXPECT_EQ(hello.size_bytes, 5U);
  EXPECT_EQ(hello.md5, "5d41402abc4b2a76b9719d911017c592");
  EXPECT_EQ(hello.sha1, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
  EXPECT_EQ(hello.sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  EXPECT_EQ(contents.links.at("/out"), "/etc/passwd");
  EXPECT_EQ(contents.links.at("/loop"), "loop");
  EXPECT_TRUE(contents.others.contains("/pipe"));
  EXPECT_TRUE(contents.folders.contains("/usr/share/doc"));
  EXPECT_EQ(contents.texts.at("/usr/share/doc/x/copyright"), "MIT");
  EXPECT_EQ(contents.texts.at("/var/lib/dpkg/info/x.list"), "/hello\n");
  EXPECT_EQ(parse_layer(write_layer(contents)), contents);
  EXPECT_THROW(parse_layer("{}"), Error);
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
