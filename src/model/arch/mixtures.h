#pragma once
// What families with mixtures of experts read alike.

#include "model/layers/decoder_config.h"
#include "model/layers/decoder_model.h"
#include "model/layers/moe.h"

namespace sluice {

/// Mixtral, whose GGUF calls itself a llama (mixtral.cpp).
Result<Decoder> describe_mixtral(const ConfigReader& config, const TensorSource& source);

struct MixtureKeys {
  ConfigKey experts{"num_local_experts", "expert_count"};
  ConfigKey top_k{"num_experts_per_tok", "expert_used_count"};
  ConfigKey ffn{"", ""};  // of one expert; neither name: the model's own
};

inline Result<MoeConfig> read_mixture(const ConfigReader& config, const DecoderConfig& decoder, const MixtureKeys& keys) {
  MoeConfig moe;
  moe.hidden = decoder.info.hidden;
  moe.ffn = decoder.info.ffn;
  SLUICE_TRY(const int64_t experts, config.integer(keys.experts, 1, 1 << 14));
  SLUICE_TRY(const int64_t top_k, config.integer(keys.top_k, 1, experts));
  if (!config.name(keys.ffn).empty()) {
    SLUICE_TRY(moe.ffn, config.integer_or(keys.ffn, moe.ffn, 1, kMaxWidth));
  }
  moe.routing.experts = static_cast<int>(experts);
  moe.routing.top_k = static_cast<int>(top_k);
  return moe;
}

}  // namespace sluice
