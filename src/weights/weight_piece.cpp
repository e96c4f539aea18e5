#include "weights/weight_piece.h"

#include <cstring>
#include <vector>

#include "backend/unpack.h"
#include "quant/weight/weight_format.h"
#include "weights/tensor_source.h"

namespace sluice {
namespace {

void copy_column(const uint8_t* from, size_t from_stride, uint8_t* to, size_t value_bytes, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + static_cast<size_t>(i) * value_bytes, from + static_cast<size_t>(i) * from_stride, value_bytes);
}

}  // namespace

bool fits(const Shape& there, const Shape& wanted) {
  int a = 0, b = 0;
  while (a + 1 < there.rank && there[a] == 1) ++a;
  while (b + 1 < wanted.rank && wanted[b] == 1) ++b;
  if (there.rank - a != wanted.rank - b) return false;
  for (; a < there.rank; ++a, ++b)
    if (there[a] != wanted[b]) return false;
  return true;
}

Result<const TensorInfo*> find_piece(const TensorSource& source, const WeightPiece& piece) {
  const TensorInfo* info = source.find(piece.name);
  if (info == nullptr)
    return not_found(fmt::format("{}: tensor {} {} is missing", source.metadata().origin(), piece.name, piece.shape.text()));
  const std::string place = source.files()[info->file_index];
  if (!fits(info->shape, piece.shape))
    return corrupt_data(fmt::format("{}: tensor {} has shape {}, but the model's configuration asks for {}", place, piece.name,
                                    info->shape.text(), piece.shape.text()));
  if (weight_format(info->dtype) == nullptr)
    return unsupported(fmt::format("{}: tensor {} has type {}, which no weight may have here", place, piece.name,
                                   dtype_name(info->dtype)));
  if (info->shape.rank == 1) SLUICE_TRY_STATUS(check_vector(source, *info, piece));
  return info;
}

Status check_vector(const TensorSource& source, const TensorInfo& info, const WeightPiece& piece) {
  // One that is a part of a tensor is gathered value by value.
  if (piece.whole() || dtype_info(info.dtype).block_elems == 1) return {};
  return unsupported(fmt::format("{}: tensor {} holds several vectors, and is of type {}, whose blocks would span them", source.files()[info.file_index], piece.name,
                                 dtype_name(info.dtype)));
}

Result<TensorView> piece_rows(const TensorSource& source, const TensorInfo& info, const WeightPiece& piece, int64_t first,
                              int64_t n, int64_t k, Buffer& memory) {
  const int64_t per_stack = info.shape.elems() / (info.shape.rank == 3 ? info.shape[0] : 1);
  TensorView out{nullptr, info.dtype, {n, k}};
  // The transpose of blocks is of no blocks: such a part (of DeepSeek's kv_b_proj, small beside the rest) is held as float32.
  if (piece.transposed && dtype_info(info.dtype).block_elems != 1) {
    out.dtype = DType::f32;
    SLUICE_TRY(memory, Buffer::allocate(static_cast<size_t>(n * k) * sizeof(float)));
    float* const to = memory.as<float>();
    out.data = to;
    const int64_t width = info.shape[info.shape.rank - 1];
    const size_t row_size = row_bytes(info.dtype, width);
    std::vector<float> row(static_cast<size_t>(width));
    std::vector<uint8_t> bytes(info.packed ? row_size : 0);
    for (int64_t c = 0; c < k; ++c) {
      const int64_t at = piece.of_stack * (per_stack / width) + piece.first_column + c;
      const uint8_t* from = bytes.data();
      if (info.packed) unpack_row(source.panels(info), at, bytes.data());
      else from = static_cast<const uint8_t*>(source.view(info).data) + static_cast<size_t>(at) * row_size;
      weight_format(info.dtype)->decode(from, row.data(), width);
      for (int64_t r = 0; r < n; ++r) to[r * k + c] = row[static_cast<size_t>(piece.rows(first + r))];
    }
    return out;
  }
  const size_t row_size = row_bytes(info.dtype, k);
  if (!info.packed && !piece.transposed && piece.rows.run == 0) {
    const int64_t row = piece.of_stack * (per_stack / k) + piece.rows(first);
    out.data = static_cast<const uint8_t*>(source.view(info).data) + static_cast<size_t>(row) * row_size;
    return out;
  }
  SLUICE_TRY(memory, Buffer::allocate(row_size * static_cast<size_t>(n)));
  out.data = memory.data();
  for (int64_t r = 0; r < n; ++r) {
    uint8_t* const to = memory.data() + static_cast<size_t>(r) * row_size;
    const int64_t row = piece.rows(first + r);
    if (info.packed) {
      unpack_row(source.panels(info), piece.of_stack * (per_stack / k) + row, to);
      continue;
    }
    const auto* data = static_cast<const uint8_t*>(source.view(info).data) + row_bytes(info.dtype, piece.of_stack * per_stack);
    if (piece.transposed) {
      const size_t value = row_bytes(info.dtype, 1);
      const int64_t width = info.shape[info.shape.rank - 1];
      copy_column(data + static_cast<size_t>(piece.first_column * width + row) * value, static_cast<size_t>(width) * value, to, value, k);
    } else {
      std::memcpy(to, data + static_cast<size_t>(row) * row_size, row_size);
    }
  }
  return out;
}

Status decode_row(const TensorSource& source, const WeightPiece& piece, int64_t r, int64_t k, Buffer& memory, float* out) {
  const TensorInfo& info = *source.find(piece.name);
  const int64_t block = dtype_info(info.dtype).block_elems;
  if (info.shape.rank == 1 && block != 1) {  // a whole one (find_piece)
    std::vector<float> values(static_cast<size_t>(block));
    const auto* data = static_cast<const uint8_t*>(source.view(info).data);
    weight_format(info.dtype)->decode(data + row_bytes(info.dtype, r / block * block), values.data(), block);
    *out = values[static_cast<size_t>(r % block)];
    return {};
  }
  if (k == 1) SLUICE_TRY_STATUS(check_vector(source, info, piece));
  SLUICE_TRY(const TensorView view, piece_rows(source, info, piece, r, 1, k, memory));
  weight_format(view.dtype)->decode(view.data, out, k);
  return {};
}

}  // namespace sluice
