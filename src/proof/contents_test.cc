// Tests of what an image holds: layers stacked as overlayfs does, units, and what differs.
#include "proof/contents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proof/difference.h"

namespace kiln::proof {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

FileRecord file(const std::string& content, unsigned mode = 0644) {
  return {content.size(), "", "", content, 'f', mode, 0, 0, ""};
}
FileRecord folder() { return {0, "", "", "", 'd', 0755, 0, 0, ""}; }
FileRecord link(const std::string& to) { return {0, "", "", "", 'l', 0777, 0, 0, to}; }

Contents stacked(const std::vector<LayerContents>& layers) {
  Layers shared;
  for (const LayerContents& layer : layers) shared.push_back(std::make_shared<const LayerContents>(layer));
  return stack(std::move(shared));
}

std::vector<std::string> names(const Contents& contents) {
  std::vector<std::string> all;
  for (const auto& [name, one] : contents.files) all.emplace_back(name);
  return all;
}

TEST(Contents, StacksLayersAsOverlayfsDoes) {
  LayerContents base, top;
  base.files = {{"/a", file("1")},   {"/d", folder()}, {"/d/x", file("x")}, {"/e", folder()},
                {"/e/y", file("y")}, {"/f", folder()}, {"/f/z", file("z")}, {"/d-not", file("n")}};
  base.texts = {{"/a", "one"}, {"/d/x", "x"}, {"/e/y", "y"}, {"/f/z", "z"}, {"/d-not", "n"}};
  top.files = {{"/a", file("2")}, {"/e", folder()}, {"/f", file("now a file")}};
  top.removed = {"/d"};
  top.opaque = {"/e"};
  const Contents contents = stacked({base, top});
  EXPECT_THAT(names(contents), ElementsAre("/a", "/d-not", "/e", "/f"));
  EXPECT_EQ(contents.files.at("/a")->sha256, "2");
  EXPECT_THAT(contents.texts, ElementsAre(Pair("/d-not", "n"))) << "the new /a has no text of interest";
}

TEST(Contents, TheDatabaseThatCountsIsTheTopmostOne) {
  LayerContents base, top;
  base.files = top.files = {{std::string(kDpkgStatus), file("s")}};
  base.texts = {{std::string(kDpkgStatus), "Package: p\nStatus: install ok installed\nVersion: 1\n"}};
  top.texts = {{std::string(kDpkgStatus), "Package: p\nStatus: install ok installed\nVersion: 2\n"}};
  ASSERT_EQ(stacked({base, top}).packages().size(), 1U);
  EXPECT_EQ(stacked({base, top}).packages()[0].version, "2");
  top.files.clear();
  top.texts.clear();
  top.removed = {std::string(kDpkgStatus)};
  EXPECT_TRUE(stacked({base, top}).packages().empty());
}

TEST(Contents, KnowsWhichUnitsAreEnabled) {
  LayerContents layer;
  layer.files = {
      {"/etc/systemd/system/multi-user.target.wants/nginx.service", link("/lib/systemd/system/nginx.service")},
      {"/etc/systemd/system/own.service", file("[Unit]")},
      {"/etc/systemd/system/apt.timer", link("/dev/null")}};
  EXPECT_THAT(stacked({layer}).units,
              ElementsAre(Pair("apt.timer", "masked"), Pair("nginx.service", "multi-user.target.wants")));
}

LayerContents with_packages(const std::string& status) {
  LayerContents layer;
  layer.texts = {{std::string(kDpkgStatus), status}};
  return layer;
}

std::string package(const std::string& name, const std::string& version, const std::string& architecture = "amd64") {
  return "Package: " + name + "\nStatus: install ok installed\nVersion: " + version +
         "\nArchitecture: " + architecture + "\n\n";
}

TEST(Difference, SaysWhatDiffers) {
  LayerContents before = with_packages(package("a", "1") + package("b", "1") + package("m", "1"));
  LayerContents after =
      with_packages(package("b", "2") + package("c", "1") + package("m", "1") + package("m", "2", "i386"));
  before.files = {{"/same", file("s")}, {"/mode", file("m")}};
  after.files = {{"/same", file("s")}, {"/mode", file("m", 0600)}, {"/new", link("/same")}};
  const Difference found = difference(stacked({before}), stacked({after}));
  EXPECT_THAT(found.packages, ElementsAre(Change{"a", "1", ""}, Change{"b", "1", "2"}, Change{"c", "", "1"},
                                          Change{"m", "1", ""}, Change{"m:amd64", "", "1"}, Change{"m:i386", "", "2"}));
  EXPECT_THAT(found.files, ElementsAre(Change{"/mode", "f 0644 0:0 1 sha256:m", "f 0600 0:0 1 sha256:m"},
                                       Change{"/new", "", "l 0777 0:0 /same"}));
  EXPECT_TRUE(difference(stacked({after}), stacked({after})).files.empty());
}

}  // namespace
}  // namespace kiln::proof
