#include "backend/activations.h"

#include <algorithm>
#include <cstdlib>

#include "backend/pack.h"
#include "base/check.h"

namespace sluice {

Scratch::~Scratch() { std::free(data_); }

uint8_t* Scratch::reserve(size_t bytes) {
  if (bytes > bytes_) {
    std::free(data_);
    bytes_ = (bytes + 63) / 64 * 64;
    data_ = static_cast<uint8_t*>(std::aligned_alloc(64, bytes_));
    CHECK(data_ != nullptr, "no memory for {} bytes of activations", bytes_);
  }
  return data_;
}

MatmulFn* matmul_kernel(const OpTable& table, DType dtype) {
  if (panel_kind(dtype) == PanelKind::as_in_file) {  // of what decoded_matmul unpacks
    if (is_block_type(dtype)) return table.codes != nullptr ? table.codes : kRefOps.codes;
    dtype = DType::f32;
  }
  const int type = static_cast<int>(dtype);
  MatmulFn* const kernel = table.matmul[type] != nullptr ? table.matmul[type] : kRefOps.matmul[type];
  CHECK(kernel != nullptr, "no matmul for {}", dtype_name(dtype));
  return kernel;
}

ActForm act_form(const OpTable& table, DType dtype) {
  if (is_block_type(dtype)) return ActForm::q8;
  if (dtype != DType::bf16) return ActForm::f32;
  return table.matmul[static_cast<int>(dtype)] != nullptr ? table.bf16_form : kRefOps.bf16_form;
}

size_t form_bytes(ActForm form, int64_t k) {
  switch (form) {
    case ActForm::f32: return static_cast<size_t>(k) * sizeof(float);
    case ActForm::bf16_pair: return static_cast<size_t>((k + 1) / 2) * sizeof(uint32_t);
    case ActForm::q8: return static_cast<size_t>(k / kActBlock) * sizeof(ActBlock);
  }
  return 0;
}

void Activations::lay_out(const OpTable& table, ActForm new_form, std::span<const int64_t> part_rows, int64_t new_k) {
  form = new_form;
  k = new_k;
  rows = 0;
  for (const int64_t n : part_rows) rows += n;
  const uint8_t* const at = memory_.reserve(static_cast<size_t>(rows) * form_bytes(form, k));
  groups.clear();
  slices.clear();
  for (size_t part = 0; part < part_rows.size(); ++part) add_part(table, static_cast<int>(part), part_rows[part], at);
}

// Slices of nearly equal size, cut into groups of nearly equal size: a small slice at the end would read and unpack all
// weights for its few rows.
void Activations::add_part(const OpTable& table, int part, int64_t part_rows, const uint8_t* at) {
  const size_t row_bytes = form_bytes(form, k);
  const int64_t most = table.group_rows[static_cast<int>(form)];
  const int64_t wanted_slices = (part_rows + kMaxTileRows - 1) / kMaxTileRows;
  int row = slices.empty() ? 0 : slices.back().first_row + slices.back().rows;
  for (int64_t s = 0; s < wanted_slices; ++s) {
    const int64_t slice_rows = part_rows / wanted_slices + (s < part_rows % wanted_slices ? 1 : 0);
    const int64_t count = (slice_rows + most - 1) / most;
    slices.push_back({static_cast<int>(groups.size()), static_cast<int>(count), row, static_cast<int>(slice_rows), part});
    for (int64_t g = 0; g < count; ++g) {
      const int size = static_cast<int>(slice_rows / count + (g < slice_rows % count ? 1 : 0));
      groups.push_back({at + static_cast<size_t>(row) * row_bytes, size, row});
      row += size;
    }
  }
}

void Activations::set(const OpTable& table, const RowGroup& group, int64_t first_k, const float* x, int64_t stride,
                      int64_t columns) const {
  const auto* at = static_cast<const uint8_t*>(group.x) + form_bytes(form, first_k) * static_cast<size_t>(group.rows);
  table.arrange[static_cast<int>(form)](x, stride, columns, group.rows, const_cast<uint8_t*>(at));
}

}  // namespace sluice
