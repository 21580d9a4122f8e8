// Client: HTTP/1.1 over sockets, by libcurl.
#include "http/client.h"

#include <curl/curl.h>

#include <cstdio>
#include <exception>
#include <mutex>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "host/no_sigpipe.h"

namespace kiln::http {

namespace {

// libcurl must be set up once for the process, before its first handle (curl_global_init(3)).
void set_up_curl() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (done != CURLE_OK) {
    throw Error(ErrorCode::io, fmt::format("libcurl cannot start: {}", curl_easy_strerror(done)));
  }
}

// "HTTP://[::1]:80/x" → "[::1]"
std::string_view host_of(std::string_view origin) {
  std::size_t start = origin.find("://");
  std::string_view rest = start == std::string_view::npos ? origin : origin.substr(start + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (rest.starts_with('[')) {
    return rest.substr(0, std::min(rest.find(']'), rest.size() - 1) + 1);
  }
  return rest.substr(0, rest.find(':'));
}

struct Sink {
  Response response;
  std::size_t bytes_max = 0;
  bool too_long = false;
  const Streams* streams = nullptr;
  std::uint64_t sent_bytes = 0;
  std::exception_ptr thrown;  // by one of the streams' functions: libcurl's C code must not see it
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  Sink& sink = *static_cast<Sink*>(user);
  if (sink.streams->take) {
    try {
      if (sink.streams->take(sink.response, std::string_view(data, size * count))) return size * count;
    } catch (...) {
      sink.thrown = std::current_exception();
      return 0;
    }
  }
  if (sink.response.body.size() + size * count > sink.bytes_max) {
    sink.too_long = true;
    return 0;
  }
  sink.response.body.append(data, size * count);
  return size * count;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  Sink& sink = *static_cast<Sink*>(user);
  std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {
    sink.response.headers = Headers();  // of the last answer: a "100 Continue" may come before it
    sink.response.status = static_cast<int>(parse_int(line.substr(line.find(' ') + 1, 3)).value_or(0));
  } else if (std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    sink.response.headers.add(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }
  return size * count;
}

std::size_t on_read(char* into, std::size_t size, std::size_t count, void* user) {
  Sink& sink = *static_cast<Sink*>(user);
  try {
    const std::size_t given = sink.streams->read(sink.sent_bytes, into, size * count);
    sink.sent_bytes += given;
    return given;
  } catch (...) {
    sink.thrown = std::current_exception();
    return CURL_READFUNC_ABORT;
  }
}

// When a kept connection turned out to be dead, libcurl sends the request once more.
int on_seek(void* user, curl_off_t offset, int origin) {
  if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_FAIL;
  static_cast<Sink*>(user)->sent_bytes = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  Sink& sink = *static_cast<Sink*>(user);
  if (!sink.streams->cancelled || !sink.streams->cancelled()) return 0;
  sink.thrown = std::make_exception_ptr(Error(ErrorCode::cancelled, "interrupted"));
  return 1;
}

class HeaderList {
 public:
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  ~HeaderList() { curl_slist_free_all(list_); }
  void add(const std::string& line) { list_ = curl_slist_append(list_, line.c_str()); }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

[[noreturn]] void fail(CURLcode code, const char* detail, const std::string& origin, const Timeouts& timeouts,
                       const Sink& sink) {
  const std::string reason = detail[0] != '\0' ? detail : curl_easy_strerror(code);
  const std::string next = is_loopback(origin)
                               ? fmt::format("check that the program that should answer at {} runs", origin)
                               : fmt::format("check the address {}, the network and the proxy settings", origin);
  if (sink.too_long) {
    throw Error(ErrorCode::unavailable,
                fmt::format("{} answered with more than {}", origin, format_bytes(sink.bytes_max)));
  }
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      throw Error(ErrorCode::timeout,
                  fmt::format("{} did not answer in time (connect {}, whole call {})", origin,
                              format_duration(timeouts.connect), format_duration(timeouts.total)),
                  next);
    case CURLE_COULDNT_RESOLVE_HOST:
      throw Error(ErrorCode::unavailable, fmt::format("no address is known for {}: {}", origin, reason), next);
    case CURLE_COULDNT_CONNECT:
      throw Error(ErrorCode::unavailable, fmt::format("nobody answers at {}: {}", origin, reason), next);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      throw Error(ErrorCode::denied, fmt::format("{} shows a certificate that is not trusted: {}", origin, reason),
                  "install the authority's certificate (package ca-certificates), or correct the address");
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      throw Error(ErrorCode::usage, fmt::format("'{}' is not an address to call: {}", origin, reason),
                  "write it as http://host:port or https://host");
    default:
      throw Error(ErrorCode::unavailable, fmt::format("{} broke off: {}", origin, reason), next);
  }
}

void set_tls(CURL* curl, const Client::Options& options) {
  if (!options.authorities.empty()) {
    curl_blob blob{const_cast<char*>(options.authorities.data()), options.authorities.size(), CURL_BLOB_COPY};
    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);  // the system's folder of certificates stays in use
  }
  if (!options.client_certificate.empty()) {
    curl_easy_setopt(curl, CURLOPT_SSLCERT, options.client_certificate.c_str());
    curl_easy_setopt(curl, CURLOPT_SSLKEY, options.client_key.c_str());
  }
}

}  // namespace

bool is_loopback(std::string_view origin) {
  std::string host = to_lower(host_of(origin));
  return host == "localhost" || host.ends_with(".localhost") || host == "[::1]" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos);
}

