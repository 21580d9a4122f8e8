// RealWorld: a network namespace with small HTTP servers in it, and clients that never stop asking, for tests of the
// real data plane. Needs root.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/file.h"

namespace kiln::region::elb::testing {

// A namespace whose loopback device has all of 10.77.0.0/24; removed with everything in it.
class TestNamespace {
 public:
  TestNamespace();
  ~TestNamespace();
  const std::string& name() const { return name_; }
  std::string path() const { return "/run/netns/" + name_; }
  static constexpr const char* kVpc = "vpc-1";  // whose namespace it can be: what its name ends with
  std::string name_before_vpc() const { return name_.substr(0, name_.size() - std::string(kVpc).size()); }

 private:
  std::string name_;
};

// Answers every GET with 200 and its name as the body; "/slow" after a second; "/healthz" with `health`; "/headers"
// with the request as it came. One thread a connection.
class TinyServer {
 public:
  TinyServer(const TestNamespace& where, std::string address, int port, std::string name);
  ~TinyServer();  // closes at once, as a machine that is ended
  const std::string& address() const { return address_; }
  int port() const { return port_; }
  const std::string& name() const { return name_; }
  int served() const { return served_; }
  std::atomic<int> health = 200;

 private:
  void accept_all();
  void serve(int fd);

  std::string address_;
  int port_;
  std::string name_;
  host::FileDescriptor listener_;
  std::atomic<bool> ended_ = false;
  std::atomic<int> served_ = 0;
  std::mutex mutex_;
  std::vector<int> open_;
  std::atomic<int> active_ = 0;
  std::thread acceptor_;
};

struct Answer {
  int status = 0;  // 0: no answer
  std::string head;
  std::string body;
};
// One request on a connection of its own; `extra` are header lines, each with its CR LF.
Answer get(const std::string& address, int port, const std::string& path, const std::string& extra = "");

// Clients that ask without pause (`pause_ms` 0) or with one, over connections that they keep as long as they may.
class Load {
 public:
  Load(std::string address, int port, int clients, int pause_ms);
  ~Load();
  void stop();
  int sent() const { return sent_; }
  int failed() const { return failed_; }
  std::string first_failure() const;
  // Answers by body since the last call.
  std::map<std::string, int> take_bodies();

 private:
  void ask(int pause_ms);
  void fail(const std::string& why);

  std::string address_;
  int port_;
  std::atomic<bool> ended_ = false;
  std::atomic<int> sent_ = 0;
  std::atomic<int> failed_ = 0;
  mutable std::mutex mutex_;
  std::string first_failure_;
  std::map<std::string, int> bodies_;
  std::vector<std::thread> clients_;
};

}  // namespace kiln::region::elb::testing
