// FakeRegistry: a registry on loopback that follows the distribution specification 1.1, and breaks it where a test says
// so: it cuts connections in the middle, lies, asks for tokens. It counts what it was asked.
//
// One thread a connection; a connection carries one request, so that every cut is where the script wants it.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/encoding.h"
#include "base/text.h"
#include "http/message.h"
#include "http/server.h"

namespace kiln::registry {

class FakeRegistry {
 public:
  struct Answer {
    int status = 200;
    http::Headers headers;
    std::string body;
    std::optional<std::size_t> cut_after;  // so many bytes of the body, then the connection breaks
    std::optional<std::size_t> declared;   // Content-Length, if not the body's
    bool endless = false;                  // the body again and again, in chunks, until the other side goes
  };
  // Asked before the registry itself; nullopt: it shall answer.
  std::function<std::optional<Answer>(const http::Request&)> script;
  // How many bytes of this request's body are read before the connection breaks; what was read counts.
  std::function<std::optional<std::size_t>(const http::Request&)> cut_body;
  bool knows_referrers = true;
  bool knows_ranges = true;

  FakeRegistry() : listener_(http::listen_on("127.0.0.1", 0)) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    ::fcntl(listener_.get(), F_SETFL, 0);  // the server's own loop polls; this one waits
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~FakeRegistry() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (std::thread& thread : connections_) thread.join();
  }

