// Fuzzer: any bytes as envelope, statement, provenance or SBOM are a value or an Error(corrupt); an envelope comes back
// as it was.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "proof/dsse.h"
#include "proof/provenance.h"
#include "proof/sbom.h"

namespace {

template <typename Parse>
void only_corrupt(Parse&& parse) {
  try {
    parse();
  } catch (const kiln::Error& error) {
    if (error.code() != kiln::ErrorCode::corrupt) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  only_corrupt([&] {
    const kiln::proof::Envelope envelope = kiln::proof::read_envelope(bytes);
    if (!(kiln::proof::read_envelope(kiln::proof::write_envelope(envelope)) == envelope)) std::abort();
  });
  only_corrupt([&] { kiln::proof::read_provenance(kiln::proof::read_statement(bytes).predicate); });
  only_corrupt([&] { kiln::proof::read_provenance(bytes); });
  only_corrupt([&] { kiln::proof::sbom_subject(bytes); });
  only_corrupt([&] { kiln::proof::sbom_packages(bytes); });
  only_corrupt([&] { kiln::proof::parse_layer(bytes); });
  return 0;
}
