// HTTP messages as values, for both sides (RFC 9110).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln::http {

// In order; names compare without case.
class Headers {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  void set(std::string_view name, std::string value);  // replaces every field of that name
  // The first value of that name, or empty.
  std::string_view get(std::string_view name) const;
  bool has(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method = "GET";
  std::string path = "/";  // as sent: percent-encoded, without the query
  std::string query;       // as sent, without '?'
  Headers headers;
  std::string body;
  std::string peer;  // the client's address, on the server's side
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
  int hops = 0;  // how far it may travel: the IP time to live of its packets, on the server's side; 0: the system's
};

}  // namespace kiln::http
