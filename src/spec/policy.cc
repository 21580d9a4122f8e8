// Policy: its table of keys, and the values.
#include "spec/policy.h"

#include "spec/shape.h"
#include "spec/tree.h"

namespace kiln::spec {
namespace {

constexpr std::int64_t kAgeSecondsMax = std::int64_t{10} * 366 * 24 * 3600;

const Shape& policy_shape() {
  using Kind = Shape::Kind;
  static const Shape file{.kind = Kind::text, .what = "a file of a public key", .pattern = "[^\\n]+"};
  static const Shape files{.kind = Kind::item_or_list, .item = &file, .min = 1, .max = 100};
  static const Shape passed{.kind = Kind::text, .choices = {"passed"}};
  static const Shape required{.kind = Kind::text, .choices = {"required"}};
  static const Shape builder{
      .kind = Kind::text, .what = "a builder's name, such as urn:kiln:builder", .pattern = "[^\\s]+"};
  static const Shape age{.kind = Kind::duration, .min = 1, .max = kAgeSecondsMax};
  static const Shape base{.kind = Kind::text, .what = "a base, such as debian:bookworm", .pattern = "[^\\s]+"};
  static const Shape bases{.kind = Kind::item_or_list, .item = &base, .min = 1, .max = 100};
  static const Shape package{.kind = Kind::text, .what = "a Debian package", .pattern = "[a-z0-9][a-z0-9+.-]+"};
  static const Shape packages{.kind = Kind::item_or_list, .item = &package, .min = 1, .max = 1000};
  static const Shape version{.kind = Kind::text, .what = "a Debian version", .pattern = "[0-9][A-Za-z0-9.+:~-]*"};
  static const Shape minimum{.kind = Kind::named,
                             .what = "a Debian package",
                             .pattern = "[a-z0-9][a-z0-9+.-]+",
                             .item = &version,
                             .min = 1,
                             .max = 1000};
  static const Shape package_rules{
      .kind = Kind::mapping,
      .keys = {{"forbidden", &packages, "Packages that may not be installed."},
               {"minimum", &minimum, "The oldest version of each that may be installed."}}};
  static const Shape shape{.kind = Kind::mapping,
                           .keys = {{"signed_by", &files, "Public keys; each of them must have signed the image."},
                                    {"tests", &passed, "The image's tests must have passed."},
                                    {"commit", &required, "The image must be made from a known git commit."},
                                    {"builder", &builder, "Who must have built it."},
                                    {"max_age", &age, "How old it may be."},
                                    {"base", &bases, "What it may stand on."},
                                    {"packages", &package_rules, "What may be installed."}}};
  return shape;
}

std::vector<std::string> texts_of(const Node& node) {
  if (node.is_scalar()) return {node.text};
  std::vector<std::string> texts;
  for (const auto& [none, value] : node.entries) texts.push_back(value.text);
  return texts;
}

}  // namespace

Policy parse_policy(std::string_view text, std::string file_name) {
  const Source source{std::move(file_name), std::string(text)};
  const Node node = parse_tree(source);
  check(source, node, policy_shape(), "policy");
  if (node.entries.empty()) throw source.error({}, "the policy asks for nothing");
  Policy policy;
  if (const Node* keys = node.find("signed_by")) policy.signed_by = texts_of(*keys);
  policy.tests_passed = node.find("tests") != nullptr;
  policy.commit_required = node.find("commit") != nullptr;
  if (const Node* builder = node.find("builder")) policy.builder = builder->text;
  if (const Node* age = node.find("max_age")) policy.max_age = parse_duration(age->text);
  if (const Node* base = node.find("base")) policy.base = texts_of(*base);
  if (const Node* packages = node.find("packages")) {
    if (const Node* forbidden = packages->find("forbidden")) policy.packages_forbidden = texts_of(*forbidden);
    if (const Node* minimum = packages->find("minimum")) {
      for (const auto& [name, version] : minimum->entries) policy.packages_minimum[name.text] = version.text;
    }
  }
  return policy;
}

}  // namespace kiln::spec
