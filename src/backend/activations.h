#pragma once
// The rows of a matmul in the form that its kernel reads (ActForm), cut into groups and slices.
//
// Each output is computed by one fixed chain of additions over its own row, so neither the groups nor the slices can
// change a bit.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/kernel_args.h"
#include "backend/op_table.h"
#include "tensor/dtype.h"

namespace sluice {

/// Memory that only grows, kept by a thread or a workspace, so that a step allocates nothing. Contents are lost by reserve().
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
  /// At least `bytes`, aligned to 64.
  uint8_t* reserve(size_t bytes);

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

/// The kernel that multiplies a type on a table (the reference table's, where it has none), and the form that it reads.
MatmulFn* matmul_kernel(const OpTable& table, DType dtype);
ActForm act_form(const OpTable& table, DType dtype);
/// Bytes of k values of one row.
size_t form_bytes(ActForm form, int64_t k);

/// Consecutive groups that make one MatmulTile of at most kMaxTileRows rows.
struct RowSlice {
  int first_group, groups;
  int first_row, rows;
  int part;  // of the rows
};

/// Rows in one form, for a table.
struct Activations {
  ActForm form = ActForm::f32;
  int64_t rows = 0, k = 0;
  std::vector<RowGroup> groups;
  std::vector<RowSlice> slices;

  /// Makes room for rows[rows, k] and cuts it into groups and slices; what it holds is not yet set. Slices are the same in
  /// every form.
  void lay_out(const OpTable& table, ActForm form, int64_t rows, int64_t k) { lay_out(table, form, {&rows, 1}, k); }
  /// The same of parts of so many rows each, for matrices of their own: each slice is of one part.
  void lay_out(const OpTable& table, ActForm form, std::span<const int64_t> part_rows, int64_t k);
  /// Sets columns [first_k, first_k + k) of a group from x[row of the group * stride]; first_k is a multiple of 32.
  void set(const OpTable& table, const RowGroup& group, int64_t first_k, const float* x, int64_t stride, int64_t k) const;

 private:
  void add_part(const OpTable& table, int part, int64_t part_rows, const uint8_t* at);

  Scratch memory_;
};

}  // namespace sluice
