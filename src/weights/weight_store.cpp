#include "weights/weight_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "backend/kernel_args.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

// safetensors promises no alignment; kernels read the elements in place.
bool aligned(const TensorView& view) {
  const auto& info = dtype_info(view.dtype);
  const size_t need = info.block_elems == 1 ? static_cast<size_t>(info.block_bytes) : 2;  // blocks begin with a float16
  return reinterpret_cast<uintptr_t>(view.data) % need == 0;
}

// The panels of a native pack that are the piece's rows, and no others; nothing where it begins or ends within one.
std::optional<PackedMatrix> mapped_panels(const PackedMatrix& all, const WeightPiece& piece, int64_t n) {
  const int64_t first = (piece.shape.rank == 3 ? piece.of_stack * piece.shape[1] : 0) + piece.rows.first;
  if (piece.rows.run != 0 || first % kPanelCols != 0 || (n % kPanelCols != 0 && first + n != all.n)) return {};
  return PackedMatrix{all.dtype, n, all.k, all.data + Ops::packed_bytes(all.dtype, first, all.k)};
}

}  // namespace

Result<uint8_t*> WeightStore::own(size_t bytes) {
  SLUICE_TRY(Buffer buffer, Buffer::allocate(bytes));
  // Any core may take any task of a product, so that no node is nearer to a panel's readers than another.
  if (nodes_.size() > 1) buffer.interleave(nodes_);
  owned_bytes_ += bytes;
  return buffers_.emplace_back(std::move(buffer)).data();
}

const int32_t* WeightStore::shared_order(std::span<const int32_t> order) {
  if (order.empty()) return nullptr;
  for (const std::span<const int32_t> known : orders_)
    if (std::ranges::equal(known, order)) return known.data();
  if (orders_.size() == kKnownOrders) orders_.pop_front();
  return orders_.emplace_back(order).data();
}

Result<PackedMatrix> WeightStore::matrix(const WeightPiece& piece, int64_t n, int64_t k) {
  SLUICE_TRY(const TensorInfo* info, find_piece(*source_, piece));
  if (!Ops::matmul_supports(info->dtype))
    return unsupported(fmt::format("{}: tensor {} has type {}, which cannot be multiplied",
                                   source_->files()[info->file_index], info->name, dtype_name(info->dtype)));
  if (!piece.transposed && k % dtype_info(info->dtype).block_elems != 0)
    return unsupported(fmt::format("{}: tensor {} has type {}, of blocks of {}, but rows of {} are asked of it",
                                   source_->files()[info->file_index], info->name, dtype_name(info->dtype),
                                   dtype_info(info->dtype).block_elems, k));
  if (info->packed)
    if (const auto mapped = mapped_panels(source_->panels(*info), piece, n)) {
      mapped_bytes_ += Ops::packed_bytes(info->dtype, n, k);
      report();
      return *mapped;
    }
  Buffer memory;
  SLUICE_TRY(TensorView view, piece_rows(*source_, *info, piece, 0, n, k, memory));
  const DType dtype = view.dtype;
  if (!aligned(view)) {
    const size_t bytes = row_bytes(dtype, k) * static_cast<size_t>(n);
    SLUICE_TRY(memory, Buffer::allocate(bytes));
    std::memcpy(memory.data(), view.data, bytes);
    view.data = memory.data();
  }
  SLUICE_TRY(uint8_t* const packed, own(Ops::packed_bytes(dtype, n, k)));
  ops_.pack(view, packed);
  release_before(info);
  report();
  PackedMatrix matrix{dtype, n, k, packed};
  matrix.order = shared_order(source_->column_order(*info));
  return matrix;
}

void WeightStore::release_before(const TensorInfo* info) {
  if (held_ != nullptr && held_ != info) source_->release(*held_);
  held_ = info;
}

Result<std::span<float>> WeightStore::values(int64_t count) {
  SLUICE_TRY(uint8_t* const bytes, own(static_cast<size_t>(count) * sizeof(float)));
  return std::span<float>(reinterpret_cast<float*>(bytes), static_cast<size_t>(count));
}

Result<std::span<const float>> WeightStore::vector(const WeightPiece& piece, int64_t n) {
  SLUICE_TRY(const TensorInfo* info, find_piece(*source_, piece));
  SLUICE_TRY_STATUS(check_vector(*source_, *info, piece));
  SLUICE_TRY(const std::span<float> out, values(n));
  const WeightFormat& format = *weight_format(info->dtype);
  if (piece.whole()) {
    format.decode(source_->view(*info).data, out.data(), n);
  } else {
    Buffer memory;
    SLUICE_TRY(const TensorView rows, piece_rows(*source_, *info, piece, 0, n, 1, memory));
    format.decode(rows.data, out.data(), n);
  }
  if (piece.log_of_minus)
    for (float& value : out) value = -std::exp(value);
  if (piece.plus != 0)
    for (float& value : out) value += piece.plus;
  return std::span<const float>(out);
}

Result<TensorView> WeightStore::table(const WeightPiece& piece, int64_t rows, int64_t k) {
  SLUICE_TRY(const TensorInfo* info, find_piece(*source_, piece));
  if (!source_->column_order(*info).empty())
    return unsupported(fmt::format("{}: tensor {} is a table whose columns are reordered", source_->files()[info->file_index], info->name));
  Buffer memory;
  SLUICE_TRY(TensorView view, piece_rows(*source_, *info, piece, 0, rows, k, memory));
  if (!aligned(view) || memory.data() != nullptr) {
    const size_t bytes = row_bytes(info->dtype, k) * static_cast<size_t>(rows);
    SLUICE_TRY(uint8_t* const copy, own(bytes));
    std::memcpy(copy, view.data, bytes);
    source_->release(*info);
    view.data = copy;
  }
  return view;
}

}  // namespace sluice
