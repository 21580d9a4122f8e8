// Provenance: how an image came to be, as an in-toto Statement v1 with SLSA's provenance v1.
//
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance. Pure:
// the same record gives the same bytes.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"

namespace kiln::proof {

inline constexpr std::string_view kStatementV1 = "https://in-toto.io/Statement/v1";
inline constexpr std::string_view kProvenanceV1 = "https://slsa.dev/provenance/v1";
inline constexpr std::string_view kSpdxPredicate = "https://spdx.dev/Document";
inline constexpr std::string_view kCycloneDxPredicate = "https://cyclonedx.org/bom";
inline constexpr std::string_view kBuildType = "urn:kiln:bake:v1";
inline constexpr std::string_view kInstanceBuildType = "urn:kiln:bake-in-instance:v1";
inline constexpr std::string_view kBuilder = "urn:kiln:builder";  // of a Kiln that was not told another name

struct BakeRecord {
  struct Layer {
    std::string step;
    Digest key;     // of all that it depends on: the step, its inputs, the layers below
    Digest digest;  // of its bytes
    bool reused = false;
  };
  struct Test {
    std::string name;
    bool passed = false;
  };
  struct Input {
    std::string name;
    Digest digest;
  };
  std::string build_type = std::string(kBuildType);
  std::string app;
  std::string version;
  Digest digest;            // of the image
  std::string recipe_name;  // "kiln.yaml"
  std::string recipe_text;
  Digest recipe;                                  // of recipe and inputs together
  std::string base;                               // "debian:bookworm@sha256:.."
  std::string commit;                             // empty: not in a git repository
  std::vector<Input> inputs;                      // of single steps, where they are known
  std::map<std::string, std::string> parameters;  // of this build, that the recipe does not say: where it was done
  std::vector<Layer> layers;
  std::vector<std::string> packages;  // package URLs
  std::vector<Test> tests;
  std::string builder = std::string(kBuilder);
  std::string kiln;        // version
  std::string invocation;  // names this bake
  Time started{};
  Time finished{};
};

std::string write_provenance(const BakeRecord& record);

// A statement about one image; `predicate` is a JSON object.
std::string write_statement(const std::string& name, const Digest& digest, std::string_view predicate_type,
                            std::string_view predicate);

struct Statement {
  std::vector<Digest> subjects;
  std::string predicate_type;
  std::string predicate;  // JSON
  bool is_about(const Digest& digest) const;
};
Statement read_statement(std::string_view text);  // Error(corrupt)

// What a predicate of type kProvenanceV1 says; empty where it says nothing.
struct Provenance {
  std::string build_type;
  std::string app;
  std::string version;
  std::string base;
  std::string commit;
  std::string builder;
  Time finished{};
  std::vector<BakeRecord::Test> tests;
};
Provenance read_provenance(std::string_view predicate);  // Error(corrupt)

}  // namespace kiln::proof
