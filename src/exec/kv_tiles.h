#pragma once
#include "backend/ops.h"
#include "kv/kv_copy.h"

namespace sluice {

/// Copies the first `copy.tokens` slots of every head from one tile of a layer to another: rows, then their side
/// streams.
void copy_tiles(const KvLayerView& layer, const KvCopy& copy);

}  // namespace sluice
