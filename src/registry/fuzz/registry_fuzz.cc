// Fuzzer: any bytes as a header field, a reference or a manifest are a value, nothing, or an Error; and what was read
// is written back so that it reads the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "registry/document.h"
#include "registry/header_values.h"
#include "registry/reference.h"

namespace {

using namespace kiln;

template <typename Parse>
void only(std::initializer_list<ErrorCode> allowed, Parse&& parse) {
  try {
    parse();
  } catch (const Error& error) {
    for (const ErrorCode code : allowed) {
      if (error.code() == code) return;
    }
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  registry::parse_challenges(bytes);
  registry::parse_next_link(bytes);
  if (const auto range = registry::parse_content_range(bytes); range && range->first > range->last) std::abort();
  registry::parse_upload_range(bytes);
  registry::parse_retry_after(bytes, Time());
  if (!bytes.empty() && !registry::is_tag(registry::to_tag(bytes))) std::abort();
  only({ErrorCode::usage}, [&] {
    const registry::Reference reference = registry::parse_reference(bytes);
    if (!(registry::parse_reference(reference.str()) == reference)) std::abort();
  });
  only({ErrorCode::corrupt, ErrorCode::unsupported}, [&] { registry::read_document(bytes, ""); });
  only({ErrorCode::corrupt}, [&] {
    const std::string written = registry::write_referrers(registry::read_referrers(bytes));
    if (registry::write_referrers(registry::read_referrers(written)) != written) std::abort();
  });
  return 0;
}
