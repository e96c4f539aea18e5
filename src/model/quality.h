#pragma once
// How well a model predicts a text, and how far two ways of computing the same model are apart in that.

#include <span>
#include <vector>

#include "model/model.h"

namespace sluice {

/// -ln p(token) in nats of every token but the first. `kv` holds one sequence of that many tokens, its block i being
/// block i; what it held is overwritten.
std::vector<double> token_nll(Model& model, std::span<const KvLayerView> kv, std::span<const TokenId> tokens);

/// Differences of the same tokens, so that the spread of the texts cancels.
struct PairedNll {
  size_t tokens = 0;
  double mean = 0;        // of the reference, nats per token
  double difference = 0;  // mean of (other - reference)
  double interval = 0;    // half the width of its 95 % interval, tokens taken as independent

  double share() const { return difference / mean; }
  double interval_share() const { return interval / mean; }
};
/// Both of the same length, at least 2.
PairedNll compare_nll(std::span<const double> reference, std::span<const double> other);

}  // namespace sluice
