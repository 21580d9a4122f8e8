// ImageTest: its table of keys, and how its nodes become values.
#include "spec/image_test.h"

#include <fmt/format.h>
#include <regex.h>

#include <algorithm>

#include "base/digest.h"
#include "base/text.h"
#include "spec/internal/image_test_reader.h"
#include "spec/internal/shapes.h"

namespace kiln::spec {
namespace {

using Kind = Shape::Kind;

const Shape kPort = {.kind = Kind::integer, .min = 1, .max = 65535};
const Shape kTrue = {.kind = Kind::text, .choices = {"true"}};

const Shape& path_shape() {
  static const Shape shape = text("an absolute path, such as /etc/nginx/nginx.conf", "/[^\\n]*");
  return shape;
}

// What a check is matched with is compiled when the file is read, so that a wrong one has a line and a column.
const Shape& expression_shape() {
  static const Shape shape = text("a regular expression of one line", "[^\\n]{1,500}");
  return shape;
}

const Shape& http_shape() {
  static const Shape path = text("a path that begins with '/'", "/[!-~]{0,1023}");
  static const Shape status = {.kind = Kind::integer, .min = 100, .max = 599};
  static const Shape timeout = {.kind = Kind::duration, .min = 1, .max = 600};
  static const Shape headers = {.kind = Kind::named,
                                .what = "a header's name, such as Content-Type",
                                .pattern = "[A-Za-z0-9-]{1,100}",
                                .item = &expression_shape(),
                                .min = 1,
                                .max = 20};
  static const Shape shape =
      mapping_or(kPort, {
                            {"port", &kPort, "Where to ask; 80 without it."},
                            {"path", &path, "What to ask for; / without it."},
                            {"status", &status, "The answer's status; 200 without it."},
                            {"body", &expression_shape(), "A regular expression that must be found in the body."},
                            {"headers", &headers, "Headers that the answer must have, each with a regular expression."},
                            {"timeout", &timeout, "It is asked again until it answers so, this long; 10s without it."},
                        });
  return shape;
}

const Shape& run_shape() {
  static const Shape command = text("a shell command", "");
  static const Shape commands = one_or_more(command);
  static const Shape status = {.kind = Kind::integer, .min = 0, .max = 255};
  static const Shape timeout = {.kind = Kind::duration, .min = 1, .max = 3600};
  static const Shape shape = mapping_or(
      commands, {
                    {"command", &commands, "Commands for /bin/sh, as root, in the instance.", true},
                    {"status", &status, "Their exit status; 0 without it."},
                    {"output", &expression_shape(), "A regular expression that must be found in what they print."},
                    {"timeout", &timeout, "How long they may take; 60s without it."},
                });
  return shape;
}

const Shape& file_shape() {
  static const Shape mode = text("a file mode in octal, such as 0644", "[0-7]?[0-7]{3}");
  static const Shape owner =
      text("user:group, such as 33:33 or www-data:www-data", "[a-z0-9_-]{1,32}:[a-z0-9_-]{1,32}");
  static const Shape content = text("a text", "");
  static const Shape contains = text("a text of one line", "[^\\n]{1,500}");
  static const Shape sha256 = text("64 hex digits", "[0-9a-f]{64}");
  static const Shape shape =
      mapping_or(path_shape(), {
                                   {"path", &path_shape(), "The file or folder.", true},
                                   {"mode", &mode, "Its mode."},
                                   {"owner", &owner, "Its owner, as numbers or as names."},
                                   {"content", &content, "All that is in it."},
                                   {"contains", &contains, "A text that is in one of its lines."},
                                   {"sha256", &sha256, "The digest of what is in it."},
                                   {"absent", &kTrue, "It must not be there."},
                               });
  return shape;
}

// "200MiB", as its pattern has it.
std::uint64_t bytes_of(const std::string& written) {
  const std::uint64_t number = std::stoull(written);
  if (written.ends_with("KiB")) return number << 10;
  return written.ends_with("MiB") ? number << 20 : number << 30;
}

class Reader {
 public:
  explicit Reader(const Source& source) : source_(source) {}

