// Agent: see agent.h.
#include "machine/agent.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/error.h"
#include "host/clock.h"
#include "machine/internal/guest_bus.h"
#include "machine/internal/quick_file.h"
#include "machine/supervisor.h"

namespace kiln::machine {
namespace {

using nlohmann::json;

constexpr Duration kTryAgain{25};          // between tries to reach an init that boots
constexpr Duration kLookSoon{2};           // while it is to begin or to end
constexpr Duration kLookSeldom{1'000};     // when nothing happens: init tells of its end
constexpr Duration kKillMax{5'000};        // after SIGKILL; a process that hangs in the kernel is left to the machine
constexpr Duration kLingerMax{3'600'000};  // for what the script left in the background and that still writes to us
constexpr std::size_t kPiece = 64 * 1024;
constexpr Duration kPause{10};  // after a piece that nobody wants any more: 6 MiB/s of this host's time at most
constexpr std::uint64_t kMemoryMax = 128ull << 20;  // what an init can make this process hold

// The first bytes of what comes out of a pipe.
class Output {
 public:
  explicit Output(std::size_t max) : max_(max) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw Error(ErrorCode::io, "cannot make a pipe");
    read_ = host::FileDescriptor(ends[0]);
    write_ = host::FileDescriptor(ends[1]);
    ::fcntl(read_.get(), F_SETFL, O_NONBLOCK);
  }
  int write_end() const { return write_.get(); }
  void close_write_end() { write_.reset(); }
  int read_end() const { return read_.get(); }
  bool open() const { return static_cast<bool>(read_); }

  // One piece; false when there is nothing now.
  bool read() {
    if (!open()) return false;
    std::array<char, kPiece> piece;
    const ssize_t got = ::read(read_.get(), piece.data(), piece.size());
    if (got < 0) return false;
    if (got == 0) {
      read_.reset();
      return false;
    }
    const auto size = static_cast<std::size_t>(got);
    const std::size_t room = max_ - kept_.size();
    kept_.append(piece.data(), std::min(size, room));
    cut_ = cut_ || size > room;
    return true;
  }
  bool full() const { return cut_; }
  const std::string& kept() const { return kept_; }

 private:
  std::size_t max_;
  host::FileDescriptor read_;
  host::FileDescriptor write_;
  std::string kept_;
  bool cut_ = false;
};

host::FileDescriptor file_of(const std::string& text) {
  host::FileDescriptor file(::memfd_create("script", MFD_CLOEXEC));
  if (!file || ::pwrite(file.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw Error(ErrorCode::io, "cannot hold the script");
  }
  return file;
}

class Agent {
 public:
  Agent(host::Path machine, const std::string& id)
      : machine_(std::move(machine)), folder_(machine_ / "commands" / id), unit_("kiln-command-" + id + ".service") {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = host::FileDescriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    ::signal(SIGPIPE, SIG_IGN);
    const rlimit memory{kMemoryMax, kMemoryMax};
    ::setrlimit(RLIMIT_DATA, &memory);
    take();
    command_ = parse_command(host::read_file(folder_ / "command"));
  }

  void run() {
    CommandEnd end;
    try {
      end = carry_out();
    } catch (const Error& error) {
      say(error.what());
    }
    // Ours; a machine that has them too may go on writing.
    out_.close_write_end();
    err_.close_write_end();
    end.out = out_.kept();
    end.err = err_.kept();
    end.out_cut = out_.full();
    end.err_cut = err_.full();
    end.ended = clock_.now();
    bus_.reset();
    write_quick_file(folder_ / "end", render_end(end));
    linger();
  }

 private:
  // Into the machine's supervisor.log.
  void say(const std::string& what) const {
    std::fprintf(stderr, "%s command %s: %s\n", format_iso8601(clock_.now()).c_str(), command_.id.c_str(),
                 what.c_str());
  }

  // The command is this process's, and no second one's.
  void take() {
    const std::string mine = (folder_ / fmt::format("agent.{}", ::getpid())).string();
    write_quick_file(mine, host::self().str());
    const int failure = ::link(mine.c_str(), (folder_ / "agent").c_str());
    ::unlink(mine.c_str());
    if (failure != 0) throw Error(ErrorCode::held, "another agent has the command");
  }

  CommandEnd carry_out() {
    CommandEnd end;
    if (const auto early = begin()) {
      end.how = *early;
      return end;
    }
    // From here on it may run: what cannot be learned any more is `lost`.
    const Duration give_up = clock_.uptime() + command_.delivery;
    std::optional<Duration> deadline;
    std::optional<CommandEnd::How> killed;
    while (true) {
      const auto state = bus_->state(unit_);
      if (!state) return end;
      if (state->running && end.started == Time{}) {
        end.started = clock_.now();
        deadline = clock_.uptime() + command_.timeout;
      }
      if (state->ended) {
        end.how = killed.value_or(CommandEnd::How::exited);
        end.status = state->status;
        break;
      }
      const Duration now = clock_.uptime();
      if (killed && now >= *deadline) {
        end.how = *killed;
        break;
      }
      if (!killed && !deadline && (cancelled_ || now >= give_up)) {
        // Its job still waits for the machine's boot.
        bus_->remove(unit_);
        end.how = cancelled_ ? CommandEnd::How::cancelled : CommandEnd::How::undelivered;
        return end;
      }
      if (!killed && deadline && (cancelled_ || now >= *deadline)) {
        killed = cancelled_ ? CommandEnd::How::cancelled : CommandEnd::How::timed_out;
        bus_->kill(unit_);
        deadline = now + kKillMax;
        continue;
      }
      const Duration until = deadline.value_or(give_up) - now;
      const bool soon = killed || !deadline;
      if (!wait(std::min(until, soon ? kLookSoon * (1 << std::min(looks_++, 5)) : kLookSeldom))) return end;
    }
    while (out_.read() || err_.read()) {
      if (out_.full() && err_.full()) break;
    }
    bus_->remove(unit_);
    return end;
  }

  // Asks init; empty when it may have begun.
  std::optional<CommandEnd::How> begin() {
    const Duration end = clock_.uptime() + command_.delivery;
    std::string why;
    while (!take_cancel() && clock_.uptime() < end) {
      try {
        const auto status = read_status(machine_);
        if (!status || status->init.pid == 0) throw Error(ErrorCode::unavailable, "it has no init");
        bus_.emplace(connect_to_init(status->init));
        const host::FileDescriptor script = file_of(command_.script);
        write_quick_file(folder_ / "asked", "");
        bus_->start(unit_, command_, {script.get(), out_.write_end(), err_.write_end()});
        return std::nullopt;
      } catch (const Error& error) {
        why = error.what();
        // Without an answer it may have begun.
        const bool asked = error.code() == ErrorCode::unavailable && bus_ && std::filesystem::exists(folder_ / "asked");
        if (asked) throw;
        std::filesystem::remove(folder_ / "asked");
        bus_.reset();
      }
      clock_.sleep(kTryAgain);
    }
    if (!cancelled_) say("not delivered: " + why);
    return cancelled_ ? CommandEnd::How::cancelled : CommandEnd::How::undelivered;
  }

  bool take_cancel() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) cancelled_ = true;
    return cancelled_;
  }

  // Until something happens, or that long. False: init's connection is gone.
  bool wait(Duration most) {
    const bool was_cancelled = cancelled_;
    const Duration end = clock_.uptime() + most;
    for (Duration now = clock_.uptime(); now < end; now = clock_.uptime()) {
      const auto told = bus_->drain();
      if (!told) return false;
      if (*told > 0) {
        clock_.sleep(kLookSoon);  // an init that floods us takes nobody's time
        return true;
      }
      std::array<pollfd, 4> watched = {{{signals_.get(), POLLIN, 0},
                                        {bus_->descriptor(), POLLIN, 0},
                                        {out_.open() ? out_.read_end() : -1, POLLIN, 0},
                                        {err_.open() ? err_.read_end() : -1, POLLIN, 0}}};
      ::poll(watched.data(), watched.size(), static_cast<int>((end - now).count()) + 1);
      read_output();
      if (take_cancel() != was_cancelled) return true;
    }
    return true;
  }

  void read_output() {
    const bool out = out_.read();
    const bool err = err_.read();
    if ((out || err) && (out_.full() || err_.full())) clock_.sleep(kPause);
  }

  // A process that the script left behind would be killed by its next line if nobody read it.
  void linger() {
    const Duration end = clock_.uptime() + kLingerMax;
    while ((out_.open() || err_.open()) && clock_.uptime() < end && !take_cancel()) {
      std::array<pollfd, 3> watched = {{{signals_.get(), POLLIN, 0},
                                        {out_.open() ? out_.read_end() : -1, POLLIN, 0},
                                        {err_.open() ? err_.read_end() : -1, POLLIN, 0}}};
      ::poll(watched.data(), watched.size(), static_cast<int>(kLookSeldom.count()));
      read_output();
    }
  }

  host::SystemClock clock_;
  host::Path machine_;
  host::Path folder_;
  std::string unit_;
  Command command_;
  host::FileDescriptor signals_;
  std::optional<GuestBus> bus_;
  Output out_{kCommandOutMax};
  Output err_{kCommandErrMax};
  bool cancelled_ = false;
  int looks_ = 0;
};

template <typename Read>
auto read_json(const char* what, const std::string& text, Read&& body) {
  try {
    return body(json::parse(text));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("the record of {} cannot be read: {}", what, error.what()));
  }
}

}  // namespace

