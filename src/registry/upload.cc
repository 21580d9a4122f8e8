// Client: a blob goes up: taken from a neighbour, in one piece, or in chunks that are taken up again where they were
// cut.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "host/os_error.h"
#include "registry/client.h"
#include "registry/header_values.h"

namespace kiln::registry {
namespace {

constexpr int kTriesWithoutProgress = 6;  // as Session's; a chunk that arrives begins the count anew
constexpr std::size_t kLocationBytesMax = std::size_t{8} << 10;

}  // namespace

// A blob under way: its bytes, where the rest goes, how much has arrived.
struct Client::Sending {
  Sending(const std::string& where, const Upload& what, const OnBytes& counts)
      : repository(where), upload(what), on_bytes(counts) {
    fd = host::FileDescriptor(::open(upload.file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) throw host::os_error("reading " + upload.file.string(), errno);
  }
  std::uint64_t size() const { return upload.blob.size_bytes; }
  // Shows `bytes` of the blob as sent, whether that is more than before or less.
  void show(std::uint64_t bytes) {
    if (on_bytes && bytes != shown) on_bytes(static_cast<std::int64_t>(bytes) - static_cast<std::int64_t>(shown));
    shown = bytes;
  }
  void note() const {
    if (!upload.note.empty()) host::write_file(upload.note, location, 0600);  // the address may hold a secret
  }
  void forget() const {
    std::error_code ignored;
    if (!upload.note.empty()) std::filesystem::remove(upload.note, ignored);
  }
  // The bytes from `first` up to `end` as a request's body.
  http::Streams body(std::uint64_t first, std::uint64_t end) {
    http::Streams streams;
    streams.send_bytes = end - first;
    streams.read = [this, first, end](std::uint64_t at, char* into, std::size_t most) {
      const std::uint64_t left = end - first - at;
      const ssize_t got = ::pread(fd.get(), into, std::min<std::uint64_t>(most, left), static_cast<off_t>(first + at));
      if (got < 0) throw host::os_error("reading " + upload.file.string(), errno);
      if (got == 0 && left > 0) {
        throw Error(ErrorCode::corrupt, fmt::format("{}: shorter than it should be", upload.file.string()));
      }
      show(std::max(shown, first + at + static_cast<std::uint64_t>(got)));
      return static_cast<std::size_t>(got);
    };
    return streams;
  }

  const std::string& repository;
  const Upload& upload;
  const OnBytes& on_bytes;
  host::FileDescriptor fd;
  std::string location;
  std::uint64_t arrived = 0;
  std::uint64_t shown = 0;
  std::uint64_t chunk_bytes_min = 0;  // the registry's wish
};

bool Client::take_location(Sending& sending, const http::Response& answer) {
  std::string location(answer.headers.get("Location"));
  if (location.empty() || location.size() > kLocationBytesMax) return false;
  // A registry behind a proxy may not know that it is reached by TLS.
  const std::string home = session_.origin();
  const std::string host = home.substr(home.find("://"));
  if (location.starts_with("http" + host + "/")) location.erase(0, 4 + host.size());
  if (!location.starts_with('/') && location.find("://") == std::string::npos) {
    location = fmt::format("/v2/{}/blobs/uploads/{}", sending.repository, location);
  }
  sending.location = std::move(location);
  return true;
}

std::string Client::finishing_url(const Sending& sending) const {
  return sending.location + (sending.location.find('?') == std::string::npos ? "?" : "&") +
         "digest=" + percent_encode(sending.upload.blob.digest.str());
}

bool Client::begin_upload(Sending& sending, const std::string& mount_from) {
  Call call;
  call.method = "POST";
  call.url = fmt::format("/v2/{}/blobs/uploads/", sending.repository);
  call.scopes = {{sending.repository, "pull,push"}};
  if (!mount_from.empty()) {
    call.url +=
        fmt::format("?mount={}&from={}", percent_encode(sending.upload.blob.digest.str()), percent_encode(mount_from));
    call.scopes.push_back({mount_from, "pull"});
  }
  http::Response answer;
  try {
    answer = session_.call(call);
  } catch (const Error& error) {
    // We may not be allowed to see the neighbour; that is no reason not to send it ourselves.
    if (mount_from.empty() || error.code() != ErrorCode::denied) throw;
    return begin_upload(sending, {});
  }
  if (answer.status == 201 && !mount_from.empty()) return false;
  if (answer.status == 404) {
    throw Error(ErrorCode::not_found,
                fmt::format("{} has no repository {} and makes none: {}", registry(), sending.repository,
                            Session::said(answer)),
                "Create the repository first, with the registry's own tool.");
  }
  if (answer.status != 202 || !take_location(sending, answer)) {
    throw Error(ErrorCode::invalid,
                fmt::format("{} does not say where a blob may be sent: {}, {}", registry(), answer.status,
                            Session::said(answer)),
                "Check that the address is a registry's.");
  }
  const auto least = parse_int(answer.headers.get("OCI-Chunk-Min-Length"));
  if (least && *least > 0) sending.chunk_bytes_min = static_cast<std::uint64_t>(*least);
  sending.arrived = 0;
  sending.show(0);
  return true;
}

bool Client::find_upload(Sending& sending) {
  Call call;
  call.url = sending.location;
  call.scopes = {{sending.repository, "pull,push"}};
  call.tries = 2;
  try {
    const http::Response answer = session_.call(call);
    const auto arrived = parse_upload_range(answer.headers.get("Range"));
    if (answer.status != 204 || !arrived || *arrived > sending.size()) return false;
    take_location(sending, answer);
    sending.arrived = *arrived;
    sending.show(*arrived);
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    return false;  // what is in trouble will say so when it is asked for a new address
  }
}

bool Client::send_chunk(Sending& sending) {
  const std::uint64_t first = sending.arrived;
  const std::uint64_t end = std::min(sending.size(), first + std::max(chunk_bytes_, sending.chunk_bytes_min));
  const http::Streams body = sending.body(first, end);
  Call call;
  call.method = "PATCH";
  call.url = sending.location;
  call.headers.set("Content-Type", "application/octet-stream");
  call.headers.set("Content-Range", fmt::format("{}-{}", first, end - 1));
  call.scopes = {{sending.repository, "pull,push"}};
  call.streams = &body;
  call.tries = 1;
  const http::Response answer = session_.call(call);
  if (answer.status == 202 || answer.status == 204 || answer.status == 201) {
    take_location(sending, answer);
    const auto arrived = parse_upload_range(answer.headers.get("Range"));
    if (arrived && *arrived > end) {
      throw Error(ErrorCode::invalid, fmt::format("{} says that it has {} bytes of {}; {} were sent", registry(),
                                                  *arrived, sending.upload.blob.digest.str(), end));
    }
    sending.arrived = arrived.value_or(end);
    sending.show(sending.arrived);
    sending.note();
    return true;
  }
  const bool refused = answer.status == 400 || answer.status == 405 || answer.status == 411 || answer.status == 501;
  if (refused && first == 0) return false;
  if (answer.status == 429 || answer.status >= 500) session_.wait_before_next_try(0, &answer);
  throw Error(ErrorCode::unavailable,
              fmt::format("{} answered a piece of {} with {}: {}", registry(), sending.upload.blob.digest.str(),
                          answer.status, Session::said(answer)),
              "Say the same again: what has arrived whole stays there.");
}

// From `arrived` on; whatever breaks is looked at and taken up again. Falls back to one piece.
void Client::send_chunks(Sending& sending) {
  for (int tries = 0; sending.arrived < sending.size();) {
    const std::uint64_t before = sending.arrived;
    try {
      if (!send_chunk(sending)) {
        begin_upload(sending, {});
        return send_whole(sending);
      }
      if (sending.arrived > before) {
        tries = 0;
        continue;
      }
      throw Error(ErrorCode::unavailable, fmt::format("{} takes nothing more of {} after {} bytes", registry(),
                                                      sending.upload.blob.digest.str(), before));
    } catch (const Error& error) {
      const bool passes = error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
      if (!passes || ++tries >= kTriesWithoutProgress) throw;
      session_.wait_before_next_try(tries, nullptr);
      if (!find_upload(sending)) begin_upload(sending, {});
    }
  }
  Call call;
  call.method = "PUT";
  call.url = finishing_url(sending);
  call.scopes = {{sending.repository, "pull,push"}};
  const http::Response answer = session_.call(call);
  // After an answer that was lost, the upload is gone because the blob is there.
  if (answer.status == 201 || has_blob(sending.repository, sending.upload.blob.digest)) return;
  sending.forget();
  throw Error(ErrorCode::corrupt,
              fmt::format("{} does not take {}: {}, {}", registry(), sending.upload.blob.digest.str(), answer.status,
                          Session::said(answer)),
              "Say the same again; if it fails again, the blob may be altered on this disk: kiln verify.");
}

void Client::send_whole(Sending& sending) {
  for (int tries = 0;; ++tries) {
    try {
      const http::Streams body = sending.body(0, sending.size());
      Call call;
      call.method = "PUT";
      call.url = finishing_url(sending);
      call.headers.set("Content-Type", "application/octet-stream");
      call.scopes = {{sending.repository, "pull,push"}};
      call.streams = &body;
      call.tries = 1;
      const http::Response answer = session_.call(call);
      if (answer.status == 201) return;
      if (answer.status == 429 || answer.status >= 500) session_.wait_before_next_try(0, &answer);
      const bool passes = answer.status == 429 || answer.status >= 500 || answer.status == 404 || answer.status == 416;
      throw Error(passes ? ErrorCode::unavailable : ErrorCode::corrupt,
                  fmt::format("{} does not take {}: {}, {}", registry(), sending.upload.blob.digest.str(),
                              answer.status, Session::said(answer)),
                  "Say the same again; if it fails again, the blob may be altered on this disk: kiln verify.");
    } catch (const Error& error) {
      const bool passes = error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
      if (!passes || tries + 1 >= kTriesWithoutProgress) throw;
      session_.wait_before_next_try(tries, nullptr);
      if (has_blob(sending.repository, sending.upload.blob.digest)) return;
      begin_upload(sending, {});
    }
  }
}

Pushed Client::push_blob(const std::string& repository, const Upload& upload, const OnBytes& on_bytes) {
  return with_context(fmt::format("sending {} to {}/{}", upload.blob.digest.str(), registry(), repository), [&] {
    Sending sending(repository, upload, on_bytes);
    if (!upload.note.empty() && std::filesystem::exists(upload.note)) {
      sending.location = host::read_file(upload.note);
      if (!sending.location.empty() && find_upload(sending)) {
        send_chunks(sending);
        sending.forget();
        return Pushed::sent;
      }
    }
    if (!begin_upload(sending, upload.mount_from)) {
      sending.show(sending.size());
      return Pushed::mounted;
    }
    if (sending.size() <= chunk_bytes_) {
      send_whole(sending);
    } else {
      sending.note();
      send_chunks(sending);
    }
    sending.forget();
    return Pushed::sent;
  });
}

bool Client::mount_blob(const std::string& repository, const store::Blob& blob, const std::string& from) {
  Call call;
  call.method = "POST";
  call.url = fmt::format("/v2/{}/blobs/uploads/?mount={}&from={}", repository, percent_encode(blob.digest.str()),
                         percent_encode(from));
  call.scopes = {{repository, "pull,push"}, {from, "pull"}};
  const http::Response answer = session_.call(call);
  if (answer.status != 202) return answer.status == 201;
  // It has begun an upload instead; that shall not lie there until the registry's own cleaning.
  if (std::string location(answer.headers.get("Location")); location.starts_with('/')) {
    Call end;
    end.method = "DELETE";
    end.url = location;
    end.scopes = {{repository, "pull,push"}};
    end.tries = 1;
    session_.call(end);
  }
  return false;
}

bool Client::has_blob(const std::string& repository, const Digest& digest) {
  Call call;
  call.method = "HEAD";
  call.url = fmt::format("/v2/{}/blobs/{}", repository, digest.str());
  call.scopes = {{repository, "pull,push"}};
  const http::Response answer = session_.call(call);
  if (answer.status == 200) return true;
  if (answer.status == 404 || answer.status == 400) return false;
  throw Error(ErrorCode::invalid, fmt::format("{} answered the question for a blob with {}", registry(), answer.status),
              "Check that the address is a registry's.");
}

}  // namespace kiln::registry
