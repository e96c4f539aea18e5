#pragma once
// The hash chain of full blocks: H_i = hash(H_{i-1}, tokens_i), H_{-1} = hash(salt). A hash finds a candidate; it never
// makes a hit.

#include <cstdint>
#include <span>

#include "base/ids.h"

namespace sluice {

/// What must be equal besides the tokens: model, adapter, tenant, KV format.
using CacheSalt = uint64_t;

uint64_t root_block_hash(CacheSalt salt);
uint64_t next_block_hash(uint64_t parent, std::span<const TokenId> block);

}  // namespace sluice