  void read(const Node& item, ImageTest& into) const {
    const auto& [key, value] = item.entries.front();
    const auto add = [&into, where = key.where](auto action) { into.push_back({where, std::move(action)}); };
    if (key.text == "unit") {
      for (const std::string& unit : texts_of(value))
        add(UnitCheck{unit.find('.') == std::string::npos ? unit + ".service" : unit});
    }
    if (key.text == "port" || key.text == "ports") add(PortsCheck{ports_of(value), false});
    if (key.text == "only_ports") add(PortsCheck{ports_of(value), true});
    if (key.text == "http") add(http_of(value));
    if (key.text == "run") add(run_of(value));
    if (key.text == "boot") add(BootCheck{parse_duration(value.text)});
    if (key.text == "memory") add(MemoryCheck{bytes_of(value.text)});
    if (key.text == "file") add(file_of(value));
    if (key.text == "no_secrets") add(no_secrets_of(value));
    if (key.text == "read_only") add(ReadOnlyCheck{});
  }

 private:
  static std::vector<std::string> texts_of(const Node& node) {
    if (node.is_scalar()) return {node.text};
    std::vector<std::string> texts;
    for (const auto& [none, value] : node.entries) texts.push_back(value.text);
    return texts;
  }

  static std::vector<int> ports_of(const Node& node) {
    std::vector<int> ports;
    for (const std::string& port : texts_of(node)) ports.push_back(static_cast<int>(parse_int(port).value()));
    std::ranges::sort(ports);
    ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
    return ports;
  }

  std::string expression_of(const Node& node) const {
    regex_t compiled;
    const int wrong = ::regcomp(&compiled, node.text.c_str(), REG_EXTENDED | REG_NOSUB);
    if (wrong != 0) {
      char why[200];
      ::regerror(wrong, &compiled, why, sizeof why);
      throw source_.error(node.where, fmt::format("'{}' is no regular expression: {}", node.text, why),
                          "They are POSIX extended ones, as those of grep -E.");
    }
    ::regfree(&compiled);
    return node.text;
  }

  static Duration timeout_of(const Node& node, Duration without) {
    const Node* timeout = node.find("timeout");
    return timeout == nullptr ? without : parse_duration(timeout->text);
  }

  HttpCheck http_of(const Node& node) const {
    HttpCheck check;
    if (node.is_scalar()) {
      check.port = static_cast<int>(parse_int(node.text).value());
      return check;
    }
    if (const Node* port = node.find("port")) check.port = static_cast<int>(parse_int(port->text).value());
    if (const Node* path = node.find("path")) check.path = path->text;
    if (const Node* status = node.find("status")) check.status = static_cast<int>(parse_int(status->text).value());
    if (const Node* body = node.find("body")) check.body = expression_of(*body);
    if (const Node* headers = node.find("headers")) {
      for (const auto& [name, value] : headers->entries) check.headers.emplace_back(name.text, expression_of(value));
    }
    check.timeout = timeout_of(node, check.timeout);
    return check;
  }

  RunCheck run_of(const Node& node) const {
    RunCheck check;
    check.commands = texts_of(node.is_mapping() ? *node.find("command") : node);
    if (!node.is_mapping()) return check;
    if (const Node* status = node.find("status")) check.status = static_cast<int>(parse_int(status->text).value());
    if (const Node* output = node.find("output")) check.output = expression_of(*output);
    check.timeout = timeout_of(node, check.timeout);
    return check;
  }

  FileCheck file_of(const Node& node) const {
    FileCheck check;
    if (node.is_scalar()) {
      check.path = node.text;
      return check;
    }
    check.path = node.find("path")->text;
    check.absent = node.find("absent") != nullptr;
    if (const Node* mode = node.find("mode")) check.mode = static_cast<unsigned>(std::stoul(mode->text, nullptr, 8));
    if (const Node* owner = node.find("owner")) check.owner = owner->text;
    if (const Node* content = node.find("content")) check.content = content->text;
    if (const Node* contains = node.find("contains")) check.contains = contains->text;
    if (const Node* sha256 = node.find("sha256")) check.sha256 = sha256->text;
    if (check.absent && node.entries.size() > 2) {
      throw source_.error(node.find("absent")->where, "a file that is absent has no mode, owner or content",
                          "keep 'path' and 'absent' only");
    }
    return check;
  }

  static NoSecretsCheck no_secrets_of(const Node& node) {
    NoSecretsCheck check;
    if (node.is_mapping()) check.except = texts_of(*node.find("except"));
    std::ranges::sort(check.except);
    return check;
  }

