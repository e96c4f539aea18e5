#pragma once
// A TensorSource made of another: the same tensors in the same order, encoded otherwise.

#include <memory>
#include <string>
#include <vector>

#include "weights/tensor_source.h"

namespace sluice {

class DerivedSource : public TensorSource {
 public:
  const Metadata& metadata() const override { return from_->metadata(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override {
    const TensorInfo* original = from_->find(name);
    return original == nullptr ? nullptr : &tensors_[static_cast<size_t>(original - from_->tensors().data())];
  }
  std::vector<std::string> files() const override { return from_->files(); }
  std::span<const int32_t> column_order(const TensorInfo& info) const override { return from_->column_order(original_of(info)); }

 protected:
  size_t index_of(const TensorInfo& info) const { return static_cast<size_t>(&info - tensors_.data()); }
  const TensorInfo& original_of(const TensorInfo& info) const { return from_->tensors()[index_of(info)]; }

  std::shared_ptr<TensorSource> from_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace sluice
