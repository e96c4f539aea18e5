#include "backend/matmul_tuning.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "backend/activations.h"
#include "backend/op_table.h"
#include "backend/ops.h"
#include "backend/pack.h"
#include "base/clock.h"
#include "base/machine.h"
#include "base/rng.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

// What stands for a depth class: whole blocks of every type.
constexpr std::array<int64_t, kDepthClasses.size()> kMeasuredDepths = {768, 4096};

constexpr int64_t kTunedPanelStep = 16;  // columns that are whole blocks of every type

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Weights of one type and depth, more than the caches hold: one panel of random values again and again.
struct ColdWeights {
  DType dtype;
  int64_t k;
  const uint8_t* data;
  size_t panel_bytes;
  int64_t panels;
  int64_t next = 0;

  ColdWeights(DType its_dtype, int64_t its_k, Buffer& memory, ThreadPool& pool)
      : dtype(its_dtype),
        k(its_k),
        data(memory.data()),
        panel_bytes(sluice::panel_bytes(dtype, k)),
        panels(static_cast<int64_t>(memory.bytes() / panel_bytes)) {
    std::vector<float> values(static_cast<size_t>(kPanelCols * k));
    Rng rng(1);
    for (float& v : values) v = static_cast<float>(rng.next_normal());
    std::vector<uint8_t> rows(row_bytes(dtype, kPanelCols * k)), panel(panel_bytes);
    weight_format(dtype)->encode(values.data(), rows.data(), kPanelCols * k);
    pack_panel({rows.data(), dtype, Shape{kPanelCols, k}}, 0, panel.data());
    pool.run(static_cast<int>(panels), [&](int p, int) {
      std::memcpy(memory.data() + static_cast<size_t>(p) * panel_bytes, panel.data(), panel_bytes);
    });
  }

  /// The `count` panels that were read the longest ago.
  PackedMatrix take(int64_t count) {
    if (next + count > panels) next = 0;
    const PackedMatrix matrix{dtype, count * kPanelCols, k, data + static_cast<size_t>(next) * panel_bytes};
    next += count;
    return matrix;
  }
};

/// What is timed for one class, as a layer's work is divided: half of the weights are the gate and the up matrix of an
/// MLP (whose down does nothing), half a product by itself.
struct Layer {
  DType dtype;
  int64_t rows, k, panels;  // panels of a quarter of the weights
  std::vector<float> x, y;
  std::vector<uint8_t> zeros;  // down's only panel

  Layer(const TunedPlan& of, const ColdWeights& weights, const TuningBudget& budget)
      : dtype(of.dtype), rows(kRowClasses[static_cast<size_t>(of.row_class)]), k(weights.k) {
    const double operations = static_cast<double>(kPanelCols * k * rows);  // of a panel
    panels = std::min(static_cast<int64_t>(budget.pass_bytes / weights.panel_bytes),
                      static_cast<int64_t>(budget.pass_operations / operations)) /
             4;
    panels = std::clamp<int64_t>(panels / kTunedPanelStep * kTunedPanelStep, kTunedPanelStep, weights.panels / 4);
    x.resize(static_cast<size_t>(rows * k));
    y.resize(static_cast<size_t>(rows * 2 * panels * kPanelCols));
    zeros.resize(panel_bytes(dtype, panels * kPanelCols));
    Rng rng(2);
    for (float& v : x) v = static_cast<float>(rng.next_normal());
  }

  /// Microseconds of one pass.
  double run(Ops& ops, const MatmulPlan& plan, ColdWeights& weights) {
    MatmulPlans plans;
    plans.of(dtype, k, rows) = plan;
    ops.set_plans(plans);
    const PackedMatrix gate = weights.take(panels), up = weights.take(panels);
    const PackedMatrix down{dtype, kPanelCols, gate.n, zeros.data()}, other = weights.take(2 * panels);
    const MatmulOut out{&other, nullptr, y.data(), other.n, true};
    const RealClock clock;
    const Nanos start = clock.now();
    ops.mlp({x.data(), rows, k}, {&gate, &up, &down}, y.data());
    ops.matmul({x.data(), rows, k}, {&out, 1});
    return static_cast<double>(std::max<Nanos>(1, clock.now() - start)) / 1e3;
  }
};

/// What candidates take: medians, and of the first one's time over theirs within the rounds.
struct Times {
  std::vector<double> us, gain;
};

Times time_all(Ops& ops, const std::vector<MatmulPlan>& candidates, Layer& layer, ColdWeights& weights,
               const TuningBudget& budget) {
  std::vector<std::vector<double>> us(candidates.size()), gains(candidates.size());
  for (const MatmulPlan& plan : candidates) layer.run(ops, plan, weights);
  const RealClock clock;
  const Nanos start = clock.now();
  const auto enough = static_cast<Nanos>(budget.seconds * static_cast<double>(candidates.size()) * 1e9);
  for (int round = 0; round < budget.most_rounds; ++round) {
    if (round >= budget.least_rounds && clock.now() - start > enough) break;
    for (size_t i = 0; i < candidates.size(); ++i) {
      const size_t c = (i + static_cast<size_t>(round)) % candidates.size();  // nobody always follows the same one
      us[c].push_back(layer.run(ops, candidates[c], weights));
    }
    for (size_t c = 0; c < candidates.size(); ++c) gains[c].push_back(us[0].back() / us[c].back());
  }
  Times times;
  for (const auto& of_candidate : us) times.us.push_back(median(of_candidate));
  for (const auto& of_candidate : gains) times.gain.push_back(median(of_candidate));
  return times;
}

