// Fuzzer: any bytes as envelope, statement, provenance, SBOM or kept layer are a value or an Error(corrupt); an
// envelope and a layer come back as they were.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/testing/fuzzing.h"
#include "proof/dsse.h"
#include "proof/layer.h"
#include "proof/provenance.h"
#include "proof/sbom.h"

using kiln::testing::value_or_corrupt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  value_or_corrupt([&] {
    const kiln::proof::Envelope envelope = kiln::proof::read_envelope(bytes);
    if (!(kiln::proof::read_envelope(kiln::proof::write_envelope(envelope)) == envelope)) std::abort();
  });
  value_or_corrupt([&] { kiln::proof::read_provenance(kiln::proof::read_statement(bytes).predicate); });
  value_or_corrupt([&] { kiln::proof::read_provenance(bytes); });
  value_or_corrupt([&] { kiln::proof::sbom_subject(bytes); });
  value_or_corrupt([&] { kiln::proof::sbom_packages(bytes); });
  value_or_corrupt([&] {
    const kiln::proof::LayerContents layer = kiln::proof::parse_layer(bytes);
    if (!(kiln::proof::parse_layer(kiln::proof::write_layer(layer)) == layer)) std::abort();
  });
  return 0;
}
