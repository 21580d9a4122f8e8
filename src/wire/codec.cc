// Codec: which protocol writes and reads what.
#include "wire/codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "wire/elb.h"
#include "wire/iam.h"
#include "wire/internal/protocols.h"
#include "wire/ssm.h"
#include "wire/sts.h"

namespace kiln::wire {

std::span<const Service* const> services() {
  static const Service* const kServices[] = {&ec2::kService, &autoscaling::kService, &elb::kService,
                                             &iam::kService, &sts::kService,         &ssm::kService};
  return kServices;
}

const Service* find_service(std::string_view signing_name) {
  for (const Service* service : services()) {
    if (service->signing_name == signing_name) return service;
  }
  return nullptr;
}

const Operation* Service::find(std::string_view operation) const {
  auto it = std::lower_bound(operations.begin(), operations.end(), operation,
                             [](const Operation& one, std::string_view name) { return one.name < name; });
  return it != operations.end() && it->name == operation ? &*it : nullptr;
}

namespace {

std::string json_target(const Operation& operation) {
  return fmt::format("{}.{}", operation.service->target_prefix, operation.name);
}

std::string content_type(const Service& service) {
  if (service.protocol == Protocol::json) return fmt::format("application/x-amz-json-{}", service.json_version);
  return "application/x-www-form-urlencoded; charset=utf-8";
}

}  // namespace

http::Request encode_request(const Operation& operation, const void* input) {
  const Service& service = *operation.service;
  http::Request request;
  request.method = "POST";
  request.headers.add("Content-Type", content_type(service));
  if (service.protocol == Protocol::json) {
    request.headers.add("X-Amz-Target", json_target(operation));
    request.body = encode_json(*operation.input, input);
  } else {
    request.body = encode_params(operation, input);
  }
  return request;
}

void decode_response(const Operation& operation, const http::Response& response, void* output) {
  if (operation.service->protocol == Protocol::json) {
    if (trim(response.body).empty()) return;
    decode_json(*operation.output, response.body, output, false);
  } else {
    decode_xml(operation, response.body, output);
  }
}

std::optional<ErrorAnswer> decode_error(const Service& service, const http::Response& response) {
  if (service.protocol == Protocol::json) return decode_json_error(response);
  return decode_xml_error(response.body);
}

std::string peek_operation(const Service& service, const http::Request& request) {
  if (service.protocol != Protocol::json) {
    // Everything may also come in the query of a GET, as AWS takes it.
    std::string action = param_of(request.body, "Action");
    return action.empty() ? param_of(request.query, "Action") : action;
  }
  std::string_view target = request.headers.get("X-Amz-Target");
  std::size_t dot = target.rfind('.');
  return dot == std::string_view::npos ? std::string() : std::string(target.substr(dot + 1));
}

void decode_request(const Operation& operation, const http::Request& request, void* input) {
  if (operation.service->protocol == Protocol::json) {
    decode_json(*operation.input, request.body, input, true);
  } else if (param_of(request.body, "Action").empty()) {
    decode_params(operation, request.query, input);
  } else {
    decode_params(operation, request.body, input);
  }
}

http::Response encode_response(const Operation& operation, const void* output, const std::string& request_id) {
  http::Response response;
  const Service& service = *operation.service;
  if (service.protocol == Protocol::json) {
    response.headers.add("Content-Type", content_type(service));
    response.body = encode_json(*operation.output, output);
  } else {
    response.headers.add("Content-Type", "text/xml;charset=UTF-8");
    response.body = encode_xml(operation, output, request_id);
  }
  response.headers.add("x-amzn-RequestId", request_id);
  return response;
}

http::Response encode_error(const Service& service, const ErrorAnswer& error, int http_status) {
  http::Response response;
  response.status = http_status;
  if (service.protocol == Protocol::json) {
    response.headers.add("Content-Type", content_type(service));
    response.body = encode_json_error(error);
  } else {
    response.headers.add("Content-Type", "text/xml;charset=UTF-8");
    response.body = encode_xml_error(service, error, http_status);
  }
  response.headers.add("x-amzn-RequestId", error.request_id);
  return response;
}

void append_scalar(std::string& out, const Shape& shape, const void* value) {
  switch (shape.kind) {
    case Kind::string:
      out += *static_cast<const std::string*>(value);
      return;
    case Kind::blob:
      out += base64_encode(*static_cast<const std::string*>(value));
      return;
    case Kind::boolean:
      out += *static_cast<const bool*>(value) ? "true" : "false";
      return;
    case Kind::integer:
      fmt::format_to(std::back_inserter(out), "{}", *static_cast<const std::int64_t*>(value));
      return;
    case Kind::real:
      fmt::format_to(std::back_inserter(out), "{}", *static_cast<const double*>(value));
      return;
    case Kind::timestamp:
      out += format_iso8601(*static_cast<const Time*>(value));
      return;
    default:
      KILN_ASSERT(false, "a scalar");
  }
}

namespace {

bool parse_timestamp(std::string_view text, Time& out) {
  try {
    out = parse_iso8601(text);
    return true;
  } catch (const Error&) {
    // Some clients send seconds since the epoch.
    double seconds = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || !(std::abs(seconds) < 1e12)) return false;
    out = Time(Duration(static_cast<std::int64_t>(std::llround(seconds * 1000))));
    return true;
  }
}

}  // namespace

bool parse_scalar(const Shape& shape, std::string_view text, void* value) {
  switch (shape.kind) {
    case Kind::string:
      *static_cast<std::string*>(value) = text;
      return true;
    case Kind::blob:
      try {
        *static_cast<std::string*>(value) = base64_decode(text);
        return true;
      } catch (const Error&) {
        return false;
      }
    case Kind::boolean: {
      std::string lower = to_lower(text);
      *static_cast<bool*>(value) = lower == "true";
      return lower == "true" || lower == "false";
    }
    case Kind::integer: {
      auto number = parse_int(text);
      *static_cast<std::int64_t*>(value) = number.value_or(0);
      return number.has_value();
    }
    case Kind::real: {
      auto& number = *static_cast<double*>(value);
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      return error == std::errc() && end == text.data() + text.size() && std::isfinite(number);
    }
    case Kind::timestamp:
      return parse_timestamp(text, *static_cast<Time*>(value));
    default:
      return false;
  }
}

}  // namespace kiln::wire
