// Dpkg: paragraphs, licences and the order of versions.
#include "proof/dpkg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace kiln::proof {
namespace {

constexpr std::size_t kStatusBytesMax = std::size_t{64} << 20;

// A field's name in lower case → its value, further lines joined by newlines.
using Paragraph = std::map<std::string, std::string>;

void for_each_paragraph(std::string_view text, const std::function<void(const Paragraph&)>& see) {
  Paragraph fields;
  std::string* last = nullptr;
  const auto end = [&] {
    if (!fields.empty()) see(fields);
    fields.clear();
    last = nullptr;
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (trim(line).empty()) {
      end();
    } else if (line[0] == ' ' || line[0] == '\t') {
      if (last != nullptr) last->append("\n").append(trim(line));
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
      last = &fields[to_lower(line.substr(0, colon))];
      *last = std::string(trim(line.substr(colon + 1)));
    }
  }
  end();
}

std::string field(const Paragraph& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

Package package_of(const Paragraph& fields) {
  Package package;
  package.name = field(fields, "package");
  package.version = field(fields, "version");
  package.architecture = field(fields, "architecture");
  package.maintainer = field(fields, "maintainer");
  package.homepage = field(fields, "homepage");
  const std::string description = field(fields, "description");
  package.summary = description.substr(0, description.find('\n'));
  // "nginx" or "nginx (1.22.1-9)".
  const std::string source = field(fields, "source");
  const std::size_t space = source.find(' ');
  package.source = source.empty() ? package.name : source.substr(0, space);
  package.source_version = package.version;
  if (const std::size_t open = source.find('('); open != std::string::npos && source.ends_with(')'))
    package.source_version = source.substr(open + 1, source.size() - open - 2);
  for (const std::string& line : split(field(fields, "conffiles"), '\n')) {
    const std::vector<std::string> words = split(line, ' ');
    if (words.size() >= 2 && words[0].starts_with('/')) package.conffiles[words[0]] = words[1];
  }
  return package;
}

// Debian's short names (copyright-format 1.0) beside SPDX's; a "+" after the name is "or later".
const std::map<std::string, std::string>& spdx_names() {
  static const std::map<std::string, std::string> names = {{"expat", "MIT"},
                                                           {"mit", "MIT"},
                                                           {"x11", "X11"},
                                                           {"isc", "ISC"},
                                                           {"zlib", "Zlib"},
                                                           {"curl", "curl"},
                                                           {"apache-2.0", "Apache-2.0"},
                                                           {"apache-2", "Apache-2.0"},
                                                           {"bsd-2-clause", "BSD-2-Clause"},
                                                           {"bsd-3-clause", "BSD-3-Clause"},
                                                           {"bsd-4-clause", "BSD-4-Clause"},
                                                           {"cc0-1.0", "CC0-1.0"},
                                                           {"cc0", "CC0-1.0"},
                                                           {"mpl-1.1", "MPL-1.1"},
                                                           {"mpl-2.0", "MPL-2.0"},
                                                           {"openssl", "OpenSSL"},
                                                           {"bsl-1.0", "BSL-1.0"},
                                                           {"unlicense", "Unlicense"},
                                                           {"gpl-1", "GPL-1.0-only"},
                                                           {"gpl-1+", "GPL-1.0-or-later"},
                                                           {"gpl-2", "GPL-2.0-only"},
                                                           {"gpl-2+", "GPL-2.0-or-later"},
                                                           {"gpl-3", "GPL-3.0-only"},
                                                           {"gpl-3+", "GPL-3.0-or-later"},
                                                           {"lgpl-2", "LGPL-2.0-only"},
                                                           {"lgpl-2+", "LGPL-2.0-or-later"},
                                                           {"lgpl-2.1", "LGPL-2.1-only"},
                                                           {"lgpl-2.1+", "LGPL-2.1-or-later"},
                                                           {"lgpl-3", "LGPL-3.0-only"},
                                                           {"lgpl-3+", "LGPL-3.0-or-later"},
                                                           {"agpl-3", "AGPL-3.0-only"},
                                                           {"agpl-3+", "AGPL-3.0-or-later"},
                                                           {"gfdl-1.3", "GFDL-1.3-only"},
                                                           {"gfdl-1.3+", "GFDL-1.3-or-later"},
                                                           {"artistic", "Artistic-1.0-Perl"},
                                                           {"artistic-2.0", "Artistic-2.0"},
                                                           {"psf-2", "PSF-2.0"}};
  return names;
}

std::string spdx_name(std::string_view debian) {
  std::string name = to_lower(debian);
  for (const char* zero : {".0+", ".0"}) {
    if (name.ends_with(zero) && (name.starts_with("gpl-") || name.starts_with("lgpl-3") || name.starts_with("agpl-")))
      name = name.substr(0, name.size() - std::string_view(zero).size()) + (zero[2] == '+' ? "+" : "");
  }
  if (const auto known = spdx_names().find(name); known != spdx_names().end()) return known->second;
  std::string reference = "LicenseRef-Debian-";
  for (const char c : debian) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.';
    reference += plain ? std::string(1, c) : c == '+' ? "-or-later" : "-";
  }
  return reference;
}

// "GPL-2+ or Artistic": what stands between commas. Words in between ("with", "exception") make a name of their own.
std::string group_of(const std::vector<std::string>& words) {
  std::string result, name;
  const auto take_name = [&] {
    if (!name.empty()) result += spdx_name(name);
    name.clear();
  };
  for (const std::string& word : words) {
    const std::string low = to_lower(word);
    if (low == "or" || low == "and" || low == "and/or") {
      take_name();
      if (!result.empty() && !result.ends_with(' ')) result += low == "and" ? " AND " : " OR ";
    } else {
      name += (name.empty() ? "" : "-") + word;
    }
  }
  take_name();
  if (result.ends_with(' ')) result.resize(result.rfind(' ', result.size() - 2));
  return result;
}

std::string in_parentheses(const std::string& expression, bool wanted) {
  return wanted && expression.find(' ') != std::string::npos ? "(" + expression + ")" : expression;
}

// "GPL-2+ or Artistic, and Expat": one line of a License field. Commas part before words do.
std::string expression_of(const std::string& line) {
  const std::vector<std::string> groups = split(line, ',');
  std::string result;
  for (const std::string& group : groups) {
    std::vector<std::string> words = split(group, ' ');
    std::erase(words, "");
    bool either = false;
    if (!words.empty() && (words[0] == "and" || words[0] == "or")) {
      either = words[0] == "or";
      words.erase(words.begin());
    }
    const std::string next = in_parentheses(group_of(words), groups.size() > 1);
    if (next.empty()) continue;
    if (!result.empty()) result = in_parentheses(result, either) + (either ? " OR " : " AND ");
    result += next;
  }
  return result;
}

// dpkg's order of one character: '~' before the end, the end before letters, letters before all else.
int rank(std::string_view text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0])) != 0) return 0;
  if (text[0] == '~') return -1;
  const int c = static_cast<unsigned char>(text[0]);
  return std::isalpha(c) != 0 ? c : c + 256;
}

