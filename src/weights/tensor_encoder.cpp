#include "weights/tensor_encoder.h"

#include <algorithm>

#include "backend/kernel_args.h"
#include "backend/pack.h"
#include "quant/weight/weight_format.h"

namespace sluice {

TensorEncoder::TensorEncoder(ThreadPool& pool)
    : pool_(pool), values_(static_cast<size_t>(pool.size())), row_major_(static_cast<size_t>(pool.size())) {}

Status TensorEncoder::encode(const GgufTensor& tensor, const std::function<Status(const uint8_t* bytes, size_t count)>& sink) {
  constexpr int64_t kTaskValues = int64_t{1} << 18;  // 1 MiB of float32 per task
  const int64_t cols = tensor.shape[tensor.shape.rank - 1];
  const int64_t rows = cols == 0 ? 0 : tensor.shape.elems() / cols;
  // Rows come in units: one, or the rows of a panel.
  const int64_t unit = tensor.packed ? kPanelCols : 1;
  const size_t row_size = row_bytes(tensor.dtype, cols);
  const size_t unit_bytes = tensor.packed ? panel_bytes(tensor.dtype, cols) : row_size;
  const auto units = [unit](int64_t n) { return (n + unit - 1) / unit; };
  const int64_t rows_per_task = units(std::max<int64_t>(1, kTaskValues / std::max<int64_t>(1, cols))) * unit;
  const int64_t rows_per_piece = rows_per_task * pool_.size() * 4;
  for (int64_t first = 0; first < rows; first += rows_per_piece) {
    const int64_t count = std::min(rows_per_piece, rows - first);
    const size_t piece_bytes = static_cast<size_t>(units(count)) * unit_bytes;
    encoded_.resize(std::max(encoded_.size(), piece_bytes));
    const int tasks = static_cast<int>((count + rows_per_task - 1) / rows_per_task);
    pool_.run(tasks, [&](int task, int worker) {
      const int64_t begin = task * rows_per_task, n = std::min(rows_per_task, count - begin);
      uint8_t* const out = encoded_.data() + static_cast<size_t>(begin / unit) * unit_bytes;
      uint8_t* into = out;
      if (tensor.packed) {
        auto& row_major = row_major_[static_cast<size_t>(worker)];
        row_major.resize(std::max(row_major.size(), static_cast<size_t>(n) * row_size));
        into = row_major.data();
      }
      if (tensor.fill_encoded) {
        tensor.fill_encoded(first + begin, n, into);
      } else {
        auto& row_values = values_[static_cast<size_t>(worker)];
        row_values.resize(std::max(row_values.size(), static_cast<size_t>(n * cols)));
        tensor.fill(first + begin, n, row_values.data());
        weight_format(tensor.dtype)->encode(row_values.data(), into, n * cols);
      }
      for (int64_t panel = 0; tensor.packed && panel < units(n); ++panel)
        pack_panel({into, tensor.dtype, Shape{n, cols}}, panel, out + static_cast<size_t>(panel) * unit_bytes);
    });
    SLUICE_TRY_STATUS(sink(encoded_.data(), piece_bytes));
  }
  return {};
}

}  // namespace sluice