  const Source& source_;
};

// What is longer than a line, or has several, is named by its digest.
std::string shown(const std::string& text) {
  if (text.size() <= 60 && text.find('\n') == std::string::npos) return "'" + text + "'";
  return "sha256:" + sha256(text).short_str();
}

struct Writer {
  std::string operator()(const UnitCheck& check) const { return "unit " + check.unit; }
  std::string operator()(const PortsCheck& check) const {
    return fmt::format("{}{} {}", check.only ? "only " : "", check.ports.size() == 1 ? "port" : "ports",
                       fmt::join(check.ports, " "));
  }
  std::string operator()(const HttpCheck& check) const {
    std::string line = fmt::format("http :{}{} {}", check.port, check.path, check.status);
    for (const auto& [name, value] : check.headers) line += fmt::format(" {}~{}", name, shown(value));
    if (!check.body.empty()) line += " body~" + shown(check.body);
    if (check.timeout != HttpCheck{}.timeout) line += " within " + format_duration(check.timeout);
    return line;
  }
  std::string operator()(const RunCheck& check) const {
    std::string line = check.title.empty() ? "run " + join(check.commands, " && ") : check.title;
    if (check.status != 0) line += fmt::format(" status={}", check.status);
    if (!check.output.empty()) line += " output~" + shown(check.output);
    if (check.timeout != RunCheck{}.timeout) line += " within " + format_duration(check.timeout);
    return line;
  }
  std::string operator()(const BootCheck& check) const { return "boot within " + format_duration(check.most); }
  std::string operator()(const MemoryCheck& check) const { return "memory within " + format_bytes(check.bytes_most); }
  std::string operator()(const FileCheck& check) const {
    std::string line = "file " + check.path;
    if (check.absent) line += " absent";
    if (check.mode) line += fmt::format(" mode={:04o}", *check.mode);
    if (!check.owner.empty()) line += " owner=" + check.owner;
    if (check.content) line += " content=" + shown(*check.content);
    if (!check.contains.empty()) line += " contains=" + shown(check.contains);
    if (!check.sha256.empty()) line += " sha256=" + check.sha256;
    return line;
  }
  std::string operator()(const NoSecretsCheck& check) const {
    return check.except.empty() ? "no secrets" : "no secrets but " + join(check.except, " ");
  }
  std::string operator()(const ReadOnlyCheck&) const { return "read-only root"; }
};

}  // namespace

std::string ImageCheck::text() const {
  std::string line = std::visit(Writer{}, action);
  std::ranges::replace(line, '\n', ' ');
  return line;
}

const Shape& image_test_shape() {
  static const Shape unit = text("a systemd unit, such as nginx or backup.timer", "[A-Za-z0-9][A-Za-z0-9@_.:-]*");
  static const Shape units = one_or_more(unit);
  static const Shape ports = one_or_more(kPort);
  static const Shape boot = {.kind = Kind::duration, .min = 1, .max = 3600};
  static const Shape memory = text("a size such as 200MiB or 2GiB", "[1-9][0-9]{0,6}(KiB|MiB|GiB)");
  static const Shape paths = one_or_more(path_shape());
  static const Shape no_secrets = mapping_or(kTrue, {{"except", &paths, "Files that may be there.", true}});
  static const Shape item = [] {
    Shape made = mapping({
        {"unit", &units, "systemd units that must be active."},
        {"port", &ports, "TCP ports on which something must listen, reachable from outside."},
        {"ports", &ports, "The same as 'port'."},
        {"only_ports", &ports, "TCP ports on which something must listen, and on no other."},
        {"http", &http_shape(), "An HTTP request, and what its answer must be."},
        {"run", &run_shape(), "Commands that must succeed in the instance."},
        {"boot", &boot, "How long the boot may take."},
        {"memory", &memory, "How much memory all processes may hold after the boot."},
        {"file", &file_shape(), "A file, and what must hold of it."},
        {"no_secrets", &no_secrets, "No ssh keys, private keys, histories, credentials or machine id in the image."},
        {"read_only", &kTrue, "The root cannot be written outside 'writable'."},
    });
    made.exactly_one_key = true;
    return made;
  }();
  static const Shape shape = {.kind = Kind::list, .item = &item, .min = 1, .max = 200};
  return shape;
}

ImageTest read_image_test(const Source& source, const Node& node) {
  ImageTest test;
  for (const auto& [none, item] : node.entries) Reader(source).read(item, test);
  return test;
}

}  // namespace kiln::spec
