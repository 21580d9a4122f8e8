// Client: a blob comes down, in as many pieces as the network leaves it in.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "host/os_error.h"
#include "registry/client.h"
#include "registry/header_values.h"

namespace kiln::registry {
namespace {

constexpr int kTriesWithoutProgress = 6;  // as Session's; a try that brings bytes begins the count anew

Error io_error(const host::Path& file, int code) {
  const Error error = host::os_error("keeping " + file.string(), code);
  if (error.code() != ErrorCode::disk_full) return error;
  return {error.code(), error.message(), "Make room and say the same again: what has come is kept."};
}

}  // namespace

// The file, how much of it is there, and the digest of that.
struct Client::Progress {
  Progress(const host::Path& where, const OnBytes& counts) : file(where), on_bytes(counts) {
    fd = host::FileDescriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) throw io_error(file, errno);
    std::string buffer(std::size_t{1} << 20, '\0');
    for (;;) {
      const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw io_error(file, errno);
      if (got == 0) break;
      hash.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(got)));
      have += static_cast<std::uint64_t>(got);
    }
    resumed = have > 0;
    count(static_cast<std::int64_t>(have));
  }
  void count(std::int64_t bytes) const {
    if (on_bytes && bytes != 0) on_bytes(bytes);
  }
  void restart() {
    if (::ftruncate(fd.get(), 0) != 0 || ::lseek(fd.get(), 0, SEEK_SET) != 0) throw io_error(file, errno);
    count(-static_cast<std::int64_t>(have));
    hash = Sha256();
    have = 0;
    handed_to_disk = 0;
    resumed = false;
  }
  void append(std::string_view bytes) {
    hash.update(bytes);
    for (std::string_view left = bytes; !left.empty();) {
      const ssize_t written = ::write(fd.get(), left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw io_error(file, errno);
      left.remove_prefix(static_cast<std::size_t>(written));
    }
    have += bytes.size();
    // The disk begins now what it would have to do at the end, all at once.
    constexpr std::uint64_t kBehind = std::uint64_t{8} << 20;
    if (have - handed_to_disk >= kBehind) {
      ::sync_file_range(fd.get(), static_cast<off_t>(handed_to_disk), static_cast<off_t>(have - handed_to_disk),
                        SYNC_FILE_RANGE_WRITE);
      handed_to_disk = have;
    }
    count(static_cast<std::int64_t>(bytes.size()));
  }

  host::Path file;
  const OnBytes& on_bytes;
  host::FileDescriptor fd;
  Sha256 hash;
  std::uint64_t have = 0;
  std::uint64_t handed_to_disk = 0;
  bool resumed = false;  // some of it is from an earlier process
  bool ranges = true;    // the registry answers a Range with what was asked for
};

namespace {

std::string says_other_size(const http::Response& head, const store::Blob& blob) {
  const auto length = parse_int(head.headers.get("Content-Length"));
  if (!length || static_cast<std::uint64_t>(*length) == blob.size_bytes) return {};
  return fmt::format("the manifest says {} bytes, the registry {}", blob.size_bytes, *length);
}

}  // namespace

