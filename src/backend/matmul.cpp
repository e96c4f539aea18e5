// Ops::matmul, gated_mlp and what belongs to them: packing, embedding rows, and the split of the work over threads.
//
// One parallel region brings the rows into the kernels' forms, a second multiplies. Tasks are (rows, output, range of
// panels); since a kernel computes each output by one fixed chain of additions, the tasks cannot change a bit. What follows
// a product (adding to the residual, the gate, the next product's quantization) is done by its task, while the values are
// in the cache.

#include <algorithm>
#include <array>
#include <vector>

#include "backend/activations.h"
#include "backend/decoded_matmul.h"
#include "backend/op_meter.h"
#include "backend/op_table.h"
#include "backend/ordered_matmul.h"
#include "backend/ops.h"
#include "backend/pack.h"
#include "backend/row_ops.h"
#include "base/check.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

int64_t panel_count(int64_t n) { return (n + kPanelCols - 1) / kPanelCols; }

constexpr int64_t kSharedValues = 4096;      // fewer are arranged faster by one thread than by a pool
constexpr int64_t kSharedProducts = 131072;  // and so are fewer multiplications
constexpr int kTasksPerThread = 6;
constexpr int64_t kPanelStep = 4;         // whole register tiles: tasks hold a multiple, except the last
constexpr int64_t kMostTaskPanels = 8;    // of a task whose values stay in the cache for what follows

/// The forms that the products of one input read.
struct Input {
  std::array<Activations, kNumActForms> forms;
  std::array<bool, kNumActForms> wanted{};

  const Activations& form(ActForm f) const { return forms[static_cast<size_t>(f)]; }
};

/// What multiplies: kernels, how they go over weights, and threads.
struct Machine {
  const OpTable& table;
  const MatmulPlans& plans;
  ThreadPool& pool;
};

/// Brings the input into every form that is wanted, normed on the way where that is asked for.
void arrange(const Machine& on, const MatmulIn& in, Input& out) {
  struct Part { const Activations* form; const RowGroup* group; };
  static thread_local std::vector<Part> own_parts;
  std::vector<Part>& parts = own_parts;
  parts.clear();
  for (int f = 0; f < kNumActForms; ++f) {
    if (!out.wanted[static_cast<size_t>(f)]) continue;
    Activations& form = out.forms[static_cast<size_t>(f)];
    form.lay_out(on.table, static_cast<ActForm>(f), in.rows, in.k);
    for (const RowGroup& g : form.groups) parts.push_back({&form, &g});
  }
  on.pool.run_if(in.rows * in.k >= kSharedValues, static_cast<int>(parts.size()), [&](int i, int) {
    const Part& part = parts[static_cast<size_t>(i)];
    const float* x = in.x + part.group->first_row * in.k;
    if (in.norm_gain != nullptr) {
      static thread_local Scratch normed;
      auto* to = reinterpret_cast<float*>(normed.reserve(static_cast<size_t>(part.group->rows * in.k) * sizeof(float)));
      for (int r = 0; r < part.group->rows; ++r)
        on.table.row->rms_norm(x + r * in.k, in.norm_gain, in.norm_eps, in.k, to + r * in.k);
      x = to;
    }
    part.form->set(on.table, *part.group, 0, x, in.k, in.k);
  });
}

/// A matrix and how it is multiplied.
struct Product {
  Product(const Machine& on, const PackedMatrix& matrix, const float* its_bias, const Activations& x)
      : w(&matrix), bias(its_bias), kernel(matmul_kernel(on.table, w->dtype)),
        decoded(panel_kind(w->dtype) == PanelKind::as_in_file ? weight_format(w->dtype) : nullptr),
        plan(on.plans.of(w->dtype, w->k, x.slices.front().rows)) {}
  const PackedMatrix* w;
  const float* bias;
  MatmulFn* kernel;
  const WeightFormat* decoded;  // not null: the kernel is of what its blocks are unpacked to
  MatmulPlan plan;
};

/// Panels [first, first + count) of a matrix over a slice of rows, into y, whose first element is row y_row of all, column
/// 0 of the first panel. `next`: see MatmulTile.
void multiply(const OpTable& on, const Product& product, const Activations& x, const RowSlice& slice, int64_t first, int64_t count, float* y,
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
  if (product.decoded != nullptr) return decoded_matmul(on, *product.decoded, product.kernel, tile);
  product.kernel(tile);
}

/// A worker's memory for `tiles` results of a slice, row-major [rows][columns].
float* tile_memory(const RowSlice& slice, int64_t columns, int tiles) {
  static thread_local Scratch memory;
  return reinterpret_cast<float*>(memory.reserve(static_cast<size_t>(slice.rows * columns * tiles) * sizeof(float)));
}

int64_t panels_per_task(int64_t panels_in_all, const Activations& x, int threads) {
  const int64_t units = panels_in_all * static_cast<int64_t>(x.slices.size());
  return std::max<int64_t>(1, units / (int64_t{kTasksPerThread} * threads) / kPanelStep) * kPanelStep;
}

