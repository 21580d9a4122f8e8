// Session: one call after another until it has an answer or a reason why not.
#include "registry/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "registry/header_values.h"

namespace kiln::registry {
namespace {

using nlohmann::json;

constexpr int kRedirectsMax = 5;
constexpr std::size_t kAnswerBytesMax = std::size_t{4} << 20;  // what manifests have at most; blobs are streamed
// Half a second, doubled each time, with a quarter of chance: six tries span about 15 s, a registry's restart.
constexpr Duration kFirstWait{500};
constexpr Duration kRetryAfterMax{60'000};
constexpr Duration kTokenDefault{60'000};  // the token specification's, when expires_in is absent
constexpr Duration kTokenMargin{10'000};
constexpr http::Timeouts kWhole{Duration(10'000), Duration(60'000)};
constexpr http::Timeouts kStreamed{Duration(10'000), Duration(0)};

// "https://host:1/a?b" → {"https://host:1", "/a?b"}; "/a?b" → {"", "/a?b"}.
std::pair<std::string, std::string> split_url(const std::string& url) {
  const std::size_t scheme = url.find("://");
  if (url.starts_with('/') || scheme == std::string::npos) return {"", url};
  const std::size_t path = url.find_first_of("/?", scheme + 3);
  if (path == std::string::npos) return {url, "/"};
  return {url.substr(0, path), (url[path] == '?' ? "/" : "") + url.substr(path)};
}

bool tries_again(int status) { return status == 429 || (status >= 500 && status != 501); }

std::string scope_text(const std::vector<Scope>& scopes) {
  std::vector<std::string> texts;
  for (const Scope& scope : scopes) texts.push_back(fmt::format("repository:{}:{}", scope.repository, scope.actions));
  return join(texts, " ");
}

std::string basic(const Credentials& who) { return "Basic " + base64_encode(who.user + ":" + who.password); }

http::Client::Options transport_options(const std::string& registry, const Connect& connect) {
  http::Client::Options options;
  options.response_bytes_max = kAnswerBytesMax;
  host::Path file = connect.ca_file;
  if (file.empty()) file = connect.env("KILN_REGISTRY_CA").value_or("");
  if (!file.empty()) {
    options.authorities = host::read_file(file);
    if (options.authorities.find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
      throw Error(ErrorCode::usage, fmt::format("{} holds no certificate in PEM form", file.string()));
    }
  }
  const host::Path folder = connect.certificates / registry;
  if (!std::filesystem::is_directory(folder)) return options;
  for (const std::string& name : host::list_folder(folder)) {
    if (name.ends_with(".crt")) options.authorities += host::read_file(folder / name) + "\n";
    if (!name.ends_with(".cert")) continue;
    options.client_certificate = folder / name;
    options.client_key = folder / (name.substr(0, name.size() - 5) + ".key");
  }
  return options;
}

}  // namespace

Session::Session(std::string registry, Connect connect, host::Clock& clock, host::Random& random)
    : registry_(std::move(registry)),
      connect_(std::move(connect)),
      clock_(clock),
      random_(random),
      http_(std::make_unique<http::Client>(transport_options(registry_, connect_))) {}

Session::~Session() = default;

std::string Session::origin() {
  const std::lock_guard hold(mutex_);
  if (!origin_.empty()) return origin_;
  const std::string host = registry_ == "docker.io" ? "registry-1.docker.io" : registry_;
  if (connect_.plain_http) return origin_ = "http://" + host;
  const std::string secure = "https://" + host;
  if (!http::is_loopback(secure)) return origin_ = secure;
  // On loopback nobody listens in, and test registries speak plain HTTP there. A certificate that is not trusted is
  // still an error.
  try {
    http::Request ping;
    ping.path = "/v2/";
    send_whole(secure, ping);
    return origin_ = secure;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unavailable) throw;
    return origin_ = "http://" + host;
  }
}

void Session::check_cancelled() const {
  if (connect_.cancelled && connect_.cancelled()) throw Error(ErrorCode::cancelled, "interrupted");
}

void Session::wait_before_next_try(int tries, const http::Response* answer) {
  Duration wait = kFirstWait * (1 << std::min(tries, 6));
  wait += Duration(static_cast<std::int64_t>(random_.unit() * static_cast<double>(wait.count()) / 4));
  if (answer != nullptr) {
    if (const auto asked = parse_retry_after(answer->headers.get("Retry-After"), clock_.now())) {
      wait = std::clamp(*asked, Duration(0), kRetryAfterMax);
    }
  }
  constexpr Duration kSlice{100};  // how soon Ctrl-C is heard
  for (const Duration end = clock_.uptime() + wait; clock_.uptime() < end;) {
    check_cancelled();
    clock_.sleep(std::min(kSlice, end - clock_.uptime()));
  }
}

http::Response Session::call(const Call& call) {
  for (int tries = 0;; ++tries) {
    check_cancelled();
    const bool last = tries + 1 >= call.tries;
    try {
      http::Response answer = once(call);
      answered_ = true;
      if (answer.status == 403) deny(call, answer);
      if (!tries_again(answer.status) || call.tries == 1) return answer;
      if (last) {
        throw Error(ErrorCode::unavailable,
                    fmt::format("{} answered {} {} with {}: {}", registry_, call.method, call.url.substr(0, 300),
                                answer.status, said(answer)),
                    answer.status == 429 ? "The registry limits how much may be asked of it; come again later."
                                         : "The registry is in trouble; come again later, what was sent stays there.");
      }
      wait_before_next_try(tries, &answer);
    } catch (const Error& error) {
      const bool passes = error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
      // An address where nobody has answered yet is more often wrong than in trouble.
      if (!passes || last || (tries > 0 && !answered_)) throw;
      wait_before_next_try(tries, nullptr);
    }
  }
}

http::Response Session::once(const Call& call) {
  std::string authorization = authorization_for(call);
  http::Response answer = follow(call, authorization);
  // Twice: a token that was kept may have been taken back, and then a new one is what the challenge asks for.
  for (int tries = 0; answer.status == 401 && tries < 2; ++tries) {
    const std::string next = answer_challenge(call, answer);
    if (next.empty() || next == authorization) break;
    authorization = next;
    answer = follow(call, authorization);
  }
  if (answer.status == 401) deny(call, answer);
  return answer;
}

// An answer without end is not a failure that passes, so it must not look like one.
http::Response Session::send_whole(const std::string& origin, const http::Request& request) {
  std::string body;
  http::Streams streams;
  streams.stall = Duration(0);
  streams.cancelled = connect_.cancelled;
  streams.take = [&](const http::Response&, std::string_view piece) {
    answered_ = true;
    if (body.size() + piece.size() > kAnswerBytesMax) {
      throw Error(ErrorCode::corrupt,
                  fmt::format("{} answered {} {} with more than {}", origin, request.method,
                              request.path.substr(0, 300), format_bytes(kAnswerBytesMax)),
                  "No registry sends so much here; check the address.");
    }
    body += piece;
    return true;
  };
  http::Response answer = http_->stream(origin, request, kWhole, streams);
  answer.body = std::move(body);
  return answer;
}

http::Response Session::follow(const Call& call, const std::string& authorization) {
  const std::string home = origin();
  std::string url = call.url;
  for (int hop = 0;; ++hop) {
    auto [where, path] = split_url(url);
    if (where.empty()) where = home;
    http::Request request;
    request.method = call.method;
    const std::size_t query = path.find('?');
    request.path = path.substr(0, query);
    if (query != std::string::npos) request.query = path.substr(query + 1);
    request.headers = call.headers;
    request.headers.set("User-Agent", "kiln");
    request.body = call.body;
    if (where == home && !authorization.empty()) request.headers.set("Authorization", authorization);
    if (home.starts_with("https:") && !where.starts_with("https:")) {
      throw Error(ErrorCode::denied, fmt::format("{} sends us on to {}, which is not encrypted", registry_, where));
    }
    http::Response answer;
    if (call.streams == nullptr) {
      answer = send_whole(where, request);
    } else {
      http::Streams streams = *call.streams;
      streams.cancelled = connect_.cancelled;
      answer = http_->stream(where, request, kStreamed, streams);
    }
    const bool moved = answer.status == 301 || answer.status == 302 || answer.status == 307 || answer.status == 308;
    if (!moved || !answer.headers.has("Location")) return answer;
    if (hop == kRedirectsMax) {
      throw Error(ErrorCode::unavailable,
                  fmt::format("{} sends us from one place to the next, {} times by now, last to {}", registry_, hop,
                              url.substr(0, 300)));
    }
    url = answer.headers.get("Location");
    if (url.starts_with('/')) url = where + url;
  }
}

const std::optional<Credentials>& Session::credentials(const Call& call) {
  const std::string repository = call.scopes.empty() ? "" : call.scopes.front().repository;
  const std::lock_guard hold(mutex_);
  auto known = credentials_.find(repository);
  if (known == credentials_.end()) {
    known = credentials_.emplace(repository, find_credentials(registry_, repository, connect_.env)).first;
  }
  return known->second;
}

std::string Session::authorization_for(const Call& call) {
  const std::string scopes = scope_text(call.scopes);
  {
    const std::lock_guard hold(mutex_);
    const auto token = tokens_.find(scopes);
    if (token != tokens_.end() && clock_.uptime() < token->second.good_until) return "Bearer " + token->second.value;
    if (!basic_) return {};
  }
  const auto& who = credentials(call);
  return who ? basic(*who) : std::string();
}

std::string Session::answer_challenge(const Call& call, const http::Response& refused) {
  const std::lock_guard one(token_mutex_);
  for (const Challenge& challenge : parse_challenges(refused.headers.get("WWW-Authenticate"))) {
    if (challenge.scheme == "bearer" && challenge.parameters.contains("realm")) {
      Token token = ask_token(call, challenge.parameters);
      const std::lock_guard hold(mutex_);
      return "Bearer " + (tokens_[scope_text(call.scopes)] = std::move(token)).value;
    }
    if (challenge.scheme == "basic") {
      const auto& who = credentials(call);
      if (!who || who->user.empty()) return {};
      const std::lock_guard hold(mutex_);
      basic_ = true;
      return basic(*who);
    }
  }
  return {};
}

// https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/ (for identity tokens).
Session::Token Session::ask_token(const Call& call, const std::map<std::string, std::string>& challenge) {
  const std::string realm = challenge.at("realm");
  const auto address = split_url(realm);
  const std::string &where = address.first, &path = address.second;
  const std::string attempt = fmt::format("asking {} for a token for {}", where, registry_);
  return with_context(attempt, [&] {
    const bool encrypted = where.starts_with("https://") || http::is_loopback(where) || connect_.plain_http;
    if (where.empty() || !encrypted) {
      throw Error(ErrorCode::denied, fmt::format("the token service '{}' is no encrypted address; no secret goes there",
                                                 realm.substr(0, 200)));
    }
    const auto& who = credentials(call);
    const auto service = challenge.find("service");
    const std::string service_part =
        service == challenge.end() ? "" : "service=" + percent_encode(service->second) + "&";
    http::Request request;
    const std::size_t query = path.find('?');
    request.path = path.substr(0, query);
    if (query != std::string::npos) request.query = path.substr(query + 1) + "&";
    if (who && !who->identity_token.empty()) {
      request.method = "POST";
      request.headers.set("Content-Type", "application/x-www-form-urlencoded");
      request.body = fmt::format("grant_type=refresh_token&client_id=kiln&{}scope={}&refresh_token={}", service_part,
                                 percent_encode(scope_text(call.scopes)), percent_encode(who->identity_token));
    } else {
      request.query += service_part;
      for (const Scope& scope : call.scopes) request.query += "scope=" + percent_encode(scope_text({scope})) + "&";
      if (request.query.ends_with('&')) request.query.pop_back();
      if (who) request.headers.set("Authorization", basic(*who));
    }
    request.headers.set("User-Agent", "kiln");
    const http::Response answer = send_whole(where, request);
    if (tries_again(answer.status)) {
      throw Error(ErrorCode::unavailable, fmt::format("it answered {}: {}", answer.status, said(answer)),
                  "The token service is in trouble; come again later.");
    }
    if (answer.status != 200) {
      throw Error(ErrorCode::denied,
                  who ? fmt::format("the credentials from {} were refused with {}: {}", who->source, answer.status,
                                    said(answer))
                      : fmt::format("without credentials it answered {}: {}", answer.status, said(answer)),
                  fmt::format("Log in: skopeo login {}, or docker login {}.", registry_, registry_));
    }
    const json body = json::parse(answer.body, nullptr, false);
    Token token;
    for (const char* key : {"access_token", "token"}) {
      if (body.is_object() && body.contains(key) && body[key].is_string()) token.value = body[key];
    }
    if (token.value.empty() || token.value.find_first_of("\r\n") != std::string::npos) {
      throw Error(ErrorCode::invalid, "its answer holds no token", "The address may not be a token service's.");
    }
    Duration good_for = kTokenDefault;
    if (body.contains("expires_in") && body["expires_in"].is_number_integer()) {
      good_for = std::chrono::seconds(std::clamp<std::int64_t>(body["expires_in"], 0, 86'400));
    }
    token.good_until = clock_.uptime() + good_for - std::min(kTokenMargin, good_for / 2);
    return token;
  });
}

void Session::deny(const Call& call, const http::Response& answer) {
  const auto& who = credentials(call);
  throw Error(
      ErrorCode::denied,
      fmt::format("{} refuses {} {} {} ({}): {}", registry_, call.method, call.url.substr(0, 300),
                  who ? fmt::format("with the credentials from {}", who->source) : "without credentials", answer.status,
                  said(answer)),
      fmt::format("Log in with an account that may: skopeo login {}, or docker login {}.", registry_, registry_));
}

std::string Session::said(const http::Response& answer) {
  const json body = json::parse(answer.body, nullptr, false);
  std::vector<std::string> texts;
  if (body.is_object() && body.contains("errors") && body["errors"].is_array()) {
    for (const json& error : body["errors"]) {
      if (!error.is_object() || texts.size() == 3) break;
      std::string text;
      for (const char* key : {"code", "message"}) {
        if (error.contains(key) && error[key].is_string())
          text += (text.empty() ? "" : ": ") + error[key].get<std::string>();
      }
      texts.push_back(text);
    }
  }
  // Token services have no format of their own: Docker Hub's word is `details`, OAuth's `error_description`.
  for (const char* key : {"details", "error_description", "message"}) {
    if (texts.empty() && body.is_object() && body.contains(key) && body[key].is_string()) texts.push_back(body[key]);
  }
  // "invalid_token": the answer to HEAD has no body.
  for (const Challenge& challenge : parse_challenges(answer.headers.get("WWW-Authenticate"))) {
    const auto error = challenge.parameters.find("error");
    if (texts.empty() && error != challenge.parameters.end()) texts.push_back(error->second);
  }
  if (texts.empty() && answer.body.empty()) return "nothing more";
  if (texts.empty()) {
    const std::string type = media_type_of(answer.headers.get("Content-Type"));
    return fmt::format("{} of {}, as no registry answers", format_bytes(answer.body.size()),
                       type.empty() ? "unknown type" : type);
  }
  std::string text = join(texts, "; ").substr(0, 500);
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

}  // namespace kiln::registry
