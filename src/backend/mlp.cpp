// Ops::mlp, and the part of it that experts share.

#include <algorithm>

#include "backend/op_meter.h"
#include "backend/ordered_matmul.h"
#include "backend/products.h"
#include "backend/row_ops.h"
#include "base/check.h"

namespace sluice {
namespace {

/// What the rows of one slice are multiplied by: the gate and up, or up alone.
struct Upper {
  struct Side {
    Product product;
    const Activations* x;
  };
  Side first, second;
};

Upper::Side side_of(const Machine& on, const Input& input, const PackedMatrix& w, const float* bias, const RowSlice& slice) {
  return {{on, w, bias, slice.rows}, &input.form(act_form(on.table, w.dtype))};
}

}  // namespace

void want_forms(const OpTable& table, const Mlp& mlp, Input& input) {
  if (mlp.gate != nullptr) input.want(act_form(table, mlp.gate->dtype));
  input.want(act_form(table, mlp.up->dtype));
}

void check_mlp(const OpTable& table, const MatmulIn& in, const Mlp& mlp) {
  const PackedMatrix& gate = mlp.gate != nullptr ? *mlp.gate : *mlp.up;
  CHECK(gate.k == in.k && mlp.up->k == in.k && mlp.up->n == gate.n && mlp.down->k == gate.n,
        "an MLP of gate [{}, {}], up [{}, {}] and down [{}, {}] over {} columns", gate.n, gate.k, mlp.up->n, mlp.up->k,
        mlp.down->n, mlp.down->k, in.k);
  CHECK(mlp.gate != nullptr || table.row->activate[static_cast<size_t>(mlp.act)] != nullptr,
        "an activation of a gate and another value, in an MLP without a gate");
}

void run_hidden(const Machine& on, const Input& input, std::span<const Mlp> parts, const Activations& hidden) {
  const Mlp& like = parts.front();
  const bool gated = like.gate != nullptr;
  GateFn* const gate_fn = on.table.row->gate[static_cast<size_t>(like.act)];
  ActivateFn* const act_fn = on.table.row->activate[static_cast<size_t>(like.act)];
  const int64_t ffn = like.up->n, panels = panel_count(ffn);
  const int64_t per_task = std::min(panels_per_task((gated ? 2 : 1) * panels, hidden, on.pool.size()), kMostTaskPanels);
  const int per_slice = static_cast<int>((panels + per_task - 1) / per_task);
  const int tasks = per_slice * static_cast<int>(hidden.slices.size());
  const bool shared = hidden.rows * like.up->k * ffn >= kSharedProducts;
  const int stride = shared ? on.pool.size() : 1;

  static thread_local std::vector<Upper> own_uppers;
  std::vector<Upper>& uppers = own_uppers;  // by slice; the caller's, in every worker
  uppers.clear();
  for (const RowSlice& slice : hidden.slices) {
    const Mlp& mlp = parts[static_cast<size_t>(slice.part)];
    const Upper::Side up = side_of(on, input, *mlp.up, mlp.up_bias, slice);
    uppers.push_back({gated ? side_of(on, input, *mlp.gate, mlp.gate_bias, slice) : up, up});
  }
  // So that one may be asked for during another.
  const auto panels_of = [&](const Product& next, int64_t panel, const Product& during) {
    return next.w->dtype == during.w->dtype ? next_panels(*next.w, panel) : nullptr;
  };
  on.pool.run_if(shared, tasks, [&](int task, int) {
    const auto s = static_cast<size_t>(task / per_slice);
    const RowSlice& slice = hidden.slices[s];  // the same rows as the input's
    const auto& [first, second] = uppers[s];
    const Product& last = gated ? second.product : first.product;
    const int64_t begin = task % per_slice * per_task, end = std::min(begin + per_task, panels);
    const int after = task + stride;
    const uint8_t* const next_task =
        after < tasks ? panels_of(uppers[static_cast<size_t>(after / per_slice)].first.product, after % per_slice * per_task, last)
                      : nullptr;
    float* const values = tile_memory(slice.rows, kPanelStep * kPanelCols, 2);
    for (int64_t p = begin; p < end; p += kPanelStep) {
      const int64_t count = std::min(kPanelStep, end - p), width = count * kPanelCols, column = p * kPanelCols;
      const int64_t columns = std::min(width, ffn - column);
      const uint8_t* const next_step =
          p + kPanelStep < end ? panels_of(first.product, p + kPanelStep, last) : next_task;
      float* const up = values + slice.rows * width;
      multiply(first.product, *first.x, first.x->slices[s], p, count, values, slice.first_row, width,
               gated ? panels_of(second.product, p, first.product) : next_step);
      if (gated) {
        multiply(second.product, *second.x, second.x->slices[s], p, count, up, slice.first_row, width, next_step);
        for (int64_t row = 0; row < slice.rows; ++row) gate_fn(values + row * width, up + row * width, columns, like.swiglu);
      } else {
        for (int64_t row = 0; row < slice.rows; ++row) act_fn(values + row * width, columns);
      }
      for (int g = slice.first_group; g < slice.first_group + slice.groups; ++g) {
        const RowGroup& group = hidden.groups[static_cast<size_t>(g)];
        hidden.set(on.table, group, column, values + (group.first_row - slice.first_row) * width, width, columns);
      }
    }
  });
}

void Ops::mlp(const MatmulIn& in, const Mlp& mlp, float* y) const {
  if (in.rows == 0) return;
  check_mlp(table_, in, mlp);
  if (has_order(mlp) || mlp.hidden_norm.kind != Norm::Kind::none) return stepwise_mlp(*this, in, mlp, y);
  const Machine on{table_, plans_, pool_};
  ProductMemory& memory = product_memory();
  {
    const OpTimer timer(meter_, [&] {
      const MatmulOut upper[] = {{mlp.gate}, {mlp.up}};
      return matmul_work(in.rows, std::span(upper).last(mlp.gate != nullptr ? 2 : 1));
    });
    memory.input.wanted.fill(false);
    want_forms(table_, mlp, memory.input);
    arrange(on, in, nullptr, memory.input);
    memory.hidden.lay_out(table_, act_form(table_, mlp.down->dtype), in.rows, mlp.down->k);
    run_hidden(on, memory.input, {&mlp, 1}, memory.hidden);
  }
  const MatmulOut down{mlp.down, mlp.down_bias, y, mlp.down->n, mlp.adds};
  const OpTimer timer(meter_, [&] { return matmul_work(in.rows, {&down, 1}); });
  run_products(on, {&down, 1}, nullptr, &memory.hidden, memory.jobs);
}

}  // namespace sluice
