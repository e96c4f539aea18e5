#pragma once
#include "backend/ops.h"
#include "kv/kv_copy.h"

namespace sluice {

/// Copies `copy.tokens` slots of every head from one tile of a layer to another: rows, then their side streams. Keys are
/// not rotated (rotate_keys.h).
void copy_tiles(const KvLayerView& layer, const KvCopy& copy);

}  // namespace sluice
