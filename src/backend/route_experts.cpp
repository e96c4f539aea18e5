// Ops::route: the experts that each row goes to, and what each counts. All in float64, one expert after the other, so that a row's
// choice is a function of its logits alone.

#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/op_meter.h"
#include "backend/ops.h"
#include "base/check.h"

namespace sluice {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// In place: e^x over the sum of all.
void softmax(std::span<double> x) {
  const double top = *std::ranges::max_element(x);
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v - top);
  for (double& v : x) v /= sum;
}

struct Router {
  const Routing& routing;
  std::vector<double> scores, choice;  // [experts]: what an expert would count, and what it is chosen by
  std::vector<double> weights;         // [top_k]
  std::vector<uint8_t> open;           // [experts]: may be chosen

  // The largest open one, of equal ones the first.
  int best(int begin, int end) const {
    int found = -1;
    for (int e = begin; e < end; ++e)
      if (open[static_cast<size_t>(e)] && (found < 0 || choice[static_cast<size_t>(e)] > choice[static_cast<size_t>(found)])) found = e;
    return found;
  }

  double group_score(int begin, int end) {
    const int first = best(begin, end);
    double score = choice[static_cast<size_t>(first)];
    if (routing.group_score == Routing::GroupScore::best || end - begin == 1) return score;
    open[static_cast<size_t>(first)] = false;
    score += choice[static_cast<size_t>(best(begin, end))];
    open[static_cast<size_t>(first)] = true;
    return score;
  }

  // Closes all but the best groups.
  void close_groups() {
    const int size = routing.experts / routing.groups;
    std::vector<double> score;
    for (int g = 0; g < routing.groups; ++g) score.push_back(group_score(g * size, (g + 1) * size));
    std::vector<int> order(score.size());
    for (size_t g = 0; g < order.size(); ++g) order[g] = static_cast<int>(g);
    std::ranges::stable_sort(order, [&](int a, int b) { return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)]; });
    for (const int g : std::span(order).subspan(static_cast<size_t>(routing.top_groups)))
      std::fill_n(open.begin() + g * size, size, uint8_t{0});
  }

  void run(const float* logits, int32_t* ids, float* out) {
    const auto experts = static_cast<size_t>(routing.experts), top_k = static_cast<size_t>(routing.top_k);
    scores.assign(logits, logits + experts);
    if (routing.score == Routing::Score::softmax) softmax(scores);
    if (routing.score == Routing::Score::sigmoid) std::ranges::transform(scores, scores.begin(), sigmoid);
    choice = scores;
    if (routing.selection_bias != nullptr)
      for (size_t e = 0; e < experts; ++e) choice[e] += static_cast<double>(routing.selection_bias[e]);
    open.assign(experts, 1);
    if (routing.top_groups < routing.groups) close_groups();
    weights.resize(top_k);
    for (size_t i = 0; i < top_k; ++i) {
      const int e = best(0, routing.experts);
      open[static_cast<size_t>(e)] = false;
      ids[i] = e;
      weights[i] = scores[static_cast<size_t>(e)];
    }
    if (routing.score == Routing::Score::topk_softmax) softmax(weights);
    double by = static_cast<double>(routing.scale);
    if (routing.renormalize) {
      double sum = 1e-20;  // of sigmoids that are all 0
      for (const double w : weights) sum += w;
      by /= sum;
    }
    for (size_t i = 0; i < top_k; ++i) out[i] = static_cast<float>(weights[i] * by);
  }
};

}  // namespace

void Ops::route(const float* logits, int64_t rows, const Routing& routing, int32_t* ids, float* weights) const {
  const int experts = routing.experts, top_k = routing.top_k, groups = routing.groups;
  CHECK(top_k > 0 && top_k <= experts, "{} of {} experts", top_k, experts);
  CHECK(groups > 0 && experts % groups == 0 && routing.top_groups > 0 && routing.top_groups <= groups,
        "{} of {} groups of {} experts", routing.top_groups, groups, experts);
  CHECK(routing.top_groups * (experts / groups) >= top_k, "{} experts of {} groups of {}", top_k, routing.top_groups, experts / groups);
  const OpTimer timer(meter_, [&] { return values_work("route", rows * experts, 1, 4 + top_k); });
  constexpr int64_t kRowsPerTask = 8;
  pool_.run_if(rows * experts >= 1024, static_cast<int>((rows + kRowsPerTask - 1) / kRowsPerTask), [&](int task, int) {
    Router router{routing, {}, {}, {}, {}};
    for (int64_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row)
      router.run(logits + row * experts, ids + row * top_k, weights + row * top_k);
  });
}

}  // namespace sluice