// True when the registry answered with bytes of the blob; false when the same shall be asked in another way.
bool Client::fetch_once(const std::string& repository, const store::Blob& blob, Progress& progress) {
  bool wrong_range = false, begun = false;
  http::Streams streams;
  const auto begin = [&](const http::Response& head) {
    begun = true;
    if (media_type_of(head.headers.get("Content-Type")) == "text/html") {
      throw Error(ErrorCode::corrupt, "the registry sent a web page (text/html) where a blob was asked for",
                  "Check that the address is a registry's: a login page or a proxy may stand before it.");
    }
    if (head.status == 200) {
      if (const std::string other = says_other_size(head, blob); !other.empty()) throw Error(ErrorCode::corrupt, other);
      if (progress.have > 0) progress.restart();
      return;
    }
    const auto range = parse_content_range(head.headers.get("Content-Range"));
    wrong_range = !range || range->first != progress.have || range->total.value_or(blob.size_bytes) != blob.size_bytes;
    if (wrong_range) throw Error(ErrorCode::invalid, "the registry answered with another range than was asked for");
  };
  streams.take = [&](const http::Response& head, std::string_view piece) {
    if (head.status != 200 && head.status != 206) return false;
    if (!begun) begin(head);
    if (progress.have + piece.size() > blob.size_bytes) {
      throw Error(ErrorCode::corrupt,
                  fmt::format("the registry sends more than the {} bytes that the manifest says", blob.size_bytes));
    }
    progress.append(piece);
    return true;
  };
  Call call;
  call.url = fmt::format("/v2/{}/blobs/{}", repository, blob.digest.str());
  call.scopes = {{repository, "pull"}};
  call.streams = &streams;
  call.tries = 1;
  if (progress.have > 0 && progress.ranges) call.headers.set("Range", fmt::format("bytes={}-", progress.have));
  http::Response answer;
  try {
    answer = session_.call(call);
  } catch (const Error&) {
    if (!wrong_range || !progress.ranges) throw;
  }
  if ((wrong_range || answer.status == 416) && progress.ranges) {
    progress.ranges = false;
    progress.restart();
    return false;
  }
  if (answer.status == 200 || answer.status == 206) return true;
  if (answer.status == 404) {
    throw Error(
        ErrorCode::not_found,
        fmt::format("{} has no blob {} in {}, though a manifest names it", registry(), blob.digest.str(), repository),
        "Push the image again from where it was made.");
  }
  if (answer.status == 429 || answer.status >= 500) {
    session_.wait_before_next_try(0, &answer);
    throw Error(ErrorCode::unavailable,
                fmt::format("{} answered {}: {}", registry(), answer.status, Session::said(answer)),
                "The registry is in trouble; say the same again later: what has come is kept.");
  }
  throw Error(ErrorCode::invalid, fmt::format("{} answered {}: {}", registry(), answer.status, Session::said(answer)));
}

void Client::fetch_rest(const std::string& repository, const store::Blob& blob, Progress& progress) {
  for (int tries = 0; progress.have < blob.size_bytes;) {
    const std::uint64_t before = progress.have;
    try {
      if (fetch_once(repository, blob, progress) && progress.have < blob.size_bytes) {
        throw Error(ErrorCode::unavailable,
                    fmt::format("{} broke off after {} of {} bytes", registry(), progress.have, blob.size_bytes),
                    "Say the same again: what has come is kept.");
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unavailable && error.code() != ErrorCode::timeout) throw;
      tries = progress.have > before ? 0 : tries + 1;
      if (tries >= kTriesWithoutProgress) throw;
      session_.wait_before_next_try(tries, nullptr);
    }
  }
}

void Client::fetch_blob(const std::string& repository, const store::Blob& blob, const host::Path& file,
                        const OnBytes& on_bytes) {
  with_context(fmt::format("fetching {} from {}/{}", blob.digest.str(), registry(), repository), [&] {
    try {
      Progress progress(file, on_bytes);
      if (progress.have > blob.size_bytes) progress.restart();
      fetch_rest(repository, blob, progress);
      Digest found = progress.hash.finish();
      if (found != blob.digest && progress.resumed) {
        // What an earlier process left may have been damaged by a crash: all of it comes once more.
        progress.restart();
        fetch_rest(repository, blob, progress);
        found = progress.hash.finish();
      }
      if (found != blob.digest)
        throw Error(ErrorCode::corrupt, fmt::format("what came has the digest {}", found.str()));
    } catch (Error& error) {
      if (error.code() == ErrorCode::corrupt) {
        std::error_code ignored;
        std::filesystem::remove(file, ignored);
        error.suggest("Do not trust this registry, or what stands between it and us; nothing of it was kept.");
      }
      throw;
    }
  });
}

}  // namespace kiln::registry
