// Ops::matmul and what belongs to it: packing, embedding rows, and the split of the work over threads.
//
// One parallel region arranges the rows (quantized, or transposed in small groups), a second multiplies. Tasks are
// (rows, output, range of panels); since a kernel computes each output by one fixed chain of additions, neither the tasks nor
// the row groups can change a bit.

#include <algorithm>
#include <cstdlib>
#include <new>
#include <vector>

#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/pack.h"
#include "base/check.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

int64_t panel_count(int64_t n) { return (n + kPanelCols - 1) / kPanelCols; }

/// Memory that only grows, kept per calling thread, so that a step allocates nothing.
class Scratch {
 public:
  ~Scratch() { std::free(data_); }
  uint8_t* reserve(size_t bytes) {
    if (bytes > bytes_) {
      std::free(data_);
      bytes_ = (bytes + 63) / 64 * 64;
      data_ = static_cast<uint8_t*>(std::aligned_alloc(64, bytes_));
      CHECK(data_ != nullptr, "no memory for {} bytes of activations", bytes_);
    }
    return data_;
  }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Splits rows into groups of at most `most`, of nearly equal size, and gives each its part of `x`.
void make_groups(int64_t rows, int most, const uint8_t* x, size_t row_bytes, std::vector<RowGroup>& out) {
  out.clear();
  const int64_t groups = (rows + most - 1) / most;
  for (int64_t g = 0, row = 0; g < groups; ++g) {
    const int size = static_cast<int>(rows / groups + (g < rows % groups ? 1 : 0));
    out.push_back({x + static_cast<size_t>(row) * row_bytes, size, static_cast<int>(row)});
    row += size;
  }
}

/// Consecutive groups that go into one tile of at most kMaxTileRows rows.
struct Slice { int first, count; };

void make_slices(const std::vector<RowGroup>& groups, int64_t rows, std::vector<Slice>& out) {
  out.clear();
  const int64_t slices = (rows + kMaxTileRows - 1) / kMaxTileRows;
  const int64_t target = (rows + slices - 1) / slices;
  for (int g = 0; g < static_cast<int>(groups.size());) {
    int in_slice = 0, first = g;
    while (g < static_cast<int>(groups.size()) && (g == first || in_slice + groups[g].rows <= kMaxTileRows) &&
           in_slice < target)
      in_slice += groups[g++].rows;
    out.push_back({first, g - first});
  }
}

// x[rows, k] to [k][rows].
void transpose_rows(const float* x, int64_t k, int rows, float* out) {
  for (int64_t i = 0; i < k; ++i)
    for (int r = 0; r < rows; ++r) out[i * rows + r] = x[r * k + i];
}

/// The activations in one of the two forms, and how they are cut.
struct Arranged {
  std::vector<RowGroup> groups;
  std::vector<Slice> slices;
};

struct Job {
  const MatmulOut* out;
  const Arranged* x;
  MatmulFn* kernel;
  int64_t panels, panels_per_task;
  int tasks_per_slice, first_task;
};

constexpr int64_t kSharedValues = 16384;     // fewer are arranged faster by one thread than by a pool
constexpr int64_t kSharedProducts = 131072;  // and so are fewer multiplications
constexpr int kTasksPerThread = 6;
constexpr int64_t kPanelStep = 4;        // tasks hold whole register tiles, except the last

struct Workspace {
  Scratch quantized, transposed;
  Arranged blocks, floats;
  std::vector<Job> jobs;
};

}  // namespace

size_t Ops::packed_bytes(DType dtype, int64_t n, int64_t k) {
  return static_cast<size_t>(panel_count(n)) * panel_bytes(dtype, k);
}

bool Ops::matmul_supports(DType dtype) { return kRefOps.matmul[static_cast<int>(dtype)] != nullptr; }

void Ops::pack(const TensorView& w, uint8_t* out) const {
  CHECK(matmul_supports(w.dtype), "no packed form of {}", dtype_name(w.dtype));
  const size_t bytes = panel_bytes(w.dtype, w.cols());
  pool_.run(static_cast<int>(panel_count(w.rows())),
            [&](int panel, int) { pack_panel(w, panel, out + static_cast<size_t>(panel) * bytes); });
}

void Ops::embed(const TensorView& table, std::span<const TokenId> tokens, float* out) const {
  const OpTimer timer(meter_, [&] { return embed_work(table, static_cast<int64_t>(tokens.size())); });
  const WeightFormat* format = weight_format(table.dtype);
  CHECK(format != nullptr, "cannot decode {} rows", dtype_name(table.dtype));
  const int64_t k = table.cols();
  pool_.run(static_cast<int>(tokens.size()), [&](int i, int) {
    CHECK(tokens[i] >= 0 && tokens[i] < table.rows(), "token {} of a table of {}", tokens[i], table.rows());
    format->decode(table.row(tokens[i]), out + i * k, k);
  });
}

