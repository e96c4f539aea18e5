#pragma once
// Rotary position embedding (Su et al. 2021, "RoFormer") and the ways to stretch it to longer contexts.

#include <cstdint>
#include <string>
#include <vector>

#include "backend/ops.h"
#include "base/result.h"
#include "model/layers/config_reader.h"

namespace sluice {

/// What a file asks for, as it was understood; a converter writes it down again.
struct RopeSettings {
  std::string type = "default";  // or linear, dynamic, llama3, yarn
  double theta = 0;
  int64_t trained_positions = 0;
  double factor = 1;
  double original_positions = 0;        // llama3, yarn
  double low_freq = 0, high_freq = 0;   // llama3
  double beta_fast = 0, beta_slow = 0;  // yarn
  double magnitude = 1;                 // yarn: as a multiple of its own 0.1 ln(factor) + 1
  bool truncate = true;                 // yarn: the ramp begins and ends at whole pairs
};

struct RopeConfig {
  std::vector<float> inv_freq;  // [rotary dims / 2], radians per position
  float magnitude = 1;          // what cos and sin are multiplied by
  RopeStyle style = RopeStyle::half;
  int64_t max_positions = 0;  // the context after scaling
  RopeSettings settings;

  int rotary_dims() const { return static_cast<int>(2 * inv_freq.size()); }
};

/// Computes the frequencies that the file asks for:
///  - none ("default");
///  - linear: positions divided by a factor (Chen et al. 2023, "Extending context window ... via position
///  interpolation");
///  - dynamic: within the trained context this is the plain rotation, so the context is limited to that; beyond it the
///    frequencies would depend on the final length, and cached keys would be wrong;
///  - llama3: long wavelengths divided by a factor, short ones kept, a ramp between (Llama 3.1);
///  - yarn: a ramp by rotations over the trained context, and a magnitude (Peng et al. 2023, "YaRN").
/// Any other type, and any key of the scaling that is not known, is an error. `trained_positions` is the file's own
/// context length; `rotary_dims`, even, is how many values of a head are rotated.
Result<RopeConfig> read_rope(const ConfigReader& config, ConfigKey theta, double default_theta, int rotary_dims,
                             int64_t trained_positions, RopeStyle style);

/// The rotation without any scaling.
RopeConfig plain_rope(double theta, int rotary_dims, int64_t positions, RopeStyle style);

}  // namespace sluice
