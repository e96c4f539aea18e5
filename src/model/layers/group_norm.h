#pragma once
// A norm of each of several equal groups of a row (heads, groups of heads), with a gain and a bias for every value of the row
// (Wu and He 2018, "Group normalization").

#include <string>

#include "model/layers/layer.h"

namespace sluice {

class GroupNorm {
 public:
  GroupNorm() = default;
  /// Of rows of groups * width values; tensors `key`.weight and `key`.bias.
  GroupNorm(std::string_view key, const NormStyle& style, int64_t groups, int64_t width)
      : tensors_(key, style, groups * width), groups_(groups), width_(width) {}
  void declare(TensorTable& table) { tensors_.declare(table); }
  bool present() const { return groups_ > 0 && tensors_.present(); }
  /// In place.
  void apply(const Ops& ops, float* x, int64_t rows) const;

 private:
  NormLayer tensors_;
  int64_t groups_ = 0, width_ = 0;
};

}  // namespace sluice
