#pragma once
// rwkv.cpp's .bin files (github.com/RWKV/rwkv.cpp, docs/FILE_FORMAT.md): a header of six words, and tensor after tensor to the end, each
// with its own little header.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/mapped_file.h"
#include "base/result.h"
#include "tensor/tensor_view.h"

namespace sluice {

struct RwkvTensor {
  Shape shape;  // outermost first, as in PyTorch; the file has it the other way round
  DType dtype = DType::f32;
  const uint8_t* data = nullptr;  // aligned to nothing
};

struct RwkvFile {
  std::shared_ptr<const MappedFile> file;
  int64_t vocab = 0, hidden = 0, layers = 0;
  std::map<std::string, RwkvTensor, std::less<>> tensors;
};

bool is_rwkv_file(const MappedFile& file);

/// Every name, type and size is checked against the bytes that there are.
Result<RwkvFile> read_rwkv_file(const std::string& path);

}  // namespace sluice
