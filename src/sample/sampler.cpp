#include "sample/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "base/rng.h"
#include "sample/softmax_weights.h"

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

SampledToken score_token(TokenId token, std::span<const float> logits, int k) {
  const double normalizer = log_sum_exp(logits);
  return {token, static_cast<float>(static_cast<double>(logits[token]) - normalizer),
          top_logprobs(logits, normalizer, k)};
}

size_t Sampler::draw_from_all(std::span<const float> weights, double uniform) {
  constexpr size_t kBlock = 256;  // whose sums are skipped over
  block_sums_.clear();
  double total = 0;
  for (size_t i = 0; i < weights.size(); i += kBlock)
    total += block_sums_.emplace_back(sum_of(weights.subspan(i, std::min(kBlock, weights.size() - i))));
  const double target = uniform * total;
  double sum = 0;
  size_t last = 0;  // of those that may be drawn: rounding may leave the target a hair above the sum
  for (size_t block = 0; block < block_sums_.size(); ++block) {
    if (block_sums_[block] > 0 && target < sum + block_sums_[block]) {
      double within = sum;
      for (size_t i = block * kBlock; i < std::min(weights.size(), (block + 1) * kBlock); ++i) {
        if (weights[i] <= 0) continue;
        last = i;
        within += static_cast<double>(weights[i]);
        if (target < within) break;
      }
      return last;
    }
    sum += block_sums_[block];
  }
  for (size_t i = 0; i < weights.size(); ++i)
    if (weights[i] > 0) last = i;
  return last;
}

TokenId Sampler::draw(const SamplingParams& params, const SampleContext& context, std::span<const float> logits) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const auto best = argmax(logits);
  const float top = logits[static_cast<size_t>(best)];
  if (params.temperature <= 0 || top == kNone) return best;
  const double inverse_temperature = 1.0 / static_cast<double>(params.temperature);
  const double floor = params.min_p > 0 ? static_cast<double>(top) + std::log(params.min_p) / inverse_temperature
                                        : static_cast<double>(kNone);
  const double drawn = uniform({params.seed, static_cast<uint32_t>(context.sample)}, context.tokens.size());
  const auto weigh = [&](std::span<const float> of) {
    all_weights_.resize(of.size());
    // A temperature of 1e-40 is as good as 3e-39, whose inverse is finite.
    const double scale = std::min(inverse_temperature, static_cast<double>(std::numeric_limits<float>::max()));
    softmax_weights(of, top, static_cast<float>(scale), all_weights_);
  };
  candidates_.clear();
  if (params.top_k <= 0 && params.top_p >= 1.0f) {  // nothing is to be sorted
    if (params.min_p <= 0) {
      weigh(logits);
      return static_cast<TokenId>(draw_from_all(all_weights_, drawn));
    }
    kept_logits_.clear();
    for (size_t i = 0; i < logits.size(); ++i) {
      if (static_cast<double>(logits[i]) < floor) continue;
      candidates_.push_back({logits[i], static_cast<TokenId>(i)});
      kept_logits_.push_back(logits[i]);
    }
    weigh(kept_logits_);
    return candidates_[draw_from_all(all_weights_, drawn)].id;
  }

  // Falling logits, sorted only as far as needed. The mass of top-p is that of what top-k left.
  double mass = 0;
  if (params.top_k > 0) {
    const float bound = top_k_bound(logits, static_cast<size_t>(params.top_k));
    for (size_t i = 0; i < logits.size(); ++i)
      if (logits[i] >= bound && logits[i] > kNone) candidates_.push_back({logits[i], static_cast<TokenId>(i)});
  } else {
    // All that weigh less than this weigh together less than half of what top-p leaves out.
    weigh(logits);
    mass = sum_of(all_weights_);
    const double least = 0.5 * (1 - static_cast<double>(params.top_p)) * mass / static_cast<double>(logits.size());
    for (size_t i = 0; i < logits.size(); ++i)
      if (static_cast<double>(all_weights_[i]) >= least) candidates_.push_back({logits[i], static_cast<TokenId>(i)});
  }
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto weight = [&](const Candidate& c) {
    return std::exp((static_cast<double>(c.logit) - static_cast<double>(top)) * inverse_temperature);
  };
  if (params.top_k > 0) {
    if (static_cast<size_t>(params.top_k) < candidates_.size()) {
      std::nth_element(candidates_.begin(), candidates_.begin() + params.top_k, candidates_.end(), before);
      candidates_.resize(static_cast<size_t>(params.top_k));
    }
    for (size_t i = 0; params.top_p < 1.0f && i < candidates_.size(); ++i) mass += weight(candidates_[i]);
  }
  double total = 0;
  weights_.clear();
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
  const double target = drawn * total;
  double sum = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    sum += weights_[i];
    if (target < sum) return candidates_[i].id;
  }
  return candidates_[weights_.size() - 1].id;  // rounding left the target a hair above the sum
}

SampledToken Sampler::sample(const Request& request, const SampleContext& context, std::span<float> logits) {
  const SamplingParams& params = request.sampling;
  SampledToken result;
  // A beam's best continuations: twice its width, so that as many are left when some end.
  // While min_tokens holds its ends are struck out, so that as many more are asked for.
  const size_t ends = params.min_tokens > 0 ? request.stop_token_ids.size() + (request.ignore_eos ? 0 : request.eos_token_ids.size()) : 0;
  const int beams = static_cast<int>(std::min(logits.size(), 2 * static_cast<size_t>(request.beam_width) + ends));
  const int top = std::max(params.logprobs, request.beam_width > 0 ? beams : -1);
  const bool wants_logprobs = top >= 0;
  if (wants_logprobs) raw_.assign(logits.begin(), logits.end());
  apply_min_tokens(request, context, logits);
  apply_logit_bias(params, logits);
  apply_penalties(params, context, logits);
  result.token = draw(params, context, logits);
  return wants_logprobs ? score_token(result.token, raw_, top) : result;
}

}  // namespace sluice
