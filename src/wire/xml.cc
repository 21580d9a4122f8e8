// XML: answers of ec2 and query.
#include <fmt/format.h>

#include <cstring>
#include <pugixml.hpp>

#include "base/error.h"
#include "wire/internal/protocols.h"

namespace kiln::wire {
namespace {

// XML 1.0 allows no control characters but tab, newline and carriage return; others become U+FFFD.
void append_escaped(std::string& out, std::string_view text) {
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\r':
        out += "&#xD;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n') {
          out += "\xEF\xBF\xBD";
        } else {
          out += c;
        }
    }
  }
}

void open(std::string& out, std::string_view name) {
  out += '<';
  out += name;
  out += '>';
}

void close(std::string& out, std::string_view name) {
  out += "</";
  out += name;
  out += '>';
}

void encode_value(std::string& out, std::string_view name, const Shape& shape, const void* value);

void encode_members(std::string& out, const Shape& shape, const void* value) {
  for (const Member& member : shape.members) {
    if (const void* present = member.get(value)) {
      encode_value(out, member.xml, *member.shape, present);
    } else if (member.shape->kind == Kind::list) {
      // AWS writes lists that are empty; clients that loop over them rely on it.
      out += '<';
      out += member.xml;
      out += "/>";
    }
  }
}

struct MapWriter {
  std::string& out;
  const Shape& shape;
  static void visit(void* context, const std::string& key, const void* value) {
    auto& self = *static_cast<MapWriter*>(context);
    self.out += "<entry><key>";
    append_escaped(self.out, key);
    self.out += "</key>";
    encode_value(self.out, "value", *self.shape.element, value);
    self.out += "</entry>";
  }
};

void encode_value(std::string& out, std::string_view name, const Shape& shape, const void* value) {
  open(out, name);
  switch (shape.kind) {
    case Kind::structure:
      encode_members(out, shape, value);
      break;
    case Kind::list:
      for (std::size_t i = 0, n = shape.size(value); i < n; ++i) {
        encode_value(out, shape.element_xml, *shape.element, shape.at(value, i));
      }
      break;
    case Kind::map: {
      MapWriter writer{out, shape};
      shape.each(value, &writer, MapWriter::visit);
      break;
    }
    case Kind::string:
      append_escaped(out, *static_cast<const std::string*>(value));
      break;
    default:
      append_scalar(out, shape, value);
  }
  close(out, name);
}

// The generator's stand-in where the model gives an operation no output; an output without members is another thing,
// and AWS writes it.
constexpr std::string_view kNoShape = "Empty";

}  // namespace

std::string encode_xml(const Operation& operation, const void* output, const std::string& request_id) {
  const Service& service = *operation.service;
  std::string out;
  out.reserve(4096);
  out += "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
  out += fmt::format("<{}Response xmlns=\"{}\">", operation.name, service.xml_namespace);
  if (service.protocol == Protocol::ec2) {
    out += "<requestId>" + request_id + "</requestId>";
    // EC2 says `return` where an operation has no answer of its own.
    if (operation.output->members.empty()) out += "<return>true</return>";
    encode_members(out, *operation.output, output);
  } else {
    if (!operation.output->members.empty()) {
      out += fmt::format("<{}Result>", operation.name);
      encode_members(out, *operation.output, output);
      out += fmt::format("</{}Result>", operation.name);
    } else if (operation.output->name != kNoShape) {
      out += fmt::format("<{}Result/>", operation.name);
    }
    out += "<ResponseMetadata><RequestId>" + request_id + "</RequestId></ResponseMetadata>";
  }
  out += fmt::format("</{}Response>", operation.name);
  return out;
}

std::string encode_xml_error(const Service& service, const ErrorAnswer& error, int http_status) {
  std::string code, message;
  append_escaped(code, error.code);
  append_escaped(message, error.message);
  if (service.protocol == Protocol::ec2) {
    return fmt::format(
        "<?xml version=\"1.0\" "
        "encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error>"
        "</Errors><RequestID>{}</RequestID></Response>",
        code, message, error.request_id);
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse xmlns=\"{}\"><Error><Type>{}</Type><Code>{}</Code>"
      "<Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
      service.xml_namespace, http_status >= 500 ? "Receiver" : "Sender", code, message, error.request_id);
}

namespace {

void decode_value(const Shape& shape, pugi::xml_node node, void* value, int depth);

void decode_members(const Shape& shape, pugi::xml_node node, void* value, int depth) {
  // Answers keep the order of the model as a rule: the search goes on where the last one ended.
  std::size_t from = 0;
  for (pugi::xml_node child : node.children()) {
    for (std::size_t i = 0; i < shape.members.size(); ++i) {
      const Member& member = shape.members[(from + i) % shape.members.size()];
      if (member.xml != child.name()) continue;
      decode_value(*member.shape, child, member.make(value), depth + 1);
      from = (from + i + 1) % shape.members.size();
      break;
    }
  }
}

void decode_value(const Shape& shape, pugi::xml_node node, void* value, int depth) {
  if (depth > kDepthMax) throw Error(ErrorCode::invalid, "an answer is nested too deeply");
  if (shape.kind == Kind::structure) {
    decode_members(shape, node, value, depth);
  } else if (shape.kind == Kind::list) {
    for (pugi::xml_node child : node.children()) {
      if (shape.element_xml == child.name()) decode_value(*shape.element, child, shape.append(value), depth + 1);
    }
  } else if (shape.kind == Kind::map) {
    for (pugi::xml_node entry : node.children("entry")) {
      decode_value(*shape.element, entry.child("value"), shape.insert(value, entry.child_value("key")), depth + 1);
    }
  } else if (!parse_scalar(shape, node.child_value(), value)) {
    throw Error(ErrorCode::invalid, fmt::format("an answer's {} is '{}', which is no {}", node.name(),
                                                std::string_view(node.child_value()).substr(0, 100), shape.name));
  }
}

// Only text and elements are read; a document type could grow without bound, and pugixml expands none.
constexpr unsigned kParse =
    pugi::parse_minimal | pugi::parse_escapes | pugi::parse_eol | pugi::parse_cdata | pugi::parse_ws_pcdata_single;

}  // namespace

void decode_xml(const Operation& operation, std::string_view body, void* output) {
  pugi::xml_document document;
  pugi::xml_parse_result parsed = document.load_buffer(body.data(), body.size(), kParse, pugi::encoding_utf8);
  std::string expected = fmt::format("{}Response", operation.name);
  pugi::xml_node root = document.child(expected.c_str());
  if (!parsed || !root) {
    throw Error(ErrorCode::invalid,
                fmt::format("the answer to {} is not {}: {}", operation.name, expected, body.substr(0, 200)));
  }
  if (operation.service->protocol == Protocol::query)
    root = root.child(fmt::format("{}Result", operation.name).c_str());
  if (root) decode_members(*operation.output, root, output, 0);
}

std::optional<ErrorAnswer> decode_xml_error(std::string_view body) {
  pugi::xml_document document;
  if (!document.load_buffer(body.data(), body.size(), kParse, pugi::encoding_utf8)) return std::nullopt;
  pugi::xml_node root = document.first_child();
  pugi::xml_node error =
      std::strcmp(root.name(), "ErrorResponse") == 0 ? root.child("Error") : root.child("Errors").child("Error");
  if (!error || error.child("Code").empty()) return std::nullopt;
  std::string id = root.child_value("RequestId");
  if (id.empty()) id = root.child_value("RequestID");
  return ErrorAnswer{error.child_value("Code"), error.child_value("Message"), id};
}

}  // namespace kiln::wire
