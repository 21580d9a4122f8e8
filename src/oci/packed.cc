// Packed: libarchive's filters, with a format that takes any bytes.
#include "oci/packed.h"

#include <archive_entry.h>
#include <fmt/format.h>

namespace kiln::oci {
namespace {
constexpr std::size_t kReadBytes = 256U << 10;
}

Error unreadable(archive* reader) {
  const char* why = archive_error_string(reader);
  return {ErrorCode::corrupt, fmt::format("this is no whole tar archive: {}", why != nullptr ? why : "cut off"),
          "is it complete? tar, .gz, .zst and .xz are read"};
}

Packed::Packed(const host::Path& file) : reader_(archive_read_new(), &archive_read_free) {
  archive_read_support_format_raw(reader_.get());
  archive_read_support_format_empty(reader_.get());
  archive_read_support_filter_gzip(reader_.get());
  archive_read_support_filter_zstd(reader_.get());
  archive_read_support_filter_xz(reader_.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_filename(reader_.get(), file.c_str(), kReadBytes) != ARCHIVE_OK)
    throw unreadable(reader_.get());
  const int got = archive_read_next_header(reader_.get(), &entry);
  ended_ = got == ARCHIVE_EOF;
  if (!ended_ && got != ARCHIVE_OK && got != ARCHIVE_WARN) throw unreadable(reader_.get());
}

std::string_view Packed::next() {
  const void* bytes = nullptr;
  std::size_t count = 0;
  la_int64_t offset = 0;
  while (!ended_ && count == 0) {
    const int got = archive_read_data_block(reader_.get(), &bytes, &count, &offset);
    if (got == ARCHIVE_EOF) {
      ended_ = true;
      return {};
    }
    if (got != ARCHIVE_OK && got != ARCHIVE_WARN) throw unreadable(reader_.get());
  }
  const std::string_view piece(static_cast<const char*>(bytes), count);
  sha_.update(piece);
  return piece;
}

Digest Packed::digest() {
  while (!next().empty()) {
  }
  return sha_.finish();
}

}  // namespace kiln::oci