struct Client::State {
  ~State() {
    const host::NoSigpipe quiet;
    for (CURL* handle : idle) {
      curl_easy_cleanup(handle);
    }
  }

  // Handles keep their connections; a caller has one to itself while it sends.
  CURL* take() {
    {
      std::lock_guard lock(mutex);
      if (!idle.empty()) {
        CURL* handle = idle.back();
        idle.pop_back();
        return handle;
      }
    }
    CURL* handle = curl_easy_init();
    if (handle == nullptr) {
      throw Error(ErrorCode::io, "libcurl gives no handle");
    }
    return handle;
  }

  void give_back(CURL* handle) {
    curl_easy_reset(handle);  // keeps connections and DNS answers
    std::lock_guard lock(mutex);
    if (idle.size() < options.idle_handles_max) {
      idle.push_back(handle);
    } else {
      curl_easy_cleanup(handle);
    }
  }

  Options options;
  std::mutex mutex;
  std::vector<CURL*> idle;
};

Client::Client() : Client(Options()) {}

Client::Client(const Options& options) : state_(std::make_unique<State>()) {
  set_up_curl();
  state_->options = options;
}

Client::~Client() = default;

Response Client::send(const std::string& origin, const Request& request, const Timeouts& timeouts) {
  Streams whole;
  whole.stall = Duration(0);
  return stream(origin, request, timeouts, whole);
}

Response Client::stream(const std::string& origin, const Request& request, const Timeouts& timeouts,
                        const Streams& streams) {
  Sink sink;
  sink.streams = &streams;
  sink.bytes_max = state_->options.response_bytes_max;
  HeaderList headers;
  for (const auto& [name, value] : request.headers.fields()) {
    if (to_lower(name) != "content-length") {
      headers.add(value.empty() ? name + ";" : name + ": " + value);  // curl's way to send an empty value
    }
  }
  for (const char* added_by_curl : {"Expect", "Accept", "Content-Type"}) {
    if (!request.headers.has(added_by_curl)) {
      headers.add(std::string(added_by_curl) + ":");
    }
  }
  const std::string url = origin + request.path + (request.query.empty() ? "" : "?" + request.query);

  // OpenSSL writes by write(2), also when it says goodbye to one that hung up; libcurl leaves the signal to its
  // callers.
  const host::NoSigpipe quiet;
  auto return_handle = [this](CURL* used) { state_->give_back(used); };
  std::unique_ptr<CURL, decltype(return_handle)> handle(state_->take(), return_handle);
  char detail[CURL_ERROR_SIZE] = {};
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeouts.connect.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeouts.total.count()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &sink);
  if (is_loopback(origin)) {
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
  }
  set_tls(curl, state_->options);
  if (streams.stall.count() > 0) {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(streams.stall.count() / 1000));
  }
  if (streams.cancelled) {
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &sink);
  }
  if (streams.read) {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(streams.send_bytes));
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, &on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, &sink);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, &on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, &sink);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
  } else if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
  }
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());

  const CURLcode code = curl_easy_perform(curl);
  if (sink.thrown) std::rethrow_exception(sink.thrown);
  if (code != CURLE_OK) {
    fail(code, detail, origin, timeouts, sink);
  }
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  sink.response.status = static_cast<int>(status);
  return std::move(sink.response);
}

}  // namespace kiln::http
