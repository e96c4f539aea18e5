#pragma once
// Does a model fit in the memory that this process may use? Asked before anything is allocated.

#include <cstddef>

#include "base/machine.h"
#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

/// Bytes that WeightStore will own for this model: its matrices packed, its vectors as float32. An embedding with a
/// head of its own stays mapped, and mapped bytes can leave memory at any time.
size_t owned_weight_bytes(const TensorSource& source);

/// resource_exhausted, with the sum, when weights, KV cache and working memory exceed what is available.
Status check_fits(const TensorSource& source, size_t kv_bytes, size_t work_bytes,
                  const MemoryLimit& limit = memory_limit());

}  // namespace sluice
