#pragma once
// Does a model fit in the memory that this process may use? Asked before anything is allocated.

#include <cstddef>
#include <string>

#include "base/machine.h"
#include "base/result.h"

namespace sluice {

/// resource_exhausted, with the sum, when weights, KV cache and working memory exceed what is available. `model`: its file.
Status check_fits(const std::string& model, size_t weight_bytes, size_t kv_bytes, size_t work_bytes,
                  const MemoryLimit& limit = memory_limit());

}  // namespace sluice
