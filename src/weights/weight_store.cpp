#include "weights/weight_store.h"

#include <algorithm>
#include <cstring>

#include "backend/unpack.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

std::string joined(std::span<const std::string> names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : " or ") + name;
  return text;
}

// safetensors promises no alignment; kernels read the elements in place.
bool aligned(const TensorView& view) {
  const auto& info = dtype_info(view.dtype);
  const size_t need = info.block_elems == 1 ? static_cast<size_t>(info.block_bytes) : 2;  // blocks begin with a float16
  return reinterpret_cast<uintptr_t>(view.data) % need == 0;
}

}  // namespace

bool WeightStore::has(std::span<const std::string> names) const {
  for (const auto& name : names)
    if (source_->find(name) != nullptr) return true;
  return false;
}

Result<const TensorInfo*> WeightStore::find(std::span<const std::string> names, const Shape& shape) {
  for (const auto& name : names) {
    const TensorInfo* info = source_->find(name);
    if (info == nullptr) continue;
    const std::string place = source_->files()[info->file_index];
    if (info->shape != shape)
      return corrupt_data(fmt::format("{}: tensor {} has shape {}, but the model's configuration asks for {}", place,
                                      name, info->shape.text(), shape.text()));
    if (weight_format(info->dtype) == nullptr)
      return unsupported(fmt::format("{}: tensor {} has type {}, which no weight may have here", place, name,
                                     dtype_name(info->dtype)));
    return info;
  }
  return not_found(
      fmt::format("{}: tensor {} {} is missing", source_->metadata().origin(), joined(names), shape.text()));
}

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

Result<PackedMatrix> WeightStore::matrix(std::span<const std::string> names, int64_t n, int64_t k) {
  SLUICE_TRY(const TensorInfo* info, find(names, {n, k}));
  if (!Ops::matmul_supports(info->dtype))
    return unsupported(fmt::format("{}: tensor {} has type {}, which cannot be multiplied",
                                   source_->files()[info->file_index], info->name, dtype_name(info->dtype)));
  if (info->packed) {
    mapped_bytes_ += info->size_bytes;
    report();
    return source_->panels(*info);
  }
  TensorView view = source_->view(*info);
  Buffer copy;
  if (!aligned(view)) {
    SLUICE_TRY(copy, Buffer::allocate(info->size_bytes));
    std::memcpy(copy.data(), view.data, info->size_bytes);
    view.data = copy.data();
  }
  SLUICE_TRY(uint8_t* const packed, own(Ops::packed_bytes(info->dtype, n, k)));
  ops_.pack(view, packed);
  source_->release(*info);
  report();
  PackedMatrix matrix{info->dtype, n, k, packed};
  matrix.order = shared_order(source_->column_order(*info));
  return matrix;
}

Result<std::span<const float>> WeightStore::vector(std::span<const std::string> names, int64_t n) {
  SLUICE_TRY(const TensorInfo* info, find(names, {n}));
  SLUICE_TRY(uint8_t* const bytes, own(static_cast<size_t>(n) * sizeof(float)));
  auto* values = reinterpret_cast<float*>(bytes);
  weight_format(info->dtype)->decode(source_->view(*info).data, values, n);
  return std::span<const float>(values, static_cast<size_t>(n));
}

Result<TensorView> WeightStore::table(std::span<const std::string> names, int64_t rows, int64_t k) {
  SLUICE_TRY(const TensorInfo* info, find(names, {rows, k}));
  if (info->packed) {  // a pack holds tables row-major, if it can know that they are
    const size_t row_size = row_bytes(info->dtype, k);
    SLUICE_TRY(uint8_t* const copy, own(row_size * static_cast<size_t>(rows)));
    for (int64_t r = 0; r < rows; ++r) unpack_row(source_->panels(*info), r, copy + row_size * static_cast<size_t>(r));
    return TensorView{copy, info->dtype, info->shape};
  }
  if (!source_->column_order(*info).empty())
    return unsupported(fmt::format("{}: tensor {} is a table whose columns are reordered", source_->files()[info->file_index], info->name));
  TensorView view = source_->view(*info);
  if (!aligned(view)) {
    SLUICE_TRY(uint8_t* const copy, own(info->size_bytes));
    std::memcpy(copy, view.data, info->size_bytes);
    source_->release(*info);
    view.data = copy;
  }
  return view;
}

}  // namespace sluice
