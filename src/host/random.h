// Random: where chance comes from. The kernel's for secrets and ids, a seed's for simulation.
#pragma once

#include <cstdint>
#include <string>

namespace kiln::host {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;

  // Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1).
  double unit();
  // `digits` lowercase hex digits: the tail of an AWS id ("i-" + hex(17)).
  std::string hex(std::size_t digits);
  // Version 4 (RFC 9562): "8c1f0c5e-....".
  std::string uuid();
};

// getrandom(2). Safe to use from several threads.
class SystemRandom final : public Random {
 public:
  std::uint64_t next() override;
};

// SplitMix64: the same seed gives the same numbers on every machine. Not for secrets; one thread.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override;

 private:
  std::uint64_t state_;
};

}  // namespace kiln::host
