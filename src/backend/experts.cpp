// Ops::experts: rows are grouped by expert, so that an expert's weights are read once for all of its rows, and each row's results
// are added in the order of its own choice, whoever else is in the batch.
//
// Two regions after the rows' forms: the hidden values of all experts, as in an MLP whose rows are in parts (run_hidden); then
// ranges of columns of y, each of which multiplies the hidden values of all experts and adds up the rows at once.

#include <algorithm>
#include <cstring>

#include "backend/op_meter.h"
#include "backend/ordered_matmul.h"
#include "backend/products.h"
#include "backend/row_ops.h"
#include "base/check.h"

namespace sluice {
namespace {

/// The (row, expert) pairs of a call by expert, those of one in the order of the rows.
struct Pairs {
  std::vector<int32_t> rows;       // [pairs]: the row of each
  std::vector<int32_t> at;         // [rows, top_k]: where a row's stand
  std::vector<int64_t> part_rows;  // of the experts that have some
  std::vector<Mlp> parts;          // those
  std::vector<int32_t> next;       // scratch, by expert

  void find(const Experts& e, int64_t batch_rows, const ExpertChoice& choice);
};

Mlp mlp_of(const Experts& e, size_t expert) {
  const auto bias = [&](const float* all, const PackedMatrix& w) {
    return all != nullptr ? all + static_cast<int64_t>(expert) * w.n : nullptr;
  };
  Mlp mlp;
  if (!e.gate.empty()) mlp.gate = &e.gate[expert], mlp.gate_bias = bias(e.gate_bias, e.gate[expert]);
  mlp.up = &e.up[expert], mlp.up_bias = bias(e.up_bias, e.up[expert]);
  mlp.down = &e.down[expert], mlp.down_bias = bias(e.down_bias, e.down[expert]);
  mlp.act = e.act;
  mlp.swiglu = e.swiglu;
  return mlp;
}

void Pairs::find(const Experts& e, int64_t batch_rows, const ExpertChoice& choice) {
  const auto count = static_cast<size_t>(batch_rows * choice.top_k);
  next.assign(e.up.size(), 0);
  for (size_t i = 0; i < count; ++i) {
    CHECK(choice.ids[i] >= 0 && static_cast<size_t>(choice.ids[i]) < e.up.size(), "expert {} of {}", choice.ids[i], e.up.size());
    ++next[static_cast<size_t>(choice.ids[i])];
  }
  parts.clear();
  part_rows.clear();
  int32_t first = 0;
  for (size_t expert = 0; expert < next.size(); ++expert) {
    const int32_t n = next[expert];
    next[expert] = first;
    first += n;
    if (n == 0) continue;
    parts.push_back(mlp_of(e, expert));
    part_rows.push_back(n);
  }
  rows.resize(count);
  at.resize(count);
  for (size_t i = 0; i < count; ++i) {
    at[i] = next[static_cast<size_t>(choice.ids[i])]++;
    rows[static_cast<size_t>(at[i])] = static_cast<int32_t>(i / static_cast<size_t>(choice.top_k));
  }
}

/// Of products of so many rows in all with so many matrices.
OpWork work_of(int64_t rows, size_t matrices, std::span<const MatmulOut> outs_of_one) {
  OpWork work = matmul_work(rows, outs_of_one);
  work.bytes *= static_cast<double>(matrices);
  return work;
}

/// y (+)= the weighted sum of each row's results.
void run_down(const Machine& on, const Pairs& pairs, const Activations& hidden, const Experts& e, const ExpertChoice& choice,
              int64_t batch_rows, float* y) {
  const PackedMatrix& like = *pairs.parts.front().down;
  const int64_t n = like.n, panels = panel_count(n);
  const int64_t wanted = panels / (int64_t{kTasksPerThread} * on.pool.size()) / kPanelStep * kPanelStep;
  const int64_t per_task = std::clamp(wanted, kPanelStep, kMostTaskPanels);
  static thread_local std::vector<Product> own_products;
  std::vector<Product>& products = own_products;  // by slice; the caller's, in every worker
  products.clear();
  for (const RowSlice& slice : hidden.slices) {
    const Mlp& mlp = pairs.parts[static_cast<size_t>(slice.part)];
    products.emplace_back(on, *mlp.down, mlp.down_bias, slice.rows);
  }
  const auto task = [&](int number, int) {
    const int64_t begin = number * per_task, count = std::min(per_task, panels - begin), width = count * kPanelCols;
    const int64_t column = begin * kPanelCols, columns = std::min(width, n - column);
    float* const results = tile_memory(hidden.rows + 1, width, 1);
    float* const sum = results + hidden.rows * width;
    for (size_t s = 0; s < products.size(); ++s) {
      const PackedMatrix* const next = s + 1 < products.size() ? products[s + 1].w : nullptr;
      multiply(products[s], hidden, hidden.slices[s], begin, count, results, 0, width,
               next != nullptr && next->dtype == products[s].w->dtype ? next_panels(*next, begin) : nullptr);
    }
    for (int64_t row = 0; row < batch_rows; ++row) {
      std::fill_n(sum, columns, 0.0f);
      for (int i = 0; i < choice.top_k; ++i) {
        const auto pair = static_cast<size_t>(row * choice.top_k + i);
        on.table.row->add_scaled(sum, results + pairs.at[pair] * width, choice.weights[pair], columns);
      }
      float* const to = y + row * n + column;
      if (e.adds)
        on.table.row->add(to, sum, columns);
      else
        std::memcpy(to, sum, static_cast<size_t>(columns) * sizeof(float));
    }
  };
  on.pool.run_if(hidden.rows * hidden.k * n >= kSharedProducts, static_cast<int>((panels + per_task - 1) / per_task), task);
}

void check_experts(const OpTable& table, const MatmulIn& in, const Experts& e) {
  CHECK(!e.up.empty() && e.down.size() == e.up.size() && (e.gate.empty() || e.gate.size() == e.up.size()),
        "experts of {} gates, {} ups and {} downs", e.gate.size(), e.up.size(), e.down.size());
  for (size_t i = 0; i < e.up.size(); ++i) {
    check_mlp(table, in, mlp_of(e, i));
    CHECK(e.up[i].n == e.up[0].n && e.down[i].n == e.down[0].n && e.down[i].dtype == e.down[0].dtype,
          "expert {} is {} by {} and {}, expert 0 {} by {} and {}", i, e.up[i].n, e.down[i].n, dtype_name(e.down[i].dtype), e.up[0].n,
          e.down[0].n, dtype_name(e.down[0].dtype));
  }
}

}  // namespace

void Ops::experts(const MatmulIn& in, const Experts& e, const ExpertChoice& choice, float* y, std::span<int64_t> rows_of) const {
  if (in.rows == 0) return;
  check_experts(table_, in, e);
  if (has_order(e)) return ordered_experts(*this, in, e, choice, y, rows_of);
  const Machine on{table_, plans_, pool_};
  ProductMemory& memory = product_memory();
  static thread_local Pairs own_pairs;
  Pairs& pairs = own_pairs;  // the caller's, in every worker
  pairs.find(e, in.rows, choice);
  if (!rows_of.empty()) {
    CHECK(rows_of.size() == e.up.size(), "counters of {} experts for {}", rows_of.size(), e.up.size());
    for (size_t i = 0; i < pairs.rows.size(); ++i) ++rows_of[static_cast<size_t>(choice.ids[i])];
  }
  const auto count = static_cast<int64_t>(pairs.rows.size());
  const Mlp& first = pairs.parts.front();
  {
    const OpTimer timer(meter_, [&] {
      const MatmulOut upper[] = {{first.gate}, {first.up}};
      return work_of(count, pairs.parts.size(), std::span(upper).last(first.gate != nullptr ? 2 : 1));
    });
    memory.input.wanted.fill(false);
    for (const Mlp& mlp : pairs.parts) want_forms(table_, mlp, memory.input);
    const Gather gather{pairs.rows, pairs.part_rows};
    arrange(on, in, &gather, memory.input);
    memory.hidden.lay_out(table_, act_form(table_, first.down->dtype), pairs.part_rows, first.down->k);
    run_hidden(on, memory.input, pairs.parts, memory.hidden);
  }
  const MatmulOut down{first.down};
  const OpTimer timer(meter_, [&] { return work_of(count, pairs.parts.size(), {&down, 1}); });
  run_down(on, pairs, memory.hidden, e, choice, in.rows, y);
}

}  // namespace sluice
