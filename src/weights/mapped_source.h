#pragma once
// The TensorSource of every format: mapped files, a checked tensor list, metadata. Readers fill it; they add no state.

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "weights/tensor_source.h"

namespace sluice {

class MappedSource final : public TensorSource {
 public:
  /// Refuses a name that occurs twice, and tensors of one file that overlap. Each tensor must lie inside its file.
  static Result<std::shared_ptr<TensorSource>> create(Metadata metadata, std::vector<std::shared_ptr<MappedFile>> files,
                                                      std::vector<TensorInfo> tensors);

  const Metadata& metadata() const override { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override;
  TensorView view(const TensorInfo& info) const override;
  PackedMatrix panels(const TensorInfo& info) const override;
  void release(const TensorInfo& info) const override;
  void map_ahead(const TensorInfo& info, size_t begin, size_t bytes) const override;
  std::vector<std::string> files() const override;

 private:
  MappedSource() = default;
  const uint8_t* data(const TensorInfo& info) const;
  Metadata metadata_;
  std::vector<std::shared_ptr<MappedFile>> files_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, size_t> by_name_;  // keys point into tensors_, which never changes
};

/// The bytes of a tensor in a type of these blocks. False when the product passes 2^62, a dimension is negative or the
/// innermost one is not a whole number of blocks.
bool tensor_bytes(const Shape& shape, int64_t block_elems, int64_t block_bytes, size_t& bytes);

}  // namespace sluice
