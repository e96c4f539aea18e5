#pragma once
// Writes GGUF version 3. A converter describes the file as a plan; writing asks for the values piece by piece, so that
// a model larger than memory can be converted.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "tensor/tensor_view.h"
#include "weights/gguf.h"

namespace sluice {

/// One tensor to write, by one of two functions. A row is the innermost dimension; several threads call the function at
/// once, and the values may depend on the row only.
struct GgufTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  /// Gives rows [first, first + rows) as float32; they are then encoded to `dtype`.
  std::function<void(int64_t first, int64_t rows, float* out)> fill;
  /// In place of `fill`: gives the rows already in `dtype`.
  std::function<void(int64_t first, int64_t rows, uint8_t* out)> fill_encoded;
  bool packed = false;  // to be written as panels; in packs only
};

struct GgufPlan {
  std::vector<GgufKey> keys;  // general.alignment and those of a pack are the writer's own
  std::vector<GgufTensor> tensors;
  bool pack = false;  // a native pack (native_pack.h: as_pack())
};

/// Called after each piece with the bytes of tensor data done so far, of all, and the tensor's name.
using GgufProgress = std::function<void(size_t done_bytes, size_t total_bytes, const std::string& tensor)>;

/// Writes beside `path` and renames when complete, so that `path` never holds half a model; a `path` that exists must be
/// a regular file. Returns the file's size.
Result<size_t> write_gguf(const std::string& path, const GgufPlan& plan, ThreadPool& pool,
                          const GgufProgress& progress = {});

}  // namespace sluice