/// One product's share of the tasks.
struct Job {
  Product product;
  const MatmulOut* out;
  const Activations* x;
  int64_t panels, panels_per_task;
  int tasks_per_slice, first_task;
};

struct Workspace {
  Input input;
  Activations hidden;  // of a gated MLP
  Scratch gate, up;    // the same, where it is not fused
  std::vector<Job> jobs;
};

Workspace& workspace() {
  static thread_local Workspace own;
  return own;
}

/// Panel `first` of a matrix as MatmulTile::next: null where fewer than a step's follow.
const uint8_t* next_panels(const PackedMatrix& w, int64_t first) {
  if (panel_count(w.n) - first < kPanelStep) return nullptr;
  return w.data + static_cast<size_t>(first) * panel_bytes(w.dtype, w.k);
}

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
  if (!out.adds) return multiply(table, job.product, *job.x, slice, panel, panels, y, 0, out.y_stride, next);
  const int64_t width = panels * kPanelCols, columns = std::min(width, out.w->n - panel * kPanelCols);
  float* const tile = tile_memory(slice, width, 1);
  multiply(table, job.product, *job.x, slice, panel, panels, tile, slice.first_row, width, next);
  for (int64_t row = 0; row < slice.rows; ++row)
    table.row->add(y + (slice.first_row + row) * out.y_stride, tile + row * width, columns);
}

/// All products of an input that stands in its forms, in one parallel region.
void run_products(const Machine& on, const MatmulIn& in, std::span<const MatmulOut> outs, const Input* input,
                  const Activations* same, std::vector<Job>& jobs) {
  int64_t panels_in_all = 0;
  for (const MatmulOut& o : outs) panels_in_all += panel_count(o.w->n);
  jobs.clear();
  const bool shared = in.rows * in.k * panels_in_all * kPanelCols >= kSharedProducts;
  const int stride = shared ? on.pool.size() : 1;  // the tasks from one of a thread's to its next, if all keep step
  int tasks = 0;
  for (const MatmulOut& o : outs) {
    const Activations& x = same != nullptr ? *same : input->form(act_form(on.table, o.w->dtype));
    Job job{{on, *o.w, o.bias, x}, &o, &x, panel_count(o.w->n), 0, 0, tasks};
    job.panels_per_task = panels_per_task(panels_in_all, x, on.pool.size());
    if (o.adds) job.panels_per_task = std::min(job.panels_per_task, kMostTaskPanels);
    job.tasks_per_slice = static_cast<int>((job.panels + job.panels_per_task - 1) / job.panels_per_task);
    tasks += job.tasks_per_slice * static_cast<int>(x.slices.size());
    jobs.push_back(job);
  }
  on.pool.run_if(shared, tasks, [&](int task, int) {
    size_t j = jobs.size() - 1;
    while (jobs[j].first_task > task) --j;
    run_job(on.table, jobs[j], task - jobs[j].first_task, first_panels(jobs, task + stride, *jobs[j].product.w));
  });
}

/// hidden = silu(gate(x)) * up(x), a few columns of a slice at a time, which go from both products into the form that the
/// next one reads while they are in the cache.
void run_gate(const Machine& on, const Activations& x, const GatedMlp& mlp, const Activations& hidden) {
  const Product to_gate(on, *mlp.gate, mlp.gate_bias, x), to_up(on, *mlp.up, mlp.up_bias, x);
  const int64_t ffn = mlp.gate->n, panels = panel_count(ffn);
  const int64_t per_task = std::min(panels_per_task(2 * panels, x, on.pool.size()), kMostTaskPanels);
  const int per_slice = static_cast<int>((panels + per_task - 1) / per_task);
  const int tasks = per_slice * static_cast<int>(x.slices.size());
  const bool shared = x.rows * x.k * ffn >= kSharedProducts;
  const int stride = shared ? on.pool.size() : 1;
  const bool alike = mlp.gate->dtype == mlp.up->dtype;  // so that one may be asked for during the other
  const auto panels_of = [&](const PackedMatrix& w, int64_t panel) { return alike ? next_panels(w, panel) : nullptr; };
  on.pool.run_if(shared, tasks, [&](int task, int) {
    const RowSlice& slice = x.slices[static_cast<size_t>(task / per_slice)];
    const int64_t begin = task % per_slice * per_task, end = std::min(begin + per_task, panels);
    const int after = task + stride;
    const uint8_t* const next_task = after < tasks ? panels_of(*mlp.gate, after % per_slice * per_task) : nullptr;
    float* const gate = tile_memory(slice, kPanelStep * kPanelCols, 2);
    for (int64_t p = begin; p < end; p += kPanelStep) {
      const int64_t count = std::min(kPanelStep, end - p), width = count * kPanelCols, column = p * kPanelCols;
      const int64_t columns = std::min(width, ffn - column);
      float* const up = gate + slice.rows * width;
      multiply(on.table, to_gate, x, slice, p, count, gate, slice.first_row, width, panels_of(*mlp.up, p));
      multiply(on.table, to_up, x, slice, p, count, up, slice.first_row, width,
               p + kPanelStep < end ? panels_of(*mlp.gate, p + kPanelStep) : next_task);
      for (int64_t row = 0; row < slice.rows; ++row)
        on.table.row->silu_mul(gate + row * width, up + row * width, columns);
      for (int g = slice.first_group; g < slice.first_group + slice.groups; ++g) {
        const RowGroup& group = hidden.groups[static_cast<size_t>(g)];
        hidden.set(on.table, group, column, gate + (group.first_row - slice.first_row) * width, width, columns);
      }
    }
  });
}

}  // namespace

