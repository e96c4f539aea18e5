#include "backend/products.h"

#include <algorithm>
#include <cstring>

#include "backend/decoded_matmul.h"
#include "backend/int8_rows.h"
#include "backend/row_ops.h"
#include "base/check.h"

namespace sluice {
namespace {

constexpr int64_t kSharedValues = 4096;  // fewer are arranged faster by one thread than by a pool

/// The panels that a task of these jobs begins with, if they are of the type and depth of `like`; else null.
const uint8_t* first_panels(std::span<const Job> jobs, int task, const PackedMatrix& like) {
  for (const Job& job : jobs) {
    const PackedMatrix& w = *job.product.w;
    const int local = task - job.first_task;
    if (local >= job.tasks_per_slice * static_cast<int>(job.x->slices.size())) continue;
    if (w.dtype != like.dtype || w.k != like.k) return nullptr;
    return next_panels(w, local % job.tasks_per_slice * job.panels_per_task);
  }
  return nullptr;
}

void run_job(const OpTable& table, const Job& job, int local, const uint8_t* next) {
  const RowSlice& slice = job.x->slices[static_cast<size_t>(local / job.tasks_per_slice)];
  const int64_t panel = local % job.tasks_per_slice * job.panels_per_task;
  const int64_t panels = std::min(job.panels_per_task, job.panels - panel);
  const MatmulOut& out = *job.out;
  float* const y = out.y + panel * kPanelCols;
  if (!out.adds) return multiply(job.product, *job.x, slice, panel, panels, y, 0, out.y_stride, next);
  const int64_t width = panels * kPanelCols, columns = std::min(width, out.w->n - panel * kPanelCols);
  float* const tile = tile_memory(slice.rows, width, 1);
  multiply(job.product, *job.x, slice, panel, panels, tile, slice.first_row, width, next);
  for (int64_t row = 0; row < slice.rows; ++row)
    table.row->add(y + (slice.first_row + row) * out.y_stride, tile + row * width, columns);
}

}  // namespace

float norm_row(const OpTable& table, const Norm& norm, const float* x, int64_t cols, float* out) {
  table.row->norm(x, norm, cols, out);
  for (int64_t i = 0; norm.relu && i < cols; ++i) out[i] = out[i] < 0 ? 0 : out[i];  // a NaN stays one
  return norm.int8 ? round_to_int8(out, cols) : 1;
}

void arrange(const Machine& on, const MatmulIn& in, const Gather* gather, Input& out) {
  struct Part { const Activations* form; const RowGroup* group; };
  static thread_local std::vector<Part> own_parts;
  std::vector<Part>& parts = own_parts;
  parts.clear();
  for (int f = 0; f < kNumActForms; ++f) {
    if (!out.wanted[static_cast<size_t>(f)]) continue;
    Activations& form = out.forms[static_cast<size_t>(f)];
    if (gather != nullptr)
      form.lay_out(on.table, static_cast<ActForm>(f), gather->part_rows, in.k);
    else
      form.lay_out(on.table, static_cast<ActForm>(f), in.rows, in.k);
    for (const RowGroup& g : form.groups) parts.push_back({&form, &g});
  }
  const int64_t rows = gather != nullptr ? static_cast<int64_t>(gather->rows.size()) : in.rows;
  on.pool.run_if(rows * in.k >= kSharedValues, static_cast<int>(parts.size()), [&](int i, int) {
    const Part& part = parts[static_cast<size_t>(i)];
    const RowGroup& group = *part.group;
    const float* x = in.x + group.first_row * in.k;
    if (gather != nullptr || in.norm.kind != Norm::Kind::none) {
      static thread_local Scratch memory;
      auto* to = reinterpret_cast<float*>(memory.reserve(static_cast<size_t>(group.rows * (in.k + 1)) * sizeof(float)));
      float* const steps = to + group.rows * in.k;
      for (int r = 0; r < group.rows; ++r) {
        const int64_t row = gather != nullptr ? gather->rows[static_cast<size_t>(group.first_row + r)] : group.first_row + r;
        if (in.norm.kind != Norm::Kind::none)
          steps[r] = norm_row(on.table, in.norm, in.x + row * in.k, in.k, to + r * in.k);
        else
          std::memcpy(to + r * in.k, in.x + row * in.k, static_cast<size_t>(in.k) * sizeof(float));
      }
      x = to;
      if (in.norm.int8 && part.form->form == ActForm::q8)
        return arrange_int8(to, steps, in.k, group.rows, static_cast<ActBlock*>(const_cast<void*>(group.x)));
      for (int r = 0; in.norm.int8 && r < group.rows; ++r)
        for (int64_t i = 0; i < in.k; ++i) to[r * in.k + i] *= steps[r];
    }
    part.form->set(on.table, group, 0, x, in.k, in.k);
  });
}

void multiply(const Product& product, const Activations& x, const RowSlice& slice, int64_t first, int64_t count, float* y,
              int y_row, int64_t y_stride, const uint8_t* next) {
  const PackedMatrix& m = *product.w;
  const int64_t column = first * kPanelCols;
  MatmulTile tile;
  tile.panel_bytes = panel_bytes(m.dtype, m.k);
  tile.panels = m.data + static_cast<size_t>(first) * tile.panel_bytes;
  tile.n_panels = static_cast<int>(count);
  tile.n_cols = static_cast<int>(std::min(count * kPanelCols, m.n - column));
  tile.k = m.k;
  tile.groups = x.groups.data() + slice.first_group;
  tile.n_groups = slice.groups;
  tile.bias = product.bias != nullptr ? product.bias + column : nullptr;
  tile.y = y;
  tile.y_row = y_row;
  tile.y_stride = y_stride;
  tile.plan = product.plan;
  tile.next = next;
  CHECK(m.scale == 1 || tile.bias == nullptr, "a bias of a scaled matrix");
  if (product.decoded != nullptr) decoded_matmul(*product.table, *product.decoded, product.kernel, tile);
  else product.kernel(tile);
  for (int r = 0; m.scale != 1 && r < slice.rows; ++r)
    for (int c = 0; c < tile.n_cols; ++c) y[(slice.first_row + r - y_row) * y_stride + c] *= m.scale;
}

float* tile_memory(int64_t rows, int64_t columns, int tiles) {
  static thread_local Scratch memory;
  return reinterpret_cast<float*>(memory.reserve(static_cast<size_t>(rows * columns * tiles) * sizeof(float)));
}

int64_t panels_per_task(int64_t panels_in_all, const Activations& x, int threads) {
  const int64_t units = panels_in_all * static_cast<int64_t>(x.slices.size());
  return std::max<int64_t>(1, units / (int64_t{kTasksPerThread} * threads) / kPanelStep) * kPanelStep;
}

const uint8_t* next_panels(const PackedMatrix& w, int64_t first) {
  if (panel_count(w.n) - first < kPanelStep) return nullptr;
  return w.data + static_cast<size_t>(first) * panel_bytes(w.dtype, w.k);
}

ProductMemory& product_memory() {
  static thread_local ProductMemory own;
  return own;
}

void run_products(const Machine& on, std::span<const MatmulOut> outs, const Input* input, const Activations* same,
                  std::vector<Job>& jobs) {
  int64_t panels_in_all = 0, products = 0;
  for (const MatmulOut& o : outs) panels_in_all += panel_count(o.w->n);
  jobs.clear();
  int tasks = 0;
  for (const MatmulOut& o : outs) {
    const Activations& x = same != nullptr ? *same : input->form(act_form(on.table, o.w->dtype));
    Job job{{on, *o.w, o.bias, x.slices.front().rows}, &o, &x, panel_count(o.w->n), 0, 0, tasks};
    job.panels_per_task = panels_per_task(panels_in_all, x, on.pool.size());
    if (o.adds) job.panels_per_task = std::min(job.panels_per_task, kMostTaskPanels);
    job.tasks_per_slice = static_cast<int>((job.panels + job.panels_per_task - 1) / job.panels_per_task);
    tasks += job.tasks_per_slice * static_cast<int>(x.slices.size());
    products += x.rows * x.k * job.panels * kPanelCols;
    jobs.push_back(job);
  }
  const bool shared = products >= kSharedProducts;
  const int stride = shared ? on.pool.size() : 1;  // the tasks from one of a thread's to its next, if all keep step
  on.pool.run_if(shared, tasks, [&](int task, int) {
    size_t j = jobs.size() - 1;
    while (jobs[j].first_task > task) --j;
    run_job(on.table, jobs[j], task - jobs[j].first_task, first_panels(jobs, task + stride, *jobs[j].product.w));
  });
}

}  // namespace sluice
