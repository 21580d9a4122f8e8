// ApiError: what AWS would answer instead of a result; the front door writes it in the caller's protocol.
#pragma once

#include <exception>
#include <string>

namespace kiln::region {

class ApiError : public std::exception {
 public:
  // `code` is AWS's own ("InvalidInstanceID.NotFound"), `message` AWS's wording where it is known.
  ApiError(std::string code, std::string message, int http_status = 400)
      : code_(std::move(code)), message_(std::move(message)), http_status_(http_status) {}
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }
  int http_status() const { return http_status_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string code_;
  std::string message_;
  int http_status_;
};

}  // namespace kiln::region