std::string_view take_digits(std::string_view& text) {
  const std::size_t size = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string_view digits = text.substr(0, size);
  text.remove_prefix(size);
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  return digits;
}

int compare_part(std::string_view a, std::string_view b) {
  const auto digit = [](std::string_view text) {
    return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0;
  };
  while (!a.empty() || !b.empty()) {
    while ((!a.empty() && !digit(a)) || (!b.empty() && !digit(b))) {
      if (const int order = rank(a) - rank(b); order != 0) return order;
      if (!a.empty() && !digit(a)) a.remove_prefix(1);
      if (!b.empty() && !digit(b)) b.remove_prefix(1);
    }
    const std::string_view left = take_digits(a), right = take_digits(b);
    if (left.size() != right.size()) return left.size() < right.size() ? -1 : 1;
    if (const int order = left.compare(right); order != 0) return order;
  }
  return 0;
}

struct VersionParts {
  std::string_view epoch, upstream, revision;
};

VersionParts parts_of(std::string_view version) {
  VersionParts parts;
  if (const std::size_t colon = version.find(':'); colon != std::string_view::npos) {
    parts.epoch = version.substr(0, colon);
    version.remove_prefix(colon + 1);
  }
  const std::size_t dash = version.rfind('-');
  parts.upstream = version.substr(0, dash);
  if (dash != std::string_view::npos) parts.revision = version.substr(dash + 1);
  return parts;
}

}  // namespace

std::vector<Package> read_dpkg_status(std::string_view text) {
  if (text.size() > kStatusBytesMax) throw Error(ErrorCode::corrupt, "the package database is too long");
  std::vector<Package> packages;
  for_each_paragraph(text, [&](const Paragraph& fields) {
    if (!field(fields, "status").ends_with(" installed")) return;
    Package package = package_of(fields);
    if (!package.name.empty() && !package.version.empty()) packages.push_back(std::move(package));
  });
  std::ranges::sort(packages, [](const Package& a, const Package& b) {
    return std::tie(a.name, a.architecture, a.version) < std::tie(b.name, b.architecture, b.version);
  });
  return packages;
}

std::map<std::string, std::string> read_md5sums(std::string_view text) {
  std::map<std::string, std::string> sums;
  for (const std::string& line : split(text, '\n')) {
    const std::size_t space = line.find("  ");
    if (space != std::string::npos) sums["/" + line.substr(space + 2)] = line.substr(0, space);
  }
  return sums;
}

std::string read_licence(std::string_view copyright) {
  if (!to_lower(copyright.substr(0, 7)).starts_with("format:")) return {};
  std::set<std::string> expressions;
  for_each_paragraph(copyright, [&](const Paragraph& fields) {
    // A paragraph of a licence alone is the text of one that was named before.
    if (!fields.contains("files") || !fields.contains("license")) return;
    const std::string text = field(fields, "license");
    const std::string expression = expression_of(text.substr(0, text.find('\n')));
    if (!expression.empty()) expressions.insert(expression);
  });
  std::string all;
  for (const std::string& one : expressions) {
    if (!all.empty()) all += " AND ";
    all += in_parentheses(one, expressions.size() > 1);
  }
  return all;
}

int compare_versions(std::string_view a, std::string_view b) {
  const VersionParts left = parts_of(a), right = parts_of(b);
  if (const int order = compare_part(left.epoch, right.epoch); order != 0) return order;
  if (const int order = compare_part(left.upstream, right.upstream); order != 0) return order;
  return compare_part(left.revision, right.revision);
}

bool version_matches(std::string_view version, std::string_view wish) {
  if (!version.starts_with(wish)) return false;
  return wish.empty() || version.size() == wish.size() ||
         std::string_view("-+~.:").find(version[wish.size()]) != std::string_view::npos;
}

}  // namespace kiln::proof
