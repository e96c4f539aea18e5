#pragma once
// The parts of gear4 (gear.cpp), for tests that leave some out.

#include <cstdint>

#include "quant/kv/kv_type.h"

namespace sluice {

struct GearParts {
  bool low_rank = true, sparse = true;
};
/// x[block_tokens][head_dim] into a tile of kKvGear4 that decodes to the sum of its codes and these parts.
void encode_gear(KvPart part, const float* x, int block_tokens, int head_dim, uint8_t* tile, GearParts parts);

}  // namespace sluice
