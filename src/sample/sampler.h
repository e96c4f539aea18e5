#pragma once
// Draws one token from a row of logits. A pure function of (logits, request, sample, position): random numbers are keyed
// by (seed, sample, position), so neither the batch nor the order of requests changes a draw.
// Order: minimum length, logit_bias, penalties, temperature, top-k, top-p (Holtzman et al., 2020: the token that crosses
// p is included), min-p (Nguyen et al., 2024), renormalise, draw. Temperature 0 takes the largest logit, lowest id first.

#include <span>
#include <vector>

#include "sample/logits_processors.h"
#include "sched/request.h"

namespace sluice {

class Sampler {
 public:
  /// `logits` [vocab] is scratch: it is changed. Reported logprobs are the model's own, before any processing.
  SampledToken sample(const Request& request, const SampleContext& context, std::span<float> logits);

 private:
  struct Candidate { float logit; TokenId id; };
  TokenId draw(const SamplingParams& params, const SampleContext& context, std::span<const float> logits);

  /// A value that the k-th largest is not below, so that only what reaches it need be sorted: the k-th largest of the
  /// maxima of blocks, each of which is some token's. -inf where that would not help.
  float top_k_bound(std::span<const float> logits, size_t k);
  /// The index at share `uniform` of the weights' sum; its weight is above 0, as one must be.
  size_t draw_from_all(std::span<const float> weights, double uniform);

  std::vector<float> maxima_, kept_logits_, all_weights_;
  std::vector<double> block_sums_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;  // of the first candidates
  std::vector<float> raw_;
};

/// A token that stands already: its logprob under a row of the model's logits, and the k likeliest.
SampledToken score_token(TokenId token, std::span<const float> logits, int k);
/// False when there is a NaN or an infinity: nothing can be drawn from such a row of a model's logits.
bool all_finite(std::span<const float> logits);
/// The id of the largest value, the lowest id among equals; NaN never wins.
TokenId argmax(std::span<const float> logits);
/// log(sum(exp(x))) in double precision, in index order.
double log_sum_exp(std::span<const float> logits);
/// The k largest log-probabilities, falling, lower ids first among equals.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, double log_normalizer, int k);

}  // namespace sluice
