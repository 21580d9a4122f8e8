// JSON: requests and answers of the json protocol, versions 1.0 and 1.1.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/error.h"
#include "wire/codec.h"
#include "wire/internal/protocols.h"

namespace kiln::wire {
namespace {

using nlohmann::json;

json to_json(const Shape& shape, const void* value);

struct MapWriter {
  json& object;
  const Shape& shape;
  static void visit(void* context, const std::string& key, const void* value) {
    auto& self = *static_cast<MapWriter*>(context);
    self.object[key] = to_json(*self.shape.element, value);
  }
};

json to_json(const Shape& shape, const void* value) {
  switch (shape.kind) {
    case Kind::structure: {
      json object = json::object();
      for (const Member& member : shape.members) {
        if (const void* present = member.get(value)) object[std::string(member.name)] = to_json(*member.shape, present);
      }
      return object;
    }
    case Kind::list: {
      json array = json::array();
      for (std::size_t i = 0; i < shape.size(value); ++i) array.push_back(to_json(*shape.element, shape.at(value, i)));
      return array;
    }
    case Kind::map: {
      json object = json::object();
      MapWriter writer{object, shape};
      shape.each(value, &writer, MapWriter::visit);
      return object;
    }
    case Kind::string:
      return *static_cast<const std::string*>(value);
    case Kind::blob:
      return base64_encode(*static_cast<const std::string*>(value));
    case Kind::boolean:
      return *static_cast<const bool*>(value);
    case Kind::integer:
      return *static_cast<const std::int64_t*>(value);
    case Kind::real:
      return *static_cast<const double*>(value);
    case Kind::timestamp:
      return static_cast<double>(static_cast<const Time*>(value)->time_since_epoch().count()) / 1000.0;
  }
  return nullptr;
}

[[noreturn]] void refuse(std::string message) { throw DecodeError("SerializationException", std::move(message)); }

class Reader {
 public:
  explicit Reader(bool strict) : strict_(strict) {}

  void read(const Shape& shape, const json& from, void* value, const std::string& path, int depth) {
    if (depth > kDepthMax) refuse(path + " is nested too deeply");
    switch (shape.kind) {
      case Kind::structure:
        return structure(shape, from, value, path, depth);
      case Kind::list:
        if (!from.is_array()) wrong(path, "a list");
        if (from.size() > kListIndexMax) refuse(path + " has too many elements");
        for (const json& element : from) read(*shape.element, element, shape.append(value), path, depth + 1);
        return;
      case Kind::map:
        if (!from.is_object()) wrong(path, "an object");
        for (const auto& [key, held] : from.items()) {
          read(*shape.element, held, shape.insert(value, key), path + "." + key, depth + 1);
        }
        return;
      default:
        return scalar(shape, from, value, path);
    }
  }

 private:
  void structure(const Shape& shape, const json& from, void* value, const std::string& path, int depth) {
    if (!from.is_object()) wrong(path, "an object");
    for (const auto& [key, held] : from.items()) {
      auto member = std::find_if(shape.members.begin(), shape.members.end(),
                                 [name = std::string_view(key)](const Member& one) { return one.name == name; });
      if (member == shape.members.end()) {
        if (strict_) throw DecodeError("ValidationException", fmt::format("{}.{} is not a known member", path, key));
        continue;
      }
      if (!held.is_null()) read(*member->shape, held, member->make(value), path + "." + key, depth + 1);
    }
    if (!strict_) return;
    for (const Member& member : shape.members) {
      if (member.required && (!from.contains(member.name) || from[std::string(member.name)].is_null())) {
        throw DecodeError(
            "ValidationException",
            fmt::format("1 validation error detected: Value null at '{}' failed to satisfy constraint: Member "
                        "must not be null",
                        member.name));
      }
    }
  }

  void scalar(const Shape& shape, const json& from, void* value, const std::string& path) {
    bool good = false;
    switch (shape.kind) {
      case Kind::string:
      case Kind::blob:
        good = from.is_string() && parse_scalar(shape, from.get_ref<const std::string&>(), value);
        break;
      case Kind::boolean:
        good = from.is_boolean();
        if (good) *static_cast<bool*>(value) = from.get<bool>();
        break;
      case Kind::integer:
        good = from.is_number_integer();
        if (good) *static_cast<std::int64_t*>(value) = from.get<std::int64_t>();
        break;
      case Kind::real:
        good = from.is_number();
        if (good) *static_cast<double*>(value) = from.get<double>();
        break;
      default:
        good = (from.is_number() || from.is_string()) &&
               parse_scalar(shape, from.is_string() ? from.get<std::string>() : from.dump(), value);
    }
    if (!good) wrong(path, shape.name);
    if (strict_ && !shape.values.empty() &&
        std::find(shape.values.begin(), shape.values.end(), from.get_ref<const std::string&>()) == shape.values.end()) {
      throw DecodeError("ValidationException", fmt::format("{} has a value that is not allowed", path));
    }
  }

  [[noreturn]] static void wrong(const std::string& path, std::string_view expected) {
    refuse(fmt::format("{} must be {}", path.empty() ? "the body" : path, expected));
  }

  bool strict_;
};

}  // namespace

std::string encode_json(const Shape& shape, const void* value) {
  return to_json(shape, value).dump(-1, ' ', false, json::error_handler_t::replace);
}

void decode_json(const Shape& shape, std::string_view body, void* value, bool strict) {
  // The parser recurses; a bound on nesting stops it before the stack does.
  int depth = 0;
  auto bounded = [&depth](int at, json::parse_event_t, json&) {
    depth = at;
    if (at > 2 * kDepthMax) refuse("the body is nested too deeply");
    return true;
  };
  try {
    const json parsed = json::parse(body.empty() && strict ? std::string_view("{}") : body, bounded, false);
    if (parsed.is_discarded()) refuse(fmt::format("the body is not JSON: {}", body.substr(0, 200)));
    Reader(strict).read(shape, parsed, value, "", 0);
  } catch (const DecodeError& error) {
    if (strict) throw;
    throw Error(ErrorCode::invalid, "an answer cannot be read: " + error.message());
  }
}

std::string encode_json_error(const ErrorAnswer& error) {
  return json{{"__type", error.code}, {"message", error.message}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<ErrorAnswer> decode_json_error(const http::Response& response) {
  json body = json::parse(response.body, nullptr, false);
  if (!body.is_object() || !body.contains("__type") || !body["__type"].is_string()) return std::nullopt;
  ErrorAnswer error;
  error.code = body["__type"].get<std::string>();
  // "com.amazonaws.ssm#ParameterNotFound": the name after '#' is the code.
  if (std::size_t hash = error.code.rfind('#'); hash != std::string::npos) error.code.erase(0, hash + 1);
  for (const char* name : {"message", "Message"}) {
    if (body.contains(name) && body[name].is_string()) error.message = body[name].get<std::string>();
  }
  error.request_id = response.headers.get("x-amzn-RequestId");
  return error;
}

}  // namespace kiln::wire
