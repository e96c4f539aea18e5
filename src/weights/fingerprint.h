#pragma once
// Tells models apart, so that what was computed by one is never taken for another's.

#include <cstdint>

#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

/// A hash of the metadata, of every tensor's name, type and shape, and of samples of its bytes (up to 4 KiB at each of
/// five places): reads a few megabytes, whatever the size of the model. Errors (io) name the file.
Result<uint64_t> model_fingerprint(const TensorSource& source);

}  // namespace sluice
