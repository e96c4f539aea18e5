#pragma once
// A model file (or set of files) as named tensors plus metadata, whatever its format.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/check.h"
#include "base/result.h"
#include "tensor/tensor_view.h"
#include "weights/metadata.h"

namespace sluice {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;              // outermost first (a GGUF's ne is reversed)
  size_t file_index = 0;    // into files()
  size_t offset_bytes = 0;  // in that file
  size_t size_bytes = 0;
  bool packed = false;      // panels (backend/pack.h), as only native packs hold
};

struct TensorSource {
  virtual ~TensorSource() = default;
  virtual const Metadata& metadata() const = 0;
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  /// Null when there is none of that name.
  virtual const TensorInfo* find(std::string_view name) const = 0;
  /// The mapped bytes, row-major; valid as long as the source lives. Not of a packed tensor.
  virtual TensorView view(const TensorInfo& info) const = 0;
  /// The mapped panels of a packed tensor, aligned to 64 bytes.
  virtual PackedMatrix panels(const TensorInfo& info) const {
    CHECK(false, "{} is not packed", info.name);
    return {};
  }
  /// Says that the tensor's mapped bytes were copied elsewhere and may leave the resident set.
  virtual void release(const TensorInfo& info) const = 0;
  /// Says that bytes [begin, begin + bytes) of the tensor will be read soon, and waits until they are mapped.
  virtual void map_ahead(const TensorInfo& /*info*/, size_t /*begin*/, size_t /*bytes*/) const {}
  /// In which order a matrix's columns stand: column j of its rows is the model's column order[j]. Empty: as in the model.
  virtual std::span<const int32_t> column_order(const TensorInfo& /*info*/) const { return {}; }
  /// The tensors that the files hold, where these here are made of them; their offsets are those of the files.
  virtual const TensorSource& as_in_files() const { return *this; }
  virtual std::vector<std::string> files() const = 0;
};

/// Opens a .gguf file, a .safetensors file beside its config.json, or a Hugging Face directory.
Result<std::shared_ptr<TensorSource>> open_tensor_source(const std::string& path);

}  // namespace sluice
