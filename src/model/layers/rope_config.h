#pragma once
// Rotary position embedding (Su et al. 2021, "RoFormer") and the ways to stretch it to longer contexts.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/result.h"
#include "model/layers/config_reader.h"

namespace sluice {

/// What a file asks for, as it was understood; a converter writes it down again.
struct RopeSettings {
  std::string type = "default";  // or linear, dynamic, llama3, yarn, longrope
  double theta = 0;
  int64_t trained_positions = 0;
  double factor = 1;
  double original_positions = 0;        // llama3, yarn
  double low_freq = 0, high_freq = 0;   // llama3
  double beta_fast = 0, beta_slow = 0;  // yarn
  double magnitude = 1;                 // yarn: as a multiple of its own 0.1 ln(factor) + 1
  bool truncate = true;                 // yarn: the ramp begins and ends at whole pairs
  bool truncate_unsaid = true;          // yarn: what a GGUF of the family means, which cannot say it
  bool scores_scaled = false;           // yarn: see RopeReading
  std::vector<float> short_factors, long_factors;  // longrope: what pairs are divided by
  double mscale_all_dim = 0;            // yarn, where scores are scaled: by the square of 0.1 mscale_all_dim ln(factor) + 1
};

struct RopeConfig {
  std::vector<float> inv_freq;  // [rotary dims / 2], radians per position
  float magnitude = 1;          // what cos and sin are multiplied by
  RopeStyle style = RopeStyle::half;
  int64_t max_positions = 0;  // the context after scaling
  RopeSettings settings;
  // longrope: the frequencies within the original context and beyond it, of which inv_freq are one.
  std::vector<float> short_freq, long_freq;
  bool factors_in_tensors = false;  // the file says so of longrope's, which are then required

  /// Takes the frequencies for sequences of at most so many tokens, and says which, where there are two.
  std::string set_context(int64_t tokens);
  int rotary_dims() const { return static_cast<int>(2 * inv_freq.size()); }
};

/// What read_rope() is told by a family.
struct RopeReading {
  ConfigKey theta{"rope_theta", "rope.freq_base"};
  double default_theta = 10000;
  int rotary_dims = 0;        // of a head, even
  int64_t positions = 0;      // the file's own context length
  RopeStyle style = RopeStyle::half;
  bool truncate = true;       // yarn: where the file does not say (truncate)
  bool gguf_truncate = true;  // and in a GGUF, which cannot
  bool all_dim_in_gguf = false;  // yarn: yarn_log_multiplier is mscale_all_dim there
  bool longrope_in_gguf = false;  // a GGUF that names no type is of longrope
  bool scores_scaled = false; // yarn: the family scales scores by mscale_all_dim, and cos and sin by what is left (DeepSeek)
  std::span<const std::string_view> also = {};  // keys of the scaling that the family reads
};
/// Computes the frequencies that the file asks for:
///  - none ("default");
///  - linear: positions divided by a factor (Chen et al. 2023, "Extending context window ... via position
///  interpolation");
///  - dynamic: within the trained context this is the plain rotation, so the context is limited to that; beyond it the
///    frequencies would depend on the final length, and cached keys would be wrong;
///  - llama3: long wavelengths divided by a factor, short ones kept, a ramp between (Llama 3.1);
///  - yarn: a ramp by rotations over the trained context, and a magnitude (Peng et al. 2023, "YaRN").
///  - longrope: each pair by a factor of its own, of which there are two lists, for contexts within the original one and beyond
///    (Ding et al. 2024, "LongRoPE").
/// Any other type, and any key of the scaling that is not known, is an error.
Result<RopeConfig> read_rope(const ConfigReader& config, const RopeReading& reading);

/// The rotation without any scaling.
RopeConfig plain_rope(double theta, int rotary_dims, int64_t positions, RopeStyle style);

}  // namespace sluice