int agent_main(int argc, char** argv) {
  // A child of ours is for a moment in the machine, whose root may read it: see guest_bus.cc.
  for (char** variable = environ; *variable != nullptr; ++variable) {
    ::explicit_bzero(*variable, std::strlen(*variable));
  }
  ::clearenv();
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MACHINE-FOLDER COMMAND-ID\n", kAgentCommand);
    return 2;
  }
  try {
    Agent(argv[1], argv[2]).run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", kAgentCommand, error.what());
    return 1;
  }
}

std::string render_command(const Command& command) {
  return json{{"id", command.id},
              {"script", base64_encode(command.script)},
              {"environment", command.environment},
              {"directory", base64_encode(command.directory)},
              {"delivery_ms", command.delivery.count()},
              {"timeout_ms", command.timeout.count()}}
      .dump();
}

Command parse_command(const std::string& text) {
  return read_json("a command", text, [](const json& from) {
    Command command;
    from.at("id").get_to(command.id);
    command.script = base64_decode(from.at("script").get<std::string>());
    from.at("environment").get_to(command.environment);
    command.directory = base64_decode(from.at("directory").get<std::string>());
    command.delivery = Duration(from.at("delivery_ms").get<std::int64_t>());
    command.timeout = Duration(from.at("timeout_ms").get<std::int64_t>());
    return command;
  });
}

std::string render_end(const CommandEnd& end) {
  return json{{"how", static_cast<int>(end.how)},
              {"status", end.status},
              {"out", base64_encode(end.out)},
              {"err", base64_encode(end.err)},
              {"out_cut", end.out_cut},
              {"err_cut", end.err_cut},
              {"started", end.started.time_since_epoch().count()},
              {"ended", end.ended.time_since_epoch().count()}}
      .dump();
}

CommandEnd parse_end(const std::string& text) {
  return read_json("a command's end", text, [](const json& from) {
    CommandEnd end;
    end.how = static_cast<CommandEnd::How>(from.at("how").get<int>());
    from.at("status").get_to(end.status);
    end.out = base64_decode(from.at("out").get<std::string>());
    end.err = base64_decode(from.at("err").get<std::string>());
    from.at("out_cut").get_to(end.out_cut);
    from.at("err_cut").get_to(end.err_cut);
    end.started = Time(Duration(from.at("started").get<std::int64_t>()));
    end.ended = Time(Duration(from.at("ended").get<std::int64_t>()));
    return end;
  });
}

}  // namespace kiln::machine
