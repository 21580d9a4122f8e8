// Imds: see imds.h.
#include "region/imds/imds.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "http/server.h"

namespace kiln::region::imds {
namespace {

constexpr const char* kTable = "imds";
constexpr const char* kSecret = "secret";
constexpr std::string_view kTokenPath = "latest/api/token";
constexpr const char* kTokenHeader = "X-aws-ec2-metadata-token";
constexpr const char* kTtlHeader = "X-aws-ec2-metadata-token-ttl-seconds";

http::Response text(std::string body, const char* type = "text/plain") {
  http::Response out;
  out.headers.add("Content-Type", type);
  out.headers.add("Server", "EC2ws");
  out.body = std::move(body);
  return out;
}

// In EC2's words: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
http::Response refusal(int status) {
  const char* words = status == 400   ? "Bad Request"
                      : status == 401 ? "Unauthorized"
                      : status == 403 ? "Forbidden"
                      : status == 404 ? "Not Found"
                      : status == 405 ? "Method Not Allowed"
                                      : "Too Many Requests";
  http::Response out =
      text(fmt::format("<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n"
                       "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
                       "\t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n"
                       "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n <head>\n"
                       "  <title>{0} - {1}</title>\n </head>\n <body>\n  <h1>{0} - {1}</h1>\n </body>\n</html>\n",
                       status, words),
           "text/html");
  out.status = status;
  return out;
}

// "/latest//meta-data/" → "latest/meta-data".
std::string normal(const std::string& path) {
  std::vector<std::string> parts = split(percent_decode(path), '/');
  std::erase(parts, "");
  return join(parts, "/");
}

}  // namespace

// One network's listener: the sockets' thread and one that hands requests to the loop.
struct Imds::Listener {
  Throttle throttle;  // of the one thread that hands on
  // Of answers that the loop still owes when the listener goes.
  std::shared_ptr<std::atomic<bool>> open = std::make_shared<std::atomic<bool>>(true);
  std::unique_ptr<http::Server> server;  // last: its threads use the others
};

bool Throttle::lets(const std::string& peer, Time now) {
  const auto this_second = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
  if (std::exchange(second_, this_second) != this_second) asked_.clear();
  return ++asked_[peer] <= kRequestsASecond;
}

Imds::Imds(host::Loop& loop, host::Random& random, Tables& journal, const ec2::Ec2& ec2)
    : loop_(loop), random_(random), journal_(journal), ec2_(ec2), tokens_("") {}

Imds::~Imds() {
  for (auto& [network, listener] : listeners_) *listener->open = false;
}

void Imds::open() {
  const auto kept = journal_.load(kTable);
  const auto found = kept.find(kSecret);
  const std::string secret = found != kept.end() ? found->second : random_.hex(64);
  if (found == kept.end()) journal_.put(kTable, kSecret, secret);
  tokens_ = Tokens(secret);
}

void Imds::listen(const std::string& network, host::FileDescriptor socket) {
  http::Server::Options options;
  options.threads = 1;
  options.peer_connections_max = kConnectionsOfOne;
  options.line_bytes_max = std::size_t{4} << 10;
  options.header_bytes_max = std::size_t{8} << 10;
  options.body_bytes_max = std::size_t{1} << 10;
  options.read_timeout = Duration(5'000);
  options.write_timeout = Duration(5'000);
  options.idle_timeout = Duration(15'000);
  auto listener = std::make_unique<Listener>();
  listener->server = std::make_unique<http::Server>(
      options, std::move(socket),
      [this, network, &of = *listener](http::Request request, const http::Responder& respond) {
        if (!of.throttle.lets(request.peer, loop_.now())) return respond(refusal(429));
        loop_.post([this, network, request = std::move(request), respond, open = of.open] {
          if (*open) respond(answer(network, request));
        });
      });
  listener->server->start();
  listeners_[network] = std::move(listener);
}

void Imds::close(const std::string& network) {
  const auto found = listeners_.find(network);
  if (found == listeners_.end()) return;
  *found->second->open = false;
  listeners_.erase(found);
}

const ec2::Instance* Imds::who(const std::string& network, const std::string& address) const {
  for (const auto& [id, instance] : ec2_.instances()) {
    if (instance.vpc_id == network && instance.private_address == address && instance.on_network()) return &instance;
  }
  return nullptr;
}

http::Response Imds::answer(const std::string& network, const http::Request& request) const {
  const ec2::Instance* instance = who(network, request.peer);
  if (instance == nullptr) return refusal(404);
  if (!instance->metadata.enabled) return refusal(403);
  std::string path;
  try {
    path = normal(request.path);
  } catch (const Error&) {
    return refusal(400);
  }
  if (request.method == "PUT") return path == kTokenPath ? token(*instance, request) : refusal(405);
  if (request.method != "GET" && request.method != "HEAD") return refusal(405);

  std::optional<Time> ends;
  if (request.headers.has(kTokenHeader)) {
    ends = tokens_.check(std::string(request.headers.get(kTokenHeader)), instance->id, loop_.now());
    if (!ends) return refusal(401);
  } else if (instance->metadata.tokens_required) {
    return refusal(401);
  }
  if (path.empty()) return text(join(versions(), "\n"));
  const std::size_t slash = path.find('/');
  if (std::find(versions().begin(), versions().end(), path.substr(0, slash)) == versions().end()) return refusal(404);
  path.erase(0, slash == std::string::npos ? slash : slash + 1);
  std::optional<std::string> found =
      read(tree_of(ec2_, *instance, instance->profile ? role_of_(*instance) : std::nullopt), path);
  if (!found) return refusal(404);
  http::Response out = text(std::move(*found), path == "user-data" ? "application/octet-stream" : "text/plain");
  if (ends) {
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(*ends - loop_.now());
    out.headers.add(kTtlHeader, std::to_string(left.count()));
  }
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html
http::Response Imds::token(const ec2::Instance& instance, const http::Request& request) const {
  // It came through a proxy that does not know what it forwards.
  if (request.headers.has("X-Forwarded-For")) return refusal(403);
  const std::optional<std::int64_t> seconds = parse_int(request.headers.get(kTtlHeader));
  if (!seconds || *seconds < 1 || *seconds > kTokenSecondsMax) return refusal(400);
  http::Response out = text(tokens_.make(instance.id, loop_.now() + Duration(*seconds * 1000)));
  out.headers.add(kTtlHeader, std::to_string(*seconds));
  out.hops = instance.metadata.hop_limit;
  return out;
}

}  // namespace kiln::region::imds
