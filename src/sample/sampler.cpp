#include "sample/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "base/rng.h"

namespace sluice {

namespace {
constexpr size_t kLanes = 32;  // independent, so that the compiler makes vectors of them: a row has 150k values
}  // namespace

TokenId argmax(std::span<const float> logits) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::array<float, kLanes> top;
  top.fill(kNone);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      top[lane] = logits[i + lane] > top[lane] ? logits[i + lane] : top[lane];
  for (; i < logits.size(); ++i) top[0] = logits[i] > top[0] ? logits[i] : top[0];
  const float largest = *std::max_element(top.begin(), top.end());
  if (largest == kNone) return 0;
  return static_cast<TokenId>(std::find(logits.begin(), logits.end(), largest) - logits.begin());
}

bool all_finite(std::span<const float> logits) {
  std::array<float, kLanes> sum{};  // of zeros, unless one is the product with an infinity or a NaN
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) sum[lane] += logits[i + lane] * 0.0f;
  for (; i < logits.size(); ++i) sum[0] += logits[i] * 0.0f;
  return std::ranges::all_of(sum, [](float s) { return s == 0; });
}

double log_sum_exp(std::span<const float> logits) {
  const double top = logits[argmax(logits)];
  double sum = 0;
  for (const float z : logits) sum += std::exp(static_cast<double>(z) - top);
  return top + std::log(sum);
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, double log_normalizer, int k) {
  std::vector<TokenId> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<TokenId>(i);
  const size_t count = std::min(ids.size(), static_cast<size_t>(std::max(0, k)));
  std::partial_sort(ids.begin(), ids.begin() + static_cast<long>(count), ids.end(), [&](TokenId a, TokenId b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::vector<TokenLogprob> top;
  for (size_t i = 0; i < count; ++i)
    top.push_back({ids[i], static_cast<float>(static_cast<double>(logits[ids[i]]) - log_normalizer)});
  return top;
}

float Sampler::top_k_bound(std::span<const float> logits, size_t k) {
  constexpr size_t kBlock = 64;
  if (k == 0 || k > logits.size() / kBlock) return -std::numeric_limits<float>::infinity();
  maxima_.clear();
  for (size_t i = 0; i < logits.size(); i += kBlock) {
    const auto block = logits.subspan(i, std::min(kBlock, logits.size() - i));
    maxima_.push_back(block[static_cast<size_t>(argmax(block))]);
  }
  std::nth_element(maxima_.begin(), maxima_.begin() + static_cast<long>(k) - 1, maxima_.end(), std::greater<>());
  return maxima_[k - 1];
}

TokenId Sampler::draw(const SamplingParams& params, const SampleContext& context, std::span<const float> logits) {
  if (params.temperature <= 0) return argmax(logits);
  const double inverse_temperature = 1.0 / static_cast<double>(params.temperature);
  const float top = logits[argmax(logits)];
  const bool truncates = params.top_k > 0 || params.top_p < 1.0f;
  const double floor = params.min_p > 0 ? static_cast<double>(top) + std::log(params.min_p) / inverse_temperature
                                        : -std::numeric_limits<double>::infinity();
  const float bound = top_k_bound(logits, static_cast<size_t>(std::max(0, params.top_k)));
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] >= bound && logits[i] > -std::numeric_limits<float>::infinity() &&
        (truncates || static_cast<double>(logits[i]) >= floor))
      candidates_.push_back({logits[i], static_cast<TokenId>(i)});
  if (candidates_.empty()) return argmax(logits);

  auto weight = [&](const Candidate& c) {
    return std::exp((static_cast<double>(c.logit) - static_cast<double>(top)) * inverse_temperature);
  };
  double total = 0;
  weights_.clear();
  if (!truncates) {
    for (const Candidate& c : candidates_) total += weights_.emplace_back(weight(c));
  } else {
    // Falling logits, sorted only as far as needed. The mass of top-p is that of what top-k left.
    auto before = [](const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; };
    if (params.top_k > 0 && static_cast<size_t>(params.top_k) < candidates_.size()) {
      std::nth_element(candidates_.begin(), candidates_.begin() + params.top_k, candidates_.end(), before);
      candidates_.resize(params.top_k);
    }
    double mass = 0;
    if (params.top_p < 1.0f)
      for (const Candidate& c : candidates_) mass += weight(c);
    size_t sorted = 0;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      if (i == sorted) {
        sorted = std::min(candidates_.size(), std::max<size_t>(256, sorted * 4));
        std::partial_sort(candidates_.begin() + static_cast<long>(i), candidates_.begin() + static_cast<long>(sorted),
                          candidates_.end(), before);
      }
      if (static_cast<double>(candidates_[i].logit) < floor) break;
      total += weights_.emplace_back(weight(candidates_[i]));
      if (params.top_p < 1.0f && total >= static_cast<double>(params.top_p) * mass) break;
    }
    candidates_.resize(weights_.size());
  }

  const double target = uniform({params.seed, static_cast<uint32_t>(context.sample)}, context.tokens.size()) * total;
  double sum = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    sum += weights_[i];
    if (target < sum) return candidates_[i].id;
  }
  return candidates_.back().id;  // rounding left the target a hair above the sum
}

SampledToken Sampler::sample(const Request& request, const SampleContext& context, std::span<float> logits) {
  const SamplingParams& params = request.sampling;
  SampledToken result;
  const bool wants_logprobs = params.logprobs >= 0;
  if (wants_logprobs) raw_.assign(logits.begin(), logits.end());
  apply_min_tokens(request, context, logits);
  apply_logit_bias(params, logits);
  apply_penalties(params, context, logits);
  result.token = draw(params, context, logits);
  if (wants_logprobs) {
    const double normalizer = log_sum_exp(raw_);
    result.logprob = static_cast<float>(static_cast<double>(raw_[result.token]) - normalizer);
    result.top = top_logprobs(raw_, normalizer, params.logprobs);
  }
  return result;
}

}  // namespace sluice
