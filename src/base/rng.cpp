#include "base/rng.h"

#include <cmath>
#include <numbers>

#include "base/check.h"

namespace sluice {

std::array<uint32_t, 4> philox(const RngKey& key, uint64_t position, uint32_t lane) {
  constexpr uint32_t kM0 = 0xD2511F53, kM1 = 0xCD9E8D57, kW0 = 0x9E3779B9, kW1 = 0xBB67AE85;
  std::array<uint32_t, 4> c{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), lane, key.sample};
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kM0} * c[0], p1 = uint64_t{kM1} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += kW0;
    k1 += kW1;
  }
  return c;
}

double uniform(const RngKey& key, uint64_t position, uint32_t lane) {
  const auto w = philox(key, position, lane);
  return static_cast<double>(((uint64_t{w[1]} << 32) | w[0]) >> 11) * 0x1.0p-53;
}

uint64_t Rng::next_u64() {
  const auto w = philox(key_, counter_++, 0);
  return (uint64_t{w[1]} << 32) | w[0];
}

uint64_t Rng::below(uint64_t n) {
  CHECK(n > 0);
  return static_cast<uint64_t>((static_cast<unsigned __int128>(next_u64()) * n) >> 64);
}

double Rng::next_normal() {
  const double u = 1.0 - next_double(), v = next_double();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

double Rng::next_exponential(double rate) { return -std::log(1.0 - next_double()) / rate; }

}  // namespace sluice
