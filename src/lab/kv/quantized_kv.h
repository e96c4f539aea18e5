#pragma once
// What every approximate KV format is asked: its loss on a text that the model wrote, its bytes, equal bits.

#include <vector>

#include "lab/run.h"

namespace sluice::lab {

/// `most_nats`: a token's negative log-likelihood may be off by, against float32 KV.
Result<Finding> measure_kv(const Setting& setting, const KvFormats& formats, double most_nats);

/// What every layer's KV heads hold of some tokens: keys as attention sees them, and values.
struct KvHeads {
  int tokens = 0, head_dim = 0;
  std::vector<std::vector<float>> keys, values;  // of each head [tokens][head_dim]
};
Result<KvHeads> heads_of_random_tokens(const Setting& setting, int tokens);

}  // namespace sluice::lab
