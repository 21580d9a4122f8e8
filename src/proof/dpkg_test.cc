// Dpkg: paragraphs as they are found in images, licences, and dpkg's own order of versions.
#include "proof/dpkg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host/process.h"

namespace kiln::proof {
namespace {

constexpr const char* kStatus = R"(Package: nginx
Status: install ok installed
Priority: optional
Maintainer: Debian Nginx Maintainers <nginx@example.org>
Architecture: amd64
Version: 1.22.1-9
Depends: libc6 (>= 2.28)
Conffiles:
 /etc/nginx/nginx.conf a1b2
 /etc/init.d/nginx c3d4 obsolete
Description: small web server
 It is small.
 .
 Version: not a field
Homepage: https://nginx.org

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.11-1)
Version: 3.0.11-1+b2

Package: half
Status: install ok half-installed
Version: 1

Package: last
Version: 2:1.0
Status: install ok installed)";

TEST(DpkgStatus, HasWhatIsInstalledSorted) {
  const std::vector<Package> packages = read_dpkg_status(kStatus);
  ASSERT_EQ(packages.size(), 3U);
  EXPECT_EQ(packages[0].name, "last") << "its paragraph ends with the file";
  EXPECT_EQ(packages[0].version, "2:1.0");
  EXPECT_EQ(packages[1].name, "libssl3");
  EXPECT_EQ(packages[1].source, "openssl");
  EXPECT_EQ(packages[1].source_version, "3.0.11-1");
  const Package& nginx = packages[2];
  EXPECT_EQ(nginx.version, "1.22.1-9");
  EXPECT_EQ(nginx.architecture, "amd64");
  EXPECT_EQ(nginx.source, "nginx");
  EXPECT_EQ(nginx.source_version, "1.22.1-9");
  EXPECT_EQ(nginx.summary, "small web server");
  EXPECT_EQ(nginx.homepage, "https://nginx.org");
  EXPECT_EQ(nginx.conffiles,
            (std::map<std::string, std::string>{{"/etc/nginx/nginx.conf", "a1b2"}, {"/etc/init.d/nginx", "c3d4"}}));
}

TEST(DpkgStatus, WhatIsNoDatabaseHasNoPackages) {
  for (const char* text : {"", "\n\n", "\n\nnonsense", "Package", " Package: x", ":\n:", "Package: x\nVersion: 1",
                           "Status: install ok installed"})
    EXPECT_TRUE(read_dpkg_status(text).empty()) << text;
}

TEST(Md5sums, AreByAbsolutePath) {
  const auto sums = read_md5sums("0123  usr/bin/two words\nabc\n4567  usr/bin/x\n");
  EXPECT_EQ(sums, (std::map<std::string, std::string>{{"/usr/bin/two words", "0123"}, {"/usr/bin/x", "4567"}}));
}

std::string licence_of(const std::string& field) {
  return read_licence(
      "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: " + field +
      "\n text of it\n");
}

TEST(Licences, BecomeSpdxExpressions) {
  EXPECT_EQ(licence_of("Expat"), "MIT");
  EXPECT_EQ(licence_of("GPL-2+"), "GPL-2.0-or-later");
  EXPECT_EQ(licence_of("GPL-3.0+"), "GPL-3.0-or-later");
  EXPECT_EQ(licence_of("LGPL-2.1"), "LGPL-2.1-only");
  EXPECT_EQ(licence_of("GPL-1+ or Artistic"), "GPL-1.0-or-later OR Artistic-1.0-Perl");
  EXPECT_EQ(licence_of("GPL-1+ or Artistic, and Expat"), "(GPL-1.0-or-later OR Artistic-1.0-Perl) AND MIT");
  EXPECT_EQ(licence_of("Expat and BSD-3-clause, or GPL-2"), "((MIT AND BSD-3-Clause)) OR GPL-2.0-only");
  EXPECT_EQ(licence_of("GPL-2+ with OpenSSL exception"), "LicenseRef-Debian-GPL-2-or-later-with-OpenSSL-exception");
  EXPECT_EQ(licence_of("and"), "");
  EXPECT_EQ(licence_of("Expat or"), "MIT");
}

TEST(Licences, OfSeveralParagraphsAllHold) {
  EXPECT_EQ(read_licence(
                "Format: x\n\nFiles: *\nLicense: GPL-2 or Expat\n\nFiles: a\nLicense: ISC\n\nFiles: b\nLicense: ISC\n"
                "\nLicense: Zlib\n its text\n"),
            "(GPL-2.0-only OR MIT) AND ISC");
  EXPECT_EQ(read_licence("This package was debianised by hand.\n\nLicense: GPL\n"), "");
}

TEST(Versions, AreOrderedAsDpkgOrdersThem) {
  const std::vector<std::string> versions = {"1.0~rc1",  "1.0",           "1.0-1", "1.0-1+b2", "1.0-1.1", "1.0+dfsg",
                                             "1.0a",     "1.2",           "1.10",  "1:0.9",    "2:0",     "0",
                                             "0.0.0-~1", "1.0-1~bpo12+1", "007",   "7",        "1.0-2"};
  for (std::size_t i = 0; i < versions.size(); ++i) {
    for (std::size_t j = i; j < versions.size(); ++j) {
      const int order = compare_versions(versions[i], versions[j]);
      EXPECT_EQ(order<0, compare_versions(versions[j], versions[i])> 0) << versions[i] << " " << versions[j];
      host::Command command;
      command.argv = {"dpkg", "--compare-versions", versions[i],
                      order < 0    ? "lt"
                      : order == 0 ? "eq"
                                   : "gt",
                      versions[j]};
      EXPECT_TRUE(host::run(command).ok()) << versions[i] << " " << versions[j] << " is not " << order;
    }
  }
}

TEST(Versions, AreMatchedAtTheirJoints) {
  EXPECT_TRUE(version_matches("3.0.11-1~deb12u2", "3.0.11"));
  EXPECT_TRUE(version_matches("3.0.11", "3.0.11"));
  EXPECT_TRUE(version_matches("3.0.11", ""));
  EXPECT_FALSE(version_matches("3.0.110", "3.0.11"));
  EXPECT_FALSE(version_matches("3.0", "3.0.11"));
}

}  // namespace
}  // namespace kiln::proof
