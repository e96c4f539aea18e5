#pragma once
// Does a model fit in the memory that this process may use? Asked before anything is allocated.

#include <cstddef>

#include "base/machine.h"
#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

/// Bytes of weights that every step reads: matrices packed, owned by WeightStore or mapped from a native pack, and vectors
/// as float32. Of an embedding beside a head of its own, steps touch single rows; it stays mapped and does not count.
size_t weight_bytes(const TensorSource& source);

/// resource_exhausted, with the sum, when weights, KV cache and working memory exceed what is available.
Status check_fits(const TensorSource& source, size_t kv_bytes, size_t work_bytes,
                  const MemoryLimit& limit = memory_limit());

}  // namespace sluice
