// Parcel: files as a compressed tar archive, in pieces that a command of Systems Manager can carry. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kiln::builder {

struct ParcelEntry {
  enum class Kind { file, folder, link };
  Kind kind = Kind::file;
  std::string path;  // absolute
  std::string content{};
  std::string target{};  // of a link
  unsigned mode = 0644;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t seconds = 0;  // mtime
};

// Of all pieces of one parcel, before base64. What is larger belongs into a package, or somewhere a step fetches it
// from: each piece is a call, and stays in the account's command history for a month.
inline constexpr std::size_t kParcelBytesMax = std::size_t{4} << 20;
// Of the base64 text in one command. AWS bounds a command's parameters without saying where in SendCommand's page; this
// is half of the 64 KiB that a document may have.
inline constexpr std::size_t kPieceBytes = std::size_t{32} << 10;

// gzip of a tar archive; the same bytes for the same entries.
std::string pack(const std::vector<ParcelEntry>& entries);
// Scripts, to be run one after another: they put the entries in place below '/'. Folders that are there keep owner and
// mode, links to folders are followed. The last one then runs /run/kiln/step by /bin/sh when `run` says so (/run may be
// mounted without the right to execute), and ends with its status. Throws Error(unsupported) for what is larger than
// kParcelBytesMax.
std::vector<std::string> deliver(const std::vector<ParcelEntry>& entries, bool run);

}  // namespace kiln::builder
