#pragma once
// Reads GGUF version 2 and 3 (little-endian), single or split into -00001-of-0000N.gguf parts.

#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "weights/gguf.h"
#include "weights/tensor_source.h"

namespace sluice {

/// One file's header. Offsets and sizes of the tensors were checked against the file.
struct GgufHeader {
  uint32_t version = 0;
  size_t alignment_bytes = kGgufAlignment;
  size_t data_offset_bytes = 0;
  std::vector<GgufKey> keys;        // in file order
  std::vector<TensorInfo> tensors;  // offsets count from the start of the file
};

/// Errors name the file, the byte offset and the field or tensor: corrupt_data for a file that lies or ends early,
/// unsupported for versions, array types and tensor types that we do not hold.
Result<GgufHeader> read_gguf_header(const MappedFile& file);

/// Any part of a split model opens the whole; the metadata is the first part's.
Result<std::shared_ptr<TensorSource>> open_gguf(const std::string& path);

/// The key-values with their types on disk, for rewriting a file; of the first part when split.
Result<std::vector<GgufKey>> read_gguf_keys(const std::string& path);

}  // namespace sluice
