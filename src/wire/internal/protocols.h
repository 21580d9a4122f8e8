// Protocols: what codec.cc chooses from; each function is one side of one protocol.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"
#include "wire/codec.h"
#include "wire/shape.h"

namespace kiln::wire {

// ec2 and query: form parameters out and in.
std::string encode_params(const Operation& operation, const void* input);
void decode_params(const Operation& operation, std::string_view body, void* input);
// The value of one parameter, decoded; empty when it is not there.
std::string param_of(std::string_view body, std::string_view name);

// ec2 and query: XML answers.
std::string encode_xml(const Operation& operation, const void* output, const std::string& request_id);
void decode_xml(const Operation& operation, std::string_view body, void* output);
std::string encode_xml_error(const Service& service, const ErrorAnswer& error, int http_status);
std::optional<ErrorAnswer> decode_xml_error(std::string_view body);

// json: both directions are the same.
std::string encode_json(const Shape& shape, const void* value);
void decode_json(const Shape& shape, std::string_view body, void* value, bool strict);
std::string encode_json_error(const ErrorAnswer& error);
std::optional<ErrorAnswer> decode_json_error(const http::Response& response);

// Scalars as text, in forms and XML.
void append_scalar(std::string& out, const Shape& shape, const void* value);
// False when the text is not of that kind.
bool parse_scalar(const Shape& shape, std::string_view text, void* value);

}  // namespace kiln::wire
