#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A draw is a pure function of (key, counter), so the batch that a row runs in can never change it.

#include <array>
#include <cstdint>

namespace sluice {

/// Who draws: the request's seed and which of its n samples.
struct RngKey {
  uint64_t seed = 0;
  uint32_t sample = 0;
};

/// Four independent 32-bit words for (key, position, lane).
std::array<uint32_t, 4> philox(const RngKey& key, uint64_t position, uint32_t lane);

/// Uniform in [0, 1) with 53 bits, for (key, position, lane).
double uniform(const RngKey& key, uint64_t position, uint32_t lane = 0);

/// A sequential generator on top of philox, for tests, workloads and random weights.
class Rng {
 public:
  explicit Rng(uint64_t seed) : key_{seed, 0} {}
  uint64_t next_u64();
  double next_double() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }
  /// Uniform in [0, n), n > 0.
  uint64_t below(uint64_t n);
  /// Uniform in [lo, hi].
  int64_t between(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(below(static_cast<uint64_t>(hi - lo + 1))); }
  double next_normal();
  double next_exponential(double rate);

 private:
  RngKey key_;
  uint64_t counter_ = 0;
};

}  // namespace sluice
