// Tests of what an image holds: layers stacked as overlayfs does, dpkg's status, and what differs.
#include "catalog/contents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::catalog {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

store::ListedFile file(const std::string& content, unsigned mode = 0644) {
  return {'f', mode, 0, 0, content.size(), content};
}
store::ListedFile folder() { return {'d', 0755, 0, 0, 0, ""}; }
store::ListedFile link(const std::string& to) { return {'l', 0777, 0, 0, 0, to}; }

std::vector<std::string> names(const Contents& contents) {
  std::vector<std::string> all;
  for (const auto& [name, one] : contents.files) all.push_back(name);
  return all;
}

TEST(Contents, ReadsWhatDpkgHasInstalled) {
  const Packages packages = parse_dpkg_status(
      "Package: openssl\nStatus: install ok installed\nVersion: 3.0.11-1~deb12u2\nDescription: x\n Package: not\n\n"
      "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
      "Package: half\nStatus: install ok half-installed\nVersion: 1\n\n"
      "Package: last\nVersion: 2:1.0\nStatus: install ok installed");
  EXPECT_THAT(packages, ElementsAre(Pair("last", "2:1.0"), Pair("openssl", "3.0.11-1~deb12u2")));
  EXPECT_TRUE(parse_dpkg_status("").empty());
  EXPECT_TRUE(parse_dpkg_status("\n\nnonsense").empty());
}

TEST(Contents, StacksLayersAsOverlayfsDoes) {
  store::Listing base, top;
  base.files = {{"/a", file("1")},   {"/d", folder()}, {"/d/x", file("x")}, {"/e", folder()},
                {"/e/y", file("y")}, {"/f", folder()}, {"/f/z", file("z")}, {"/d-not", file("n")}};
  base.dpkg_status = "Package: p\nStatus: install ok installed\nVersion: 1\n";
  top.files = {{"/a", file("2")}, {"/e", folder()}, {"/f", file("now a file")}};
  top.removed = {"/d"};
  top.opaque = {"/e"};
  const Contents contents = stack({base, top});
  EXPECT_THAT(names(contents), ElementsAre("/a", "/d-not", "/e", "/f"));
  EXPECT_EQ(contents.files.at("/a").content, "2");
  EXPECT_EQ(contents.packages.at("p"), "1");
}

TEST(Contents, KnowsWhichUnitsAreEnabled) {
  store::Listing layer;
  layer.files = {
      {"/etc/systemd/system/multi-user.target.wants/nginx.service", link("/lib/systemd/system/nginx.service")},
      {"/etc/systemd/system/own.service", file("[Unit]")},
      {"/etc/systemd/system/apt.timer", link("/dev/null")}};
  EXPECT_THAT(stack({layer}).units,
              ElementsAre(Pair("apt.timer", "masked"), Pair("nginx.service", "multi-user.target.wants")));
}

TEST(Contents, SaysWhatDiffers) {
  Contents before, after;
  before.packages = {{"a", "1"}, {"b", "1"}};
  after.packages = {{"b", "2"}, {"c", "1"}};
  before.files = {{"/same", file("s")}, {"/mode", file("m")}};
  after.files = {{"/same", file("s")}, {"/mode", file("m", 0600)}, {"/new", link("/same")}};
  const Difference found = difference(before, after);
  EXPECT_THAT(found.packages, ElementsAre(Change{"a", "1", ""}, Change{"b", "1", "2"}, Change{"c", "", "1"}));
  EXPECT_THAT(found.files,
              ElementsAre(Change{"/mode", "f 0644 0:0 1 m", "f 0600 0:0 1 m"}, Change{"/new", "", "l 0777 0:0 /same"}));
  EXPECT_TRUE(difference(after, after).files.empty());
}

TEST(Contents, MatchesVersionsAtTheirJoints) {
  EXPECT_TRUE(version_matches("3.0.11-1~deb12u2", "3.0.11"));
  EXPECT_TRUE(version_matches("3.0.11", "3.0.11"));
  EXPECT_TRUE(version_matches("3.0.11", ""));
  EXPECT_FALSE(version_matches("3.0.110", "3.0.11"));
  EXPECT_FALSE(version_matches("3.0", "3.0.11"));
}

TEST(Listing, ReadsWhatItWrote) {
  store::Listing listing;
  listing.files = {{"/a b\n\xc3\xa4", file("sha256:00", 04755)}, {"/l", link("../x")}};
  listing.removed = {"/r"};
  listing.opaque = {"/o"};
  listing.dpkg_status = "Package: p\n";
  const store::Listing again = store::read_listing(store::write_listing(listing));
  EXPECT_EQ(again.files, listing.files);
  EXPECT_EQ(again.removed, listing.removed);
  EXPECT_EQ(again.opaque, listing.opaque);
  EXPECT_EQ(again.dpkg_status, listing.dpkg_status);
}

TEST(Listing, RefusesTextThatWasCutOrIsNone) {
  const std::string whole = store::write_listing({{{"/a", file("x")}}, {}, {}, {}});
  EXPECT_THROW(store::read_listing(whole.substr(0, whole.find('\n') + 1)), Error);
  for (const char* bad : {"", "{}", "[1]", "[\"/a\",\"f\"]\n[\"\",\"end\"]", "nonsense"}) {
    EXPECT_THROW(store::read_listing(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace kiln::catalog
