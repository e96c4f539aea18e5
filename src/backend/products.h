#pragma once
// What Ops::matmul, mlp and experts are made of: rows brought into the kernels' forms, and products of ranges of panels.
//
// One parallel region brings the rows into the forms, others multiply. Tasks are (rows, matrix, range of panels); since a kernel
// computes each output by one fixed chain of additions, the tasks cannot change a bit. What follows a product (adding to
// the residual, the gate, the next product's quantization) is done by its task, while the values are in the cache.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/activations.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/pack.h"
#include "quant/weight/weight_format.h"

namespace sluice {

constexpr int64_t kSharedProducts = 131072;  // fewer multiplications are done faster by one thread than by a pool
constexpr int kTasksPerThread = 6;
constexpr int64_t kPanelStep = 4;       // whole register tiles: tasks hold a multiple, except the last
constexpr int64_t kMostTaskPanels = 8;  // of a task whose values stay in the cache for what follows

inline int64_t panel_count(int64_t n) { return (n + kPanelCols - 1) / kPanelCols; }

/// What multiplies: kernels, how they go over weights, and threads.
struct Machine {
  const OpTable& table;
  const MatmulPlans& plans;
  ThreadPool& pool;
};

/// The forms that the products of one input read.
struct Input {
  std::array<Activations, kNumActForms> forms;
  std::array<bool, kNumActForms> wanted{};

  void want(ActForm f) { wanted[static_cast<size_t>(f)] = true; }
  const Activations& form(ActForm f) const { return forms[static_cast<size_t>(f)]; }
};

/// Rows of an input in another order, some of them more than once, in parts of so many rows each (Activations::lay_out).
struct Gather {
  std::span<const int32_t> rows;
  std::span<const int64_t> part_rows;
};

/// One row normed, with all that Norm asks for after it; of int8 without the step, which is returned (else 1).
float norm_row(const OpTable& table, const Norm& norm, const float* x, int64_t cols, float* out);

/// Brings the input, or what is gathered of it, into every form that is wanted, normed on the way where that is asked for.
void arrange(const Machine& on, const MatmulIn& in, const Gather* gather, Input& out);

/// A matrix and how it is multiplied.
struct Product {
  Product(const Machine& on, const PackedMatrix& matrix, const float* its_bias, int rows)
      : w(&matrix), bias(its_bias), table(&on.table), kernel(matmul_kernel(on.table, w->dtype)),
        decoded(panel_kind(w->dtype) == PanelKind::as_in_file ? weight_format(w->dtype) : nullptr), plan(on.plans.of(w->dtype, w->k, rows)) {}
  const PackedMatrix* w;
  const float* bias;
  const OpTable* table;
  MatmulFn* kernel;
  const WeightFormat* decoded;  // not null: the kernel is of what its blocks are unpacked to
  MatmulPlan plan;
};

/// Panels [first, first + count) of a matrix over a slice of rows, into y, whose first element is row y_row of all, column
/// 0 of the first panel. `next`: see MatmulTile.
void multiply(const Product& product, const Activations& x, const RowSlice& slice, int64_t first, int64_t count, float* y,
              int y_row, int64_t y_stride, const uint8_t* next);

/// A worker's memory for `tiles` results of `rows` rows, row-major [rows][columns].
float* tile_memory(int64_t rows, int64_t columns, int tiles);

/// A multiple of kPanelStep, so that every thread gets several tasks.
int64_t panels_per_task(int64_t panels_in_all, const Activations& x, int threads);

/// Panel `first` of a matrix as MatmulTile::next: null where fewer than a step's follow.
const uint8_t* next_panels(const PackedMatrix& w, int64_t first);

/// One product's share of the tasks of run_products.
struct Job {
  Product product;
  const MatmulOut* out;
  const Activations* x;
  int64_t panels, panels_per_task;
  int tasks_per_slice, first_task;
};

/// What a thread's calls use again.
struct ProductMemory {
  Input input;
  Activations hidden;  // of an MLP, or of experts
  std::vector<Job> jobs;
};
ProductMemory& product_memory();

/// All products of rows that stand in `same`, or in the form of `input` that each reads, in one parallel region.
void run_products(const Machine& on, std::span<const MatmulOut> outs, const Input* input, const Activations* same,
                  std::vector<Job>& jobs);

/// hidden = act(gate(x)) * up(x), or act(up(x)), a few columns of a slice at a time, which go from the products into the
/// form that the next one reads while they are in the cache. Each part of the rows has its own matrices, all of one shape.
void run_hidden(const Machine& on, const Input& input, std::span<const Mlp> parts, const Activations& hidden);

/// What the two read of an input whose forms are not wanted yet, and that they fit each other.
void want_forms(const OpTable& table, const Mlp& mlp, Input& input);
void check_mlp(const OpTable& table, const MatmulIn& in, const Mlp& mlp);

}  // namespace sluice