void Ops::matmul(const float* x, int64_t rows, std::span<const MatmulOut> outs) const {
  const OpTimer timer(meter_, [&] { return matmul_work(rows, outs); });
  if (rows == 0 || outs.empty()) return;
  static thread_local Workspace ws;
  const int64_t k = outs[0].w->k;
  bool any_block = false, any_float = false;
  for (const MatmulOut& o : outs) {
    CHECK(o.w->k == k, "outputs of one input have rows of {} and {}", k, o.w->k);
    (is_block_type(o.w->dtype) ? any_block : any_float) = true;
  }

  if (any_block) {
    const size_t row_bytes = static_cast<size_t>(k / kActBlock) * sizeof(ActBlock);
    uint8_t* at = ws.quantized.reserve(static_cast<size_t>(rows) * row_bytes);
    make_groups(rows, table_.block_group_rows, at, row_bytes, ws.blocks.groups);
    make_slices(ws.blocks.groups, rows, ws.blocks.slices);
  }
  if (any_float) {
    const size_t row_bytes = static_cast<size_t>(k) * sizeof(float);
    // One row is its own transpose.
    const auto* at = rows == 1 ? reinterpret_cast<const uint8_t*>(x)
                               : ws.transposed.reserve(static_cast<size_t>(rows) * row_bytes);
    make_groups(rows, table_.float_group_rows, at, row_bytes, ws.floats.groups);
    make_slices(ws.floats.groups, rows, ws.floats.slices);
  }
  const int block_groups = any_block ? static_cast<int>(ws.blocks.groups.size()) : 0;
  const int float_groups = any_float && rows > 1 ? static_cast<int>(ws.floats.groups.size()) : 0;
  Workspace* const w = &ws;  // a thread_local named inside the task would be the worker's own
  const auto arrange = [&, w](int i, int) {
    const RowGroup& g = i < block_groups ? w->blocks.groups[i] : w->floats.groups[i - block_groups];
    const float* from = x + g.first_row * k;
    if (i < block_groups) table_.quantize(from, k, g.rows, static_cast<ActBlock*>(const_cast<void*>(g.x)));
    else transpose_rows(from, k, g.rows, static_cast<float*>(const_cast<void*>(g.x)));
  };
  pool_.run_if(rows * k >= kSharedValues, block_groups + float_groups, arrange);

  int64_t panels_in_all = 0;
  for (const MatmulOut& o : outs) panels_in_all += panel_count(o.w->n);
  const bool shared = rows * k * panels_in_all * kPanelCols >= kSharedProducts;
  ws.jobs.clear();
  int tasks = 0;
  for (const MatmulOut& o : outs) {
    const bool block = is_block_type(o.w->dtype);
    const Arranged& arranged = block ? ws.blocks : ws.floats;
    const int type = static_cast<int>(o.w->dtype);
    Job job{&o, &arranged, table_.matmul[type] != nullptr ? table_.matmul[type] : kRefOps.matmul[type],
            panel_count(o.w->n), 0, 0, tasks};
    CHECK(job.kernel != nullptr, "no matmul for {}", dtype_name(o.w->dtype));
    const int64_t units = panels_in_all * static_cast<int64_t>(arranged.slices.size());
    job.panels_per_task = std::max<int64_t>(1, units / (int64_t{kTasksPerThread} * pool_.size()) / kPanelStep) * kPanelStep;
    job.tasks_per_slice = static_cast<int>((job.panels + job.panels_per_task - 1) / job.panels_per_task);
    tasks += job.tasks_per_slice * static_cast<int>(arranged.slices.size());
    ws.jobs.push_back(job);
  }
  pool_.run_if(shared, tasks, [&, w](int task, int) {
    size_t j = w->jobs.size() - 1;
    while (w->jobs[j].first_task > task) --j;
    const Job& job = w->jobs[j];
    const int local = task - job.first_task;
    const Slice& slice = job.x->slices[local / job.tasks_per_slice];
    const int64_t panel = local % job.tasks_per_slice * job.panels_per_task;
    const int64_t panels = std::min(job.panels_per_task, job.panels - panel);
    const PackedMatrix& m = *job.out->w;
    const int64_t column = panel * kPanelCols;
    MatmulTile tile;
    tile.panel_bytes = panel_bytes(m.dtype, m.k);
    tile.panels = m.data + static_cast<size_t>(panel) * tile.panel_bytes;
    tile.n_panels = static_cast<int>(panels);
    tile.n_cols = static_cast<int>(std::min(panels * kPanelCols, m.n - column));
    tile.k = m.k;
    tile.groups = job.x->groups.data() + slice.first;
    tile.n_groups = slice.count;
    tile.bias = job.out->bias != nullptr ? job.out->bias + column : nullptr;
    tile.y = job.out->y + column;
    tile.y_stride = job.out->y_stride;
    job.kernel(tile);
  });
}

}  // namespace sluice
