#pragma once
// A model file's tensors as the float32 values that their encodings stand for: the reference that quantized arithmetic
// is held against.

#include <memory>

#include "weights/tensor_source.h"

namespace sluice {

/// Decodes every tensor into memory (4 bytes per element), through the generic codecs. An error (resource_exhausted)
/// where that does not fit, (unsupported) where a type has no codec.
Result<std::shared_ptr<TensorSource>> decode_source(std::shared_ptr<TensorSource> source);

}  // namespace sluice
