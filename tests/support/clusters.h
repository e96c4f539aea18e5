#pragma once
// Whether small blocks stand as kernels read them fastest (kv/block_pool.h).

#include <span>

#include "base/ids.h"

namespace sluice::test {

/// Of the first blocks of a table, in groups of a cluster's size, the groups that are a cluster in order.
inline int whole_clusters(std::span<const BlockId> blocks, int cluster) {
  const auto size = static_cast<size_t>(cluster);
  int whole = 0;
  for (size_t i = 0; i + size <= blocks.size(); i += size) {
    bool in_order = blocks[i] % size == 0;
    for (size_t k = 1; k < size; ++k) in_order &= blocks[i + k] == blocks[i] + k;
    whole += in_order;
  }
  return whole;
}

}  // namespace sluice::test
