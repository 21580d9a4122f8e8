// kiln sbom: what is in an image, as SPDX or CycloneDX.

#include "base/error.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/proofs.h"
#include "cli/session.h"

namespace kiln::cli {

int run_sbom(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  std::string reference = "latest", format = "spdx", output;
  parser.option("image", reference);
  parser.option("--format", format);
  parser.option("--output,-o", output);
  if (!parser.parse("sbom", words)) return 0;
  if (format != "spdx" && format != "cyclonedx")
    throw Error(ErrorCode::usage, "there is no format '" + format + "'", "Give --format spdx or --format cyclonedx.");

  const catalog::Image image = find_image(context, reference);
  const proof::SbomSubject subject = subject_of(image);
  store::Store store(context.store_folder());
  const std::string_view type = format == "spdx" ? proof::kSpdxType : proof::kCycloneDxType;
  std::optional<std::string> text = proof::find_document(store, subject, type);
  if (!text) {
    prove_contents(store, subject, inventory_of(context, store, subject.digest));
    text = proof::find_document(store, subject, type);
  }
  if (output.empty()) {
    say(*text);
  } else {
    host::write_file(output, *text + "\n");
  }
  return 0;
}

}  // namespace kiln::cli
