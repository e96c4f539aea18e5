#pragma once
// How many matrices are of which type, for people: a recipe falls back where its blocks do not divide a row.

#include <fmt/core.h>

#include <map>
#include <string>

#include "tensor/dtype.h"

namespace sluice {

/// "24 I8_G128, 1 Q8_0", of TensorInfos or GgufTensors.
std::string matrix_types(const auto& tensors) {
  std::map<DType, int> counts;
  for (const auto& t : tensors)
    if (t.shape.rank == 2) ++counts[t.dtype];
  std::string text;
  for (const auto& [dtype, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, dtype_name(dtype));
  return text;
}

}  // namespace sluice
