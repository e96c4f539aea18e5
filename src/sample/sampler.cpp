#include "sample/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/rng.h"

namespace sluice {

TokenId argmax(std::span<const float> logits) {
  TokenId best = 0;
  float best_logit = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best_logit) {
      best_logit = logits[i];
      best = static_cast<TokenId>(i);
    }
  }
  return best;
}

bool all_finite(std::span<const float> logits) {
  uint32_t largest = 0;  // bits without the sign: those of an infinity or a NaN are above those of any number
  for (const float z : logits) largest = std::max(largest, std::bit_cast<uint32_t>(z) & 0x7fffffffu);
  return largest < 0x7f800000u;
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

SampledToken score_token(TokenId token, std::span<const float> logits, int k) {
  const double normalizer = log_sum_exp(logits);
  return {token, static_cast<float>(static_cast<double>(logits[token]) - normalizer),
          top_logprobs(logits, normalizer, k)};
}

TokenId Sampler::draw(const SamplingParams& params, const SampleContext& context, std::span<const float> logits) {
  if (params.temperature <= 0) return argmax(logits);
  const double inverse_temperature = 1.0 / static_cast<double>(params.temperature);
  const float top = logits[argmax(logits)];
  const bool truncates = params.top_k > 0 || params.top_p < 1.0f;
  const double floor = params.min_p > 0 ? static_cast<double>(top) + std::log(params.min_p) / inverse_temperature
                                        : -std::numeric_limits<double>::infinity();
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity() && (truncates || static_cast<double>(logits[i]) >= floor))
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
  return wants_logprobs ? score_token(result.token, raw_, params.logprobs) : result;
}

}  // namespace sluice
