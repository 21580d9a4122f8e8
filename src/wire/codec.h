// Codec: AWS's messages as HTTP, in both directions, for the client and for the region: protocols ec2, query and json.
//
// One walk over a description (shape.h) does it; `input` and `output` point at the operation's structures. The server's
// side is strict, as EC2 is: what it does not know is refused, never ignored. Sources:
// https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html, aws-query-protocol.html, aws-json-1_1-protocol.html
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"
#include "wire/shape.h"

namespace kiln::wire {

// Bounds on what others send.
inline constexpr std::size_t kListIndexMax = 10'000;
inline constexpr std::size_t kParamsMax = 50'000;
inline constexpr int kDepthMax = 32;

// Why a request cannot be read: what AWS would answer (always status 400).
class DecodeError : public std::exception {
 public:
  DecodeError(std::string code, std::string message) : code_(std::move(code)), message_(std::move(message)) {}
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string code_;
  std::string message_;
};

// The error that a region answers with and a client reads.
struct ErrorAnswer {
  std::string code;
  std::string message;
  std::string request_id;
  bool operator==(const ErrorAnswer&) const = default;
};

// Client. A request without Host, date and signature; its body is the whole of it.
http::Request encode_request(const Operation& operation, const void* input);
// Throws kiln::Error(invalid) for what is no answer of that operation. Members that it does not know are passed over.
void decode_response(const Operation& operation, const http::Response& response, void* output);
// nullopt for a body that is no AWS error.
std::optional<ErrorAnswer> decode_error(const Service& service, const http::Response& response);

// Region. The operation's name ("RunInstances"), before anything else is looked at; empty when there is none.
std::string peek_operation(const Service& service, const http::Request& request);
// Fills a fresh input. An empty parameter counts as absent. Throws DecodeError.
void decode_request(const Operation& operation, const http::Request& request, void* input);
http::Response encode_response(const Operation& operation, const void* output, const std::string& request_id);
http::Response encode_error(const Service& service, const ErrorAnswer& error, int http_status);

}  // namespace kiln::wire
