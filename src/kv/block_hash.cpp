#include "kv/block_hash.h"

#include <xxhash.h>

namespace sluice {

uint64_t root_block_hash(CacheSalt salt) { return XXH3_64bits(&salt, sizeof salt); }

uint64_t next_block_hash(uint64_t parent, std::span<const TokenId> block) {
  return XXH3_64bits_withSeed(block.data(), block.size_bytes(), parent);
}

}  // namespace sluice