size_t Ops::packed_bytes(DType dtype, int64_t n, int64_t k) {
  return static_cast<size_t>(panel_count(n)) * panel_bytes(dtype, k);
}

bool Ops::matmul_supports(DType dtype) { return panel_kind(dtype) != PanelKind::none; }

void Ops::pack(const TensorView& w, uint8_t* out) const {
  CHECK(matmul_supports(w.dtype), "no packed form of {}", dtype_name(w.dtype));
  const size_t bytes = panel_bytes(w.dtype, w.cols());
  pool_.run(static_cast<int>(panel_count(w.rows())),
            [&](int panel, int) { pack_panel(w, panel, out + static_cast<size_t>(panel) * bytes); });
}

void Ops::embed(const TensorView& table, std::span<const TokenId> tokens, float* out) const {
  const OpTimer timer(meter_, [&] { return embed_work(table.dtype, table.cols(), static_cast<int64_t>(tokens.size())); });
  const WeightFormat* format = weight_format(table.dtype);
  CHECK(format != nullptr, "cannot decode {} rows", dtype_name(table.dtype));
  const int64_t k = table.cols();
  pool_.run(static_cast<int>(tokens.size()), [&](int i, int) {
    CHECK(tokens[i] >= 0 && tokens[i] < table.rows(), "token {} of a table of {}", tokens[i], table.rows());
    format->decode(table.row(tokens[i]), out + i * k, k);
  });
}

void Ops::matmul(const MatmulIn& in, std::span<const MatmulOut> outs) const {
  if (in.rows == 0 || outs.empty()) return;
  const OpTimer timer(meter_, [&] { return matmul_work(in.rows, outs); });
  if (has_order(outs)) return ordered_matmul(*this, in, outs);
  const Machine on{table_, plans_, pool_};
  Workspace& ws = workspace();
  ws.input.wanted.fill(false);
  for (const MatmulOut& o : outs) {
    CHECK(o.w->k == in.k, "an input of {} columns for a matrix of {}", in.k, o.w->k);
    ws.input.wanted[static_cast<size_t>(act_form(table_, o.w->dtype))] = true;
  }
  arrange(on, in, ws.input);
  run_products(on, in, outs, &ws.input, nullptr, ws.jobs);
}

void Ops::gated_mlp(const MatmulIn& in, const GatedMlp& mlp, float* y) const {
  if (in.rows == 0) return;
  CHECK(mlp.gate->k == in.k && mlp.up->k == in.k && mlp.up->n == mlp.gate->n && mlp.down->k == mlp.gate->n,
        "an MLP of gate [{}, {}], up [{}, {}] and down [{}, {}] over {} columns", mlp.gate->n, mlp.gate->k, mlp.up->n,
        mlp.up->k, mlp.down->n, mlp.down->k, in.k);
  const Machine on{table_, plans_, pool_};
  Workspace& ws = workspace();
  const int64_t ffn = mlp.gate->n;
  const ActForm form = act_form(table_, mlp.gate->dtype);
  const MatmulOut down{mlp.down, mlp.down_bias, y, mlp.down->n, true};
  MatmulOut upper[] = {{mlp.gate, mlp.gate_bias, nullptr, ffn}, {mlp.up, mlp.up_bias, nullptr, ffn}};
  if (has_order(upper) || has_order({&down, 1}) || act_form(table_, mlp.up->dtype) != form || act_form(table_, mlp.down->dtype) != form) {
    const size_t bytes = static_cast<size_t>(in.rows * ffn) * sizeof(float);
    float* const gate = upper[0].y = reinterpret_cast<float*>(ws.gate.reserve(bytes));
    float* const up = upper[1].y = reinterpret_cast<float*>(ws.up.reserve(bytes));
    matmul(in, upper);
    silu_mul(gate, up, in.rows * ffn);
    return matmul({gate, in.rows, ffn}, {&down, 1});
  }
  {
    const OpTimer timer(meter_, [&] { return matmul_work(in.rows, upper); });
    ws.input.wanted.fill(false);
    ws.input.wanted[static_cast<size_t>(form)] = true;
    arrange(on, in, ws.input);
    ws.hidden.lay_out(table_, form, in.rows, ffn);  // the same form as the input, so the same groups and slices
    run_gate(on, ws.input.form(form), mlp, ws.hidden);
  }
  const OpTimer timer(meter_, [&] { return matmul_work(in.rows, {&down, 1}); });
  run_products(on, {nullptr, in.rows, ffn}, {&down, 1}, nullptr, &ws.hidden, ws.jobs);
}

}  // namespace sluice
