#include "sim/step_cost.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace sluice {

StepFeatures step_features(const StepShape& s) {
  const RowTerms rows(s.rows);
  return {{1.0, rows.all, rows.to_16, rows.to_64, rows.past_64, s.sampled, s.context, s.row_context}};
}

StepCost StepCost::built_in() {
  return {{8.1e6, 5.5e5, 0, 0, 0, 0, 0, 200}, "qwen2.5-0.5b-q8_0", "2 threads, avx512bf16"};
}

double StepCost::step_ns(const StepFeatures& features) const {
  double t = 0;
  for (int i = 0; i < StepFeatures::kCount; ++i) t += ns[i] * features.x[i];
  return t;
}

namespace {

/// Weighted non-negative least squares on relative error: each step is scaled by 1 / its time.
StepCost fit_weighted(const std::vector<MeasuredStep>& steps, const std::vector<double>& weight) {
  constexpr int n = StepFeatures::kCount;
  std::array<double, n> scale{};  // columns get unit norm
  for (size_t s = 0; s < steps.size(); ++s)
    for (int i = 0; i < n; ++i) {
      const double x = steps[s].features.x[i] / steps[s].ns;
      scale[i] += weight[s] * x * x;
    }
  for (double& v : scale) v = v > 0 ? 1 / std::sqrt(v) : 0;
  std::array<std::array<double, n>, n> a{};
  std::array<double, n> b{};
  for (size_t s = 0; s < steps.size(); ++s) {
    std::array<double, n> x;
    for (int i = 0; i < n; ++i) x[i] = steps[s].features.x[i] / steps[s].ns * scale[i];
    for (int i = 0; i < n; ++i) {
      b[i] += weight[s] * x[i];
      for (int j = 0; j < n; ++j) a[i][j] += weight[s] * x[i] * x[j];
    }
  }
  // Coordinate descent with clipping at zero converges for this convex problem.
  std::array<double, n> w{};
  for (int sweep = 0; sweep < 20000; ++sweep) {
    for (int i = 0; i < n; ++i) {
      if (a[i][i] <= 0) continue;
      double gradient = b[i];
      for (int j = 0; j < n; ++j) gradient -= a[i][j] * w[j];
      w[i] = std::max(0.0, w[i] + gradient / a[i][i]);
    }
  }
  StepCost cost;
  for (int i = 0; i < n; ++i) cost.ns[i] = w[i] * scale[i];
  return cost;
}

}  // namespace

StepCost StepCost::fit(const std::vector<MeasuredStep>& steps) {
  // Iteratively reweighted: a weight of 1 / |error| turns squares into absolute values.
  std::vector<double> weight(steps.size(), 1.0);
  StepCost cost = fit_weighted(steps, weight);
  for (int round = 0; round < 12; ++round) {
    for (size_t s = 0; s < steps.size(); ++s)
      weight[s] = 1 / std::max(0.01, std::abs(cost.step_ns(steps[s].features) / steps[s].ns - 1));
    cost = fit_weighted(steps, weight);
  }
  return cost;
}

StepCost::Error StepCost::error(const std::vector<MeasuredStep>& held_out) const {
  Error e;
  double predicted = 0, measured = 0;
  for (const MeasuredStep& s : held_out) {
    const double t = step_ns(s.features);
    e.mean_relative += std::abs(t - s.ns) / s.ns;
    predicted += t;
    measured += s.ns;
  }
  if (!held_out.empty()) {
    e.mean_relative /= static_cast<double>(held_out.size());
    e.total_relative = std::abs(predicted - measured) / measured;
  }
  return e;
}

std::string StepCost::to_json() const {
  nlohmann::ordered_json j;
  j["format"] = "sluice step cost 1";
  j["model"] = model;
  j["machine"] = machine;
  for (int i = 0; i < StepFeatures::kCount; ++i) j["ns_per"][std::string(StepFeatures::kNames[i])] = ns[i];
  return j.dump(2) + "\n";
}

Result<StepCost> StepCost::from_json(const std::string& text, const std::string& origin) {
  const auto j = nlohmann::json::parse(text, nullptr, false);
  if (!j.is_object() || !j.contains("ns_per") || !j["ns_per"].is_object())
    return corrupt_data(fmt::format("{}: not a step cost file: an object with 'ns_per' is wanted, as "
                                    "'sluice bench calibrate' writes it", origin));
  StepCost cost;
  for (int i = 0; i < StepFeatures::kCount; ++i) {
    const std::string name(StepFeatures::kNames[i]);
    const auto it = j["ns_per"].find(name);
    if (it == j["ns_per"].end() || !it->is_number() || it->get<double>() < 0)
      return corrupt_data(fmt::format("{}: ns_per.{} must be a number of at least 0", origin, name));
    cost.ns[i] = it->get<double>();
  }
  cost.model = j.value("model", "");
  cost.machine = j.value("machine", "");
  return cost;
}

}  // namespace sluice