TunedPlan tune_class(Ops& together, Ops& alone, const OpTable& table, ColdWeights& weights, TunedPlan of,
                     const TuningBudget& budget) {
  const std::vector<MatmulPlan> candidates = candidate_plans(table, of.dtype, of.row_class);
  Layer layer(of, weights, budget);
  const Times shared = time_all(together, candidates, layer, weights, budget);
  const Times own = together.pool().size() > 1 ? time_all(alone, candidates, layer, weights, budget) : shared;
  size_t best = 0;
  double best_gain = 1;
  for (size_t c = 1; c < candidates.size(); ++c) {
    const double gain = std::sqrt(shared.gain[c] * own.gain[c]);
    if (std::min(shared.gain[c], own.gain[c]) >= 1 - budget.most_loss && gain >= std::max(best_gain, budget.least_gain))
      best = c, best_gain = gain;
  }
  of.usual = candidates.front();
  of.chosen = candidates[best];
  of.usual_us = shared.us.front();
  of.chosen_us = shared.us[best];
  if (best > 0) of.gain = shared.gain[best], of.gain_alone = own.gain[best];
  return of;
}

}  // namespace

bool reads_plan(const OpTable& table, DType dtype) {
  const PanelKind kind = panel_kind(dtype);
  return (kind == PanelKind::floats || kind == PanelKind::blocks) && matmul_kernel(table, dtype) != matmul_kernel(reference_of(table), dtype);
}

std::vector<MatmulPlan> candidate_plans(const OpTable& table, DType dtype, int row_class) {
  const int64_t rows = kRowClasses[static_cast<size_t>(row_class)];
  std::vector<MatmulPlan> plans = {default_plans(table).of(dtype, 1, rows)};
  if (!reads_plan(table, dtype)) return plans;
  const auto add = [&](const MatmulPlan& plan) {
    if (std::ranges::find(plans, plan) == plans.end()) plans.push_back(plan);
  };
  if (table.planned_rows < rows) return plans;
  if (dtype == DType::q2_k) {  // one loop for any rows, which asks ahead
    for (const uint8_t lines : {0, 16, 32, 64}) add({plans.front().way, lines});
    return plans;
  }
  const bool one_group = rows <= table.group_rows[static_cast<int>(act_form(table, dtype))];
  for (const MatmulWay way : {MatmulWay::gemv, MatmulWay::flat, MatmulWay::gemm}) {
    if (way == MatmulWay::gemv && rows > kGemvRows) continue;
    if (!is_block_type(dtype)) {  // float kernels ask for nothing ahead, and have nothing to unpack
      if (way != MatmulWay::gemm && rows <= kGemvRows) add({way, plans.front().ahead_lines});
    } else if (!one_group) {
      if (way != MatmulWay::gemv) add({way, plans.front().ahead_lines});
    } else if (way != MatmulWay::gemm) {
      for (const uint8_t lines : {0, 16, 32, 64}) add({way, lines});
    }
  }
  return plans;
}

Result<std::vector<TunedPlan>> tune_matmul(const OpTable& table, ThreadPool& pool, std::span<const DType> dtypes,
                                           const TuningBudget& budget, const TuningProgress& progress) {
  std::vector<TunedPlan> all;
  for (const DType dtype : dtypes)
    for (int d = 0; d < static_cast<int>(kDepthClasses.size()); ++d)
      for (int r = 0; r < static_cast<int>(kRowClasses.size()); ++r)
        if (candidate_plans(table, dtype, r).size() > 1)
          all.push_back({.dtype = dtype, .depth_class = d, .row_class = r});
  if (all.empty()) return all;

  const size_t bytes =
      budget.cold_bytes > 0 ? budget.cold_bytes : std::max(2 * last_level_cache_bytes(), size_t{64} << 20);
  if (const size_t most = memory_limit().available_bytes / 4; bytes > most)
    return resource_exhausted(fmt::format("measuring takes weights of {} MiB, and a quarter of the memory is {} MiB",
                                          bytes >> 20, most >> 20));
  SLUICE_TRY(Buffer memory, Buffer::allocate(bytes));
  if (const std::vector<int> nodes = memory_nodes(); nodes.size() > 1) memory.interleave(nodes);
  ThreadPool single(1);
  Ops together(table, pool), alone(table, single);
  std::optional<ColdWeights> weights;
  for (size_t i = 0; i < all.size(); ++i) {
    if (progress) progress(static_cast<int>(i), static_cast<int>(all.size()));
    const int64_t k = kMeasuredDepths[static_cast<size_t>(all[i].depth_class)];
    if (!weights || weights->dtype != all[i].dtype || weights->k != k) weights.emplace(all[i].dtype, k, memory, pool);
    all[i] = tune_class(together, alone, table, *weights, all[i], budget);
  }
  return all;
}

MatmulPlans with_tuned(const OpTable& table, std::span<const TunedPlan> tuned) {
  MatmulPlans plans = default_plans(table);
  for (const TunedPlan& t : tuned)
    plans.plans[static_cast<size_t>(t.dtype)][static_cast<size_t>(t.depth_class)][static_cast<size_t>(t.row_class)] =
        t.chosen;
  return plans;
}

const char* way_name(MatmulWay way) {
  return way == MatmulWay::gemv ? "gemv" : way == MatmulWay::flat ? "flat" : "gemm";
}

}  // namespace sluice