  std::string name() const { return fmt::format("127.0.0.1:{}", port_); }
  // "PUT /v2/team/web/manifests/1", in order.
  std::vector<std::string> asked() {
    const std::lock_guard hold(mutex_);
    return asked_;
  }
  std::size_t count(const std::string& beginning) {
    std::size_t found = 0;
    for (const std::string& one : asked()) found += one.starts_with(beginning) ? 1 : 0;
    return found;
  }
  std::uint64_t body_bytes() const { return body_bytes_; }  // of requests
  std::uint64_t sent_bytes() const { return sent_bytes_; }  // of answers' bodies
  void add_blob(const std::string& repository, const std::string& bytes) {
    const std::lock_guard hold(mutex_);
    blobs_[repository][sha256(bytes).str()] = bytes;
  }
  void add_manifest(const std::string& repository, const std::string& tag, const std::string& bytes,
                    const std::string& type = "application/vnd.oci.image.manifest.v1+json") {
    const std::lock_guard hold(mutex_);
    keep_manifest(repository, tag, bytes, type);
  }
  std::optional<std::string> blob(const std::string& repository, const std::string& digest) {
    const std::lock_guard hold(mutex_);
    const auto found = blobs_[repository].find(digest);
    return found == blobs_[repository].end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<std::string> manifest(const std::string& repository, const std::string& reference) {
    const std::lock_guard hold(mutex_);
    const auto found = manifests_[repository].find(reference);
    return found == manifests_[repository].end() ? std::nullopt : std::optional(found->second.bytes);
  }

 private:
  struct Kept {
    std::string bytes;
    std::string type;
  };

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      connections_.emplace_back([this, fd] { serve(host::FileDescriptor(fd)); });
    }
  }

  static bool read_more(int fd, std::string& buffer) {
    char bytes[1 << 16];
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    buffer.append(bytes, static_cast<std::size_t>(got));
    return true;
  }

  void serve(host::FileDescriptor fd) {
    std::string buffer;
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (!buffer.empty() && (buffer[0] < 'A' || buffer[0] > 'Z')) return;  // TLS
      if (!read_more(fd.get(), buffer)) return;
    }
    http::Request request;
    const std::vector<std::string> lines = split(buffer.substr(0, end), '\n');
    const std::vector<std::string> first = split(lines[0], ' ');
    request.method = first[0];
    request.path = first.at(1).substr(0, first[1].find('?'));
    if (first[1].find('?') != std::string::npos) request.query = first[1].substr(first[1].find('?') + 1);
    for (std::size_t i = 1; i < lines.size(); ++i) {
      const std::size_t colon = lines[i].find(':');
      request.headers.add(lines[i].substr(0, colon), std::string(trim(lines[i].substr(colon + 1))));
    }
    const auto length = static_cast<std::size_t>(parse_int(request.headers.get("Content-Length")).value_or(0));
    request.body = buffer.substr(end + 4);
    {
      const std::lock_guard hold(mutex_);
      asked_.push_back(request.method + " " + first[1]);
    }
    const auto cut = cut_body ? cut_body(request) : std::nullopt;
    while (request.body.size() < std::min(length, cut.value_or(length))) {
      if (!read_more(fd.get(), request.body)) break;
    }
    if (cut) request.body.resize(std::min(request.body.size(), *cut));
    body_bytes_ += request.body.size();
    std::optional<Answer> answer = script ? script(request) : std::nullopt;
    if (!answer) {
      const std::lock_guard hold(mutex_);
      answer = respond(request);
    }
    if (!cut) send(fd.get(), request, *answer);
  }

  void send_all(int fd, std::string_view bytes, bool& broken) {
    while (!bytes.empty() && !broken) {
      const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      broken = sent <= 0;
      if (!broken) bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  void send(int fd, const http::Request& request, const Answer& answer) {
    bool broken = false;
    std::string head = fmt::format("HTTP/1.1 {} x\r\nConnection: close\r\n", answer.status);
    if (answer.endless) {
      head += "Transfer-Encoding: chunked\r\n";
    } else if (answer.status != 204) {
      head += fmt::format("Content-Length: {}\r\n", answer.declared.value_or(answer.body.size()));
    }
    for (const auto& [name, value] : answer.headers.fields()) head += name + ": " + value + "\r\n";
    send_all(fd, head + "\r\n", broken);
    if (request.method == "HEAD") return;
    while (answer.endless && !broken) {
      send_all(fd, fmt::format("{:x}\r\n{}\r\n", answer.body.size(), answer.body), broken);
    }
    const std::string body = answer.body.substr(0, answer.cut_after.value_or(answer.body.size()));
    sent_bytes_ += body.size();  // before: whoever has all of it may ask at once
    send_all(fd, body, broken);
  }

  void keep_manifest(const std::string& repository, const std::string& reference, const std::string& bytes,
                     const std::string& type) {
    manifests_[repository][reference] = {bytes, type};
    manifests_[repository][sha256(bytes).str()] = {bytes, type};
    // Enough of a reader for what the tests write.
    const std::size_t subject = bytes.find("\"subject\"");
    if (subject == std::string::npos || !knows_referrers) return;
    const std::size_t digest = bytes.find("sha256:", subject);
    referrers_[repository][bytes.substr(digest, 71)].push_back(
        fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type, sha256(bytes).str(), bytes.size()));
  }

  static std::string query_value(const std::string& query, const std::string& name) {
    for (const std::string& part : split(query, '&')) {
      if (part.starts_with(name + "=")) return percent_decode(part.substr(name.size() + 1));
    }
    return {};
  }

  static Answer plain(int status) {
    Answer answer;
    answer.status = status;
    return answer;
  }

  Answer respond(const http::Request& request) {
    if (request.path == "/v2/") return plain(200);
    for (const char* verb : {"/manifests/", "/blobs/uploads/", "/blobs/", "/tags/list", "/referrers/"}) {
      const std::size_t at = request.path.find(verb);
      if (at == std::string::npos || !request.path.starts_with("/v2/")) continue;
      const std::string repository = request.path.substr(4, at - 4);
      const std::string rest = request.path.substr(at + std::string_view(verb).size());
      if (std::string_view(verb) == "/manifests/") return manifests(request, repository, rest);
      if (std::string_view(verb) == "/blobs/uploads/") return uploads(request, repository, rest);
      if (std::string_view(verb) == "/blobs/") return blobs(request, repository, rest);
      if (std::string_view(verb) == "/referrers/") return referrers(repository, rest);
      return tags(repository);
    }
    return plain(404);
  }

  Answer manifests(const http::Request& request, const std::string& repository, const std::string& reference) {
    if (request.method == "PUT") {
      keep_manifest(repository, reference, request.body, std::string(request.headers.get("Content-Type")));
      Answer answer = plain(201);
      answer.headers.add("Docker-Content-Digest", sha256(request.body).str());
      if (knows_referrers && request.body.find("\"subject\"") != std::string::npos) {
        answer.headers.add("OCI-Subject", "yes");
      }
      return answer;
    }
    const auto found = manifests_[repository].find(reference);
    if (found == manifests_[repository].end()) return plain(404);
    Answer answer;
    answer.body = found->second.bytes;
    answer.headers.add("Content-Type", found->second.type);
    answer.headers.add("Docker-Content-Digest", sha256(answer.body).str());
    return answer;
  }

  Answer blobs(const http::Request& request, const std::string& repository, const std::string& digest) {
    const auto found = blobs_[repository].find(digest);
    if (found == blobs_[repository].end()) return plain(404);
    Answer answer;
    answer.body = found->second;
    const std::string_view range = request.headers.get("Range");
    if (knows_ranges && range.starts_with("bytes=")) {
      const auto first = static_cast<std::size_t>(parse_int(range.substr(6, range.find('-') - 6)).value_or(0));
      if (first >= answer.body.size()) return plain(416);
      answer.status = 206;
      answer.headers.add("Content-Range",
                         fmt::format("bytes {}-{}/{}", first, answer.body.size() - 1, answer.body.size()));
      answer.body.erase(0, first);
    }
    return answer;
  }

  Answer uploads(const http::Request& request, const std::string& repository, const std::string& id) {
    Answer answer = plain(202);
    if (request.method == "POST") {
      const std::string mount = query_value(request.query, "mount"), from = query_value(request.query, "from");
      if (!mount.empty() && blobs_[from].contains(mount)) {
        blobs_[repository][mount] = blobs_[from][mount];
        return plain(201);
      }
      const std::string fresh = std::to_string(++uploads_begun_);
      uploads_[fresh] = {};
      answer.headers.add("Location", fmt::format("/v2/{}/blobs/uploads/{}", repository, fresh));
      return answer;
    }
    const auto upload = uploads_.find(id);
    if (upload == uploads_.end()) return plain(404);
    std::string& bytes = upload->second;
    if (request.method == "PATCH") {
      const std::string_view range = request.headers.get("Content-Range");
      if (!range.empty() && range.substr(0, range.find('-')) != std::to_string(bytes.size())) answer.status = 416;
      if (answer.status == 202) bytes += request.body;
    } else if (request.method == "GET") {
      answer.status = 204;
    } else if (request.method == "DELETE") {
      uploads_.erase(upload);
      return plain(204);
    } else {
      bytes += request.body;
      const std::string digest = query_value(request.query, "digest");
      if (sha256(bytes).str() != digest) {
        answer.status = 400;
        answer.body = R"({"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]})";
        return answer;
      }
      blobs_[repository][digest] = bytes;
      uploads_.erase(upload);
      return plain(201);
    }
    answer.headers.add("Location", request.path);
    answer.headers.add("Range", fmt::format("0-{}", bytes.empty() ? 0 : bytes.size() - 1));
    return answer;
  }

  Answer referrers(const std::string& repository, const std::string& subject) {
    if (!knows_referrers) return plain(404);
    Answer answer;
    answer.headers.add("Content-Type", "application/vnd.oci.image.index.v1+json");
    answer.body = fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", join(referrers_[repository][subject], ","));
    return answer;
  }

  Answer tags(const std::string& repository) {
    std::vector<std::string> names;
    for (const auto& [reference, kept] : manifests_[repository]) {
      if (!reference.starts_with("sha256:")) names.push_back("\"" + reference + "\"");
    }
    Answer answer;
    answer.body = fmt::format(R"({{"name":"{}","tags":[{}]}})", repository, join(names, ","));
    return answer;
  }

  host::FileDescriptor listener_;
  std::uint16_t port_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> connections_;  // the acceptor's, and after it the destructor's
  std::atomic<std::uint64_t> body_bytes_{0};
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::map<std::string, std::map<std::string, std::string>> blobs_;  // repository → digest → bytes
  std::map<std::string, std::map<std::string, Kept>> manifests_;     // repository → tag or digest
  std::map<std::string, std::map<std::string, std::vector<std::string>>> referrers_;
  std::map<std::string, std::string> uploads_;
  int uploads_begun_ = 0;
};

}  // namespace kiln::registry
