// Parcel: see parcel.h.
#include "builder/parcel.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <memory>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"

namespace kiln::builder {
namespace {

using Archive = std::unique_ptr<archive, int (*)(archive*)>;
using Entry = std::unique_ptr<archive_entry, void (*)(archive_entry*)>;

void must(int result, archive* writer) {
  if (result == ARCHIVE_OK) return;
  throw Error(ErrorCode::internal, fmt::format("cannot write an archive: {}", archive_error_string(writer)));
}

la_ssize_t append(archive*, void* out, const void* bytes, size_t size) {
  static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

void add(archive* writer, const ParcelEntry& entry) {
  const Entry header(archive_entry_new(), archive_entry_free);
  archive_entry_set_pathname(header.get(), entry.path.substr(1).c_str());
  archive_entry_set_perm(header.get(), entry.mode);
  archive_entry_set_uid(header.get(), entry.uid);
  archive_entry_set_gid(header.get(), entry.gid);
  archive_entry_set_mtime(header.get(), entry.seconds, 0);
  switch (entry.kind) {
    case ParcelEntry::Kind::file:
      archive_entry_set_filetype(header.get(), AE_IFREG);
      archive_entry_set_size(header.get(), static_cast<la_int64_t>(entry.content.size()));
      break;
    case ParcelEntry::Kind::folder:
      archive_entry_set_filetype(header.get(), AE_IFDIR);
      break;
    case ParcelEntry::Kind::link:
      archive_entry_set_filetype(header.get(), AE_IFLNK);
      archive_entry_set_symlink(header.get(), entry.target.c_str());
      break;
  }
  must(archive_write_header(writer, header.get()), writer);
  if (entry.kind != ParcelEntry::Kind::file || entry.content.empty()) return;
  if (archive_write_data(writer, entry.content.data(), entry.content.size()) < 0) must(ARCHIVE_FATAL, writer);
}

}  // namespace

std::string pack(const std::vector<ParcelEntry>& entries) {
  std::string out;
  const Archive writer(archive_write_new(), archive_write_free);
  must(archive_write_set_format_gnutar(writer.get()), writer.get());
  must(archive_write_add_filter_gzip(writer.get()), writer.get());
  must(archive_write_set_filter_option(writer.get(), "gzip", "timestamp", nullptr), writer.get());
  must(archive_write_set_bytes_in_last_block(writer.get(), 1), writer.get());
  must(archive_write_open(writer.get(), &out, nullptr, append, nullptr), writer.get());
  for (const ParcelEntry& entry : entries) add(writer.get(), entry);
  must(archive_write_close(writer.get()), writer.get());
  return out;
}

std::vector<std::string> deliver(const std::vector<ParcelEntry>& entries, bool run) {
  const std::string packed = pack(entries);
  if (packed.size() > kParcelBytesMax) {
    throw Error(ErrorCode::unsupported,
                fmt::format("{} compressed do not go through Systems Manager: at most {} do",
                            format_bytes(packed.size()), format_bytes(kParcelBytesMax)),
                "Put them into a package, or let a 'run' step fetch them; or bake offline: kiln bake.");
  }
  const std::string text = base64_encode(packed);
  std::vector<std::string> scripts;
  for (std::size_t at = 0; at < text.size(); at += kPieceBytes) {
    scripts.push_back(fmt::format("set -e\numask 077\nmkdir -p /run/kiln\nprintf %s '{}' {} /run/kiln/parcel\n",
                                  text.substr(at, kPieceBytes), at == 0 ? ">" : ">>"));
  }
  std::string& last = scripts.back();
  last +=
      "base64 -d /run/kiln/parcel | tar -xzf - -C / --no-overwrite-dir --keep-directory-symlink\n"
      "rm -f /run/kiln/parcel\n";
  if (run) last += "umask 022\nstatus=0\n/bin/sh /run/kiln/step || status=$?\nrm -rf /run/kiln\nexit $status\n";
  return scripts;
}

}  // namespace kiln::builder
