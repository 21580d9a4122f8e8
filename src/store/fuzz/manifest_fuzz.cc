// Fuzzer: any bytes as manifest, config or index are a value that is written back the same, or an Error(corrupt).
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/testing/fuzzing.h"
#include "store/manifest.h"

using kiln::testing::value_or_corrupt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  value_or_corrupt([&] {
    const kiln::store::Manifest manifest = kiln::store::read_manifest(bytes);
    if (!(kiln::store::read_manifest(kiln::store::write_manifest(manifest)) == manifest)) std::abort();
  });
  value_or_corrupt([&] { kiln::store::read_config(bytes); });
  value_or_corrupt([&] {
    const kiln::store::ArtifactManifest artifact = kiln::store::read_artifact(bytes);
    if (!(kiln::store::read_artifact(kiln::store::write_artifact(artifact)) == artifact)) std::abort();
  });
  value_or_corrupt([&] { kiln::store::read_head(bytes); });
  value_or_corrupt([&] {
    const std::string written = kiln::store::write_index(kiln::store::read_index(bytes));
    if (kiln::store::write_index(kiln::store::read_index(written)) != written) std::abort();
  });
  return 0;
}
