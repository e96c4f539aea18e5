#pragma once
// Tells models apart, so that what was computed by one is never taken for another's.

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

/// A hash of the metadata and of every tensor's name, type, shape and bytes: reads the whole model once, at the speed of memory where it is in
/// the page cache; `progress` hears of it. Errors (io) name the file.
Result<uint64_t> model_fingerprint(const TensorSource& source,
                                   const std::function<void(size_t done_bytes, size_t all_bytes)>& progress = {});

}  // namespace sluice
