#pragma once
// A checkpoint that another tool quantized, as the tensors of the model that it stands for: each matrix in a type of
// ours that holds its values exactly, made of its parts when it is looked at (docs/adr/0019).

#include <memory>

#include "weights/tensor_source.h"

namespace sluice {

/// `source` itself where its configuration names no quantization. Errors name the method, the key or the tensor that is
/// not read.
Result<std::shared_ptr<TensorSource>> open_quantized(std::shared_ptr<TensorSource> source);

}  // namespace sluice
