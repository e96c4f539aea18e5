#pragma once
// By how much keys are rotated from the first position of their block on, for formats that encode them without it
// (KvBlockCodec::unrotated_keys). Rotations add up, so it is the same in every block; what is left in all keys of a block is the
// rotation to its first position.

#include <span>
#include <vector>

#include "backend/ops.h"

namespace sluice {

struct RowOps;

struct KeyRotation {
  /// As Ops::rope has them, for blocks of so many tokens; all of a head's values are rotated.
  KeyRotation(std::span<const float> inv_freq, RopeStyle style, int block_tokens);

  enum class Way { back, forth };
  /// x[count][head_dim], of a block's tokens from `first` on, to what they would be at the block's first position, or from there.
  void turn(Way way, const RowOps& ops, float* x, int head_dim, int first, int count) const;

  RopeStyle style;
  int block_tokens, pairs;
  std::vector<float> cos, sin, minus_sin;  // [block_tokens][pairs]
};

}  // namespace sluice
