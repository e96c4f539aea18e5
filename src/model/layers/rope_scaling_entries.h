#pragma once
// How config.json says what a rotation is stretched by.

#include <vector>

#include "model/layers/rope_config.h"
#include "weights/hf_config.h"

namespace sluice {

/// The tensors with which a GGUF says what config.json has settings for; empty ones are not there.
struct RopeFactors {
  std::vector<float> all, within, beyond;  // rope_freqs, rope_factors_short, rope_factors_long: [rotary dims / 2]
};

/// Appends "rope_scaling.*", as read_rope() reads it. `all` becomes llama3's settings where some give these factors, and
/// otherwise longrope's, which lists them.
Status add_rope_scaling(const RopeConfig& rope, const RopeFactors& factors, const Metadata& metadata, std::vector<ConfigEntry>& entries);

}  // namespace sluice
