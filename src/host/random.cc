// Random: the kernel's and a seed's.
#include "host/random.h"

#include <fmt/format.h>
#include <sys/random.h>

#include "base/error.h"

namespace kiln::host {

std::uint64_t Random::below(std::uint64_t bound) {
  KILN_ASSERT(bound > 0, "a bound above zero");
  // Numbers below `threshold` would make the first residues likelier; they are drawn again.
  std::uint64_t threshold = (0 - bound) % bound;
  std::uint64_t number = next();
  while (number < threshold) number = next();
  return number % bound;
}

double Random::unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

std::string Random::hex(std::size_t digits) {
  std::string out;
  while (out.size() < digits) out += fmt::format("{:016x}", next());
  out.resize(digits);
  return out;
}

std::string Random::uuid() {
  std::string h = hex(32);
  h[12] = '4';
  h[16] = "89ab"[next() & 3];
  return fmt::format("{}-{}-{}-{}-{}", h.substr(0, 8), h.substr(8, 4), h.substr(12, 4), h.substr(16, 4), h.substr(20));
}

std::uint64_t SystemRandom::next() {
  std::uint64_t number = 0;
  // Up to 256 bytes are never cut short or interrupted once the pool is ready (getrandom(2)).
  KILN_ASSERT(getrandom(&number, sizeof number, 0) == sizeof number, "the kernel gives random numbers");
  return number;
}

std::uint64_t SeededRandom::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace kiln::host
