// Session: HTTP with one registry: how it is reached, who we are, tries again, redirects.
//
// Certificates are always verified. Plain HTTP is spoken when it was asked for, and with a registry on loopback that
// does not speak TLS. Credentials and tokens go to the registry and its token service only: a redirect to another host
// is followed without them. Tokens are kept until shortly before they expire. Safe to use from several threads.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "host/clock.h"
#include "host/file.h"
#include "host/random.h"
#include "http/client.h"
#include "registry/credentials.h"

namespace kiln::registry {

// What a token is asked for: "repository:team/web:pull,push".
struct Scope {
  std::string repository;
  std::string actions;  // "pull", "pull,push"; "pull,delete"
};

struct Call {
  std::string method = "GET";
  std::string url;  // "/v2/…" or whole, as a Location or Link gave it
  http::Headers headers;
  std::string body;
  const http::Streams* streams = nullptr;  // borrowed for the call
  std::vector<Scope> scopes;
  int tries = 6;  // 1: the caller tries again by itself, because it knows where it was; it sees 429 and 5xx too
};

struct Connect {
  bool plain_http = false;
  host::Path ca_file;                               // empty: $KILN_REGISTRY_CA, and /etc/docker/certs.d/<registry>/
  host::Path certificates = "/etc/docker/certs.d";  // folders by registry: *.crt, *.cert with *.key
  GetEnv env = process_env;
  std::function<bool()> cancelled;  // asked while something is waited for
};

class Session {
 public:
  // `clock` and `random` must outlive it. `registry` is host and port.
  Session(std::string registry, Connect connect, host::Clock& clock, host::Random& random);
  ~Session();

  // Any status but 401, 403, 429 and 5xx is an answer. Answers that are not streamed have 4 MiB at most. Throws
  // Error(denied), Error(unavailable), Error(timeout), Error(cancelled), Error(corrupt): each names the registry.
  http::Response call(const Call& call);
  // "http://127.0.0.1:5000", known after the first call.
  std::string origin();
  const std::string& registry() const { return registry_; }
  // Waits before the next of several tries: longer each time, a little by chance, and as long as `answer` asks for in
  // Retry-After (a minute at most).
  void wait_before_next_try(int tries, const http::Response* answer);
  // What the registry said went wrong: its own words, or what kind of page it sent.
  static std::string said(const http::Response& answer);

 private:
  struct Token {
    std::string value;
    Duration good_until{};  // of the clock's uptime
  };
  http::Response once(const Call& call);
  http::Response send_whole(const std::string& origin, const http::Request& request);
  http::Response follow(const Call& call, const std::string& authorization);
  std::string authorization_for(const Call& call);
  // Reads the challenge of a 401 and gets what it asks for; empty when there is nothing more to try.
  std::string answer_challenge(const Call& call, const http::Response& refused);
  Token ask_token(const Call& call, const std::map<std::string, std::string>& challenge);
  const std::optional<Credentials>& credentials(const Call& call);
  [[noreturn]] void deny(const Call& call, const http::Response& answer);
  void check_cancelled() const;

  std::string registry_;
  Connect connect_;
  host::Clock& clock_;
  host::Random& random_;
  std::unique_ptr<http::Client> http_;
  std::mutex mutex_;        // over what follows
  std::mutex token_mutex_;  // one asks for a token at a time, the others then find it
  std::string origin_;
  std::atomic<bool> answered_{false};                              // something has answered by this name
  bool basic_ = false;                                             // the registry asked for Basic
  std::map<std::string, Token> tokens_;                            // by scopes
  std::map<std::string, std::optional<Credentials>> credentials_;  // by repository
};

}  // namespace kiln::registry
