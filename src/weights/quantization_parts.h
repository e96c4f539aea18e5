#pragma once
// What the methods of quantization.h share: finding a matrix's parts, reading their elements, and writing rows of
// groups.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "quant/weight/groups.h"
#include "weights/quantization.h"

namespace sluice {

/// The part `name`, which must be there, of this type and shape; -1 stands for any size. It counts as read.
Result<const TensorInfo*> take_part(const TensorSource& source, const std::string& name,
                                    std::initializer_list<DType> types, const Shape& shape, Repacking& out);
/// The tensors whose names end so, with their names before that.
std::vector<std::pair<std::string, const TensorInfo*>> tensors_ending(const TensorSource& source, std::string_view end);
Error bad_part(const TensorSource& source, const TensorInfo& info, std::string_view what);

/// A part's elements as int32 (or uint32), and as float32 from any float type.
inline uint32_t word_at(const void* data, int64_t i) {
  uint32_t v;
  std::memcpy(&v, static_cast<const uint8_t*>(data) + 4 * i, 4);
  return v;
}
class FloatPart {
 public:
  FloatPart() = default;
  explicit FloatPart(const TensorView& view) : data_(static_cast<const uint8_t*>(view.data)), dtype_(view.dtype) {}
  float operator[](int64_t i) const {
    float v = 0;
    if (dtype_ == DType::f32)
      std::memcpy(&v, data_ + 4 * i, 4);
    else
      v = dtype_ == DType::f16 ? f16_to_f32(load_u16(data_ + 2 * i)) : bf16_to_f32(load_u16(data_ + 2 * i));
    return v;
  }

 private:
  const uint8_t* data_ = nullptr;
  DType dtype_ = DType::f32;
};
inline constexpr std::initializer_list<DType> kScaleTypes = {DType::f32, DType::f16, DType::bf16};

/// A group of consecutive values of a row.
struct Group {
  float scale;
  int zero;
};

/// The block length, 128 or 32, that divides groups of `group` values and rows of k; an error names the tensor.
Result<int> block_length(const TensorSource& source, const TensorInfo& info, int64_t group, int64_t k);

template <int kElems, int kBits, class Value, class GroupOf>
std::function<void(int64_t, uint8_t*)> groups_filler(int64_t k, Value value, GroupOf group) {
  using Blocks = Groups<kElems, kBits>;
  return [=](int64_t row, uint8_t* out) {
    for (int64_t col = 0; col < k; col += kElems, out += Blocks::kBytes) {
      const Group g = group(row, col);
      std::memset(out, 0, Blocks::kBytes);
      std::memcpy(out, &g.scale, 4);
      out[4] = static_cast<uint8_t>(g.zero);
      for (int i = 0; i < kElems; ++i) Blocks::put_value(i, value(row, col + i), out);
    }
  };
}

/// The type and filler of a matrix of integers 0 <= value(row, column) < 2^bits, bits 4 or 8, with group(row, column)
/// of the column's group; both are copied into the filler.
template <class Value, class GroupOf>
void fill_groups(int bits, int block, int64_t k, Value value, GroupOf group, RepackedTensor& out) {
  if (bits == 4) {
    out.dtype = block == 128 ? DType::u4_g128 : DType::u4_g32;
    out.fill = block == 128 ? groups_filler<128, 4>(k, value, group) : groups_filler<32, 4>(k, value, group);
  } else {
    out.dtype = block == 128 ? DType::u8_g128 : DType::u8_g32;
    out.fill = block == 128 ? groups_filler<128, 8>(k, value, group) : groups_filler<32, 8>(k, value, group);
  }
}

/// The order of columns in which the groups that `group_of[k]` names stand one after the other; empty where they do
/// already. Each group must have `group` columns.
Result<std::vector<int32_t>> order_by_group(const TensorSource& source, const TensorInfo& group_of, int64_t group);

}  // namespace sluice
