// Fuzzer of the export's reader: whatever the bytes, an Entry that is written the same again, or Error(invalid).
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "ledger/entry.h"
#include "ledger/ledger.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  kiln::ledger::verify_lines(text);
  try {
    const kiln::ledger::Entry entry = kiln::ledger::parse_line(text);
    KILN_ASSERT(kiln::ledger::to_line(entry) == text, "an entry was read that is written otherwise");
  } catch (const kiln::Error& error) {
    KILN_ASSERT(error.code() == kiln::ErrorCode::invalid, "a damaged line is an invalid one");
  }
  return 0;
}
