// AmiStand: see ami_stand.h.
#include "builder/ami_stand.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "aws/error.h"
#include "base/error.h"
#include "base/text.h"
#include "builder/internal/instance.h"
#include "trial/secrets.h"

namespace kiln::builder {
namespace {

constexpr std::size_t kBodyMost = std::size_t{1} << 20;  // of an answer: more is not looked at

std::string word(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

struct AmiStand::Parts {
  Parts(Site& the_site, AmiStandOptions the_options)
      : site(the_site),
        options(std::move(the_options)),
        instance(site, Role::test, options.app, options.run, options.instance) {}

  // What ends under us is said as trials expect it; all else is not the image's fault.
  void require_running() {
    const std::string state = instance.state();
    if (state == "running") return;
    throw Error(ErrorCode::conflict, fmt::format("the instance {} does not run any more: it is {}", instance.id(),
                                                 state.empty() ? "gone" : state));
  }

  Site& site;
  AmiStandOptions options;
  Instance instance;
  std::string address;
};

AmiStand::AmiStand(Site& site, AmiStandOptions options) : parts_(std::make_unique<Parts>(site, std::move(options))) {}
AmiStand::~AmiStand() = default;

// An image whose instance ends, or is not reached, is at fault.
void AmiStand::boot() {
  try {
    parts_->instance.launch(parts_->options.ami);
  } catch (const aws::AwsError&) {
    throw;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::timeout && error.code() != ErrorCode::io) throw;
    throw Error(ErrorCode::conflict, error.message());
  }
  parts_->address = parts_->instance.address();
}

machine::CommandEnd AmiStand::ask(const machine::Command& command) {
  const std::string folder = command.directory.empty() ? std::string("/") : command.directory;
  try {
    const auto end = parts_->instance.ask(fmt::format("cd {} || exit\n{}", word(folder), as_command(command.script)),
                                          "kiln: " + command.id, command.timeout);
    if (end.how == machine::CommandEnd::How::undelivered) parts_->require_running();
    return end;
  } catch (const aws::AwsError& error) {
    if (error.aws_code() != "InvalidInstanceId") throw;
    parts_->require_running();
    throw;
  }
}

http::Response AmiStand::fetch(int port, const http::Request& request, Duration timeout) {
  const std::string question = http_question(parts_->address, port, request, timeout);
  try {
    return read_http(parts_->instance.read(question, fmt::format("kiln: http :{}", port)));
  } catch (const aws::AwsError&) {
    throw;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::io) throw;
    parts_->require_running();
    throw Error(ErrorCode::unavailable, fmt::format("nobody answers at http://{}:{}", parts_->address, port));
  }
}

std::vector<std::string> AmiStand::secrets(const std::vector<std::string>& except) const {
  return trial::read_secrets(parts_->options.secrets, except);
}

std::string AmiStand::console() const { return parts_->instance.id().empty() ? "" : parts_->instance.console(); }

std::string AmiStand::keep() {
  const std::string id = parts_->instance.id();
  if (id.empty()) return {};
  Site& site = parts_->site;
  site.ledger.append(kKept, parts_->options.app,
                     {{"run", parts_->options.run},
                      {"account", site.account},
                      {"region", site.region},
                      {"instance", id},
                      {"what", parts_->options.what}});
  return id;
}

// No image needs to have curl. 1.0, so that the body comes as it is and ends with the connection.
std::string http_question(const std::string& address, int port, const http::Request& request, Duration timeout) {
  std::string text = fmt::format("{} {}{}{} HTTP/1.0\r\nHost: {}:{}\r\nConnection: close\r\n", request.method,
                                 request.path, request.query.empty() ? "" : "?", request.query, address, port);
  for (const auto& [name, value] : request.headers.fields()) text += fmt::format("{}: {}\r\n", name, value);
  const std::string talk = fmt::format("exec 3<>/dev/tcp/{}/{} && printf %s {} >&3 && head -c {} <&3", address, port,
                                       word(text + "\r\n"), kBodyMost);
  return fmt::format("exec timeout {} bash -c {}\n", (timeout.count() + 999) / 1000, word(talk));
}

http::Response read_http(const std::string& answer) {
  const auto end = answer.find("\r\n\r\n");
  const auto lines = split(answer.substr(0, end), '\n');
  const auto status = lines[0].starts_with("HTTP/1.") ? parse_int(lines[0].substr(9, 3)) : std::nullopt;
  if (end == std::string::npos || !status) {
    throw Error(ErrorCode::unavailable, answer.empty() ? "the connection was closed without an answer"
                                                       : "what answers there does not speak HTTP");
  }
  http::Response response;
  response.status = static_cast<int>(*status);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto colon = lines[i].find(':');
    if (colon == std::string::npos) continue;
    response.headers.add(lines[i].substr(0, colon), std::string(trim(lines[i].substr(colon + 1))));
  }
  response.body = answer.substr(end + 4);
  return response;
}

}  // namespace kiln::builder
