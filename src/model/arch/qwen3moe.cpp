// Qwen3-MoE: Qwen3's layers with a mixture of experts in all of them, or in those that decoder_sparse_step and mlp_only_layers leave.
// Yang et al. 2025, "Qwen3 technical report".

#include <algorithm>

#include "model/layers/moe.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kExperts{"num_experts", "expert_count"};
constexpr ConfigKey kTopK{"num_experts_per_tok", "expert_used_count"};
constexpr ConfigKey kExpertFfn{"moe_intermediate_size", "expert_feed_forward_length"};
constexpr ConfigKey kNormalized{"norm_topk_prob", ""};
constexpr ConfigKey kSparseStep{"decoder_sparse_step", ""};
constexpr ConfigKey kDenseLayers{"mlp_only_layers", ""};

Result<Decoder> describe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "qwen3moe",
                                                 .gguf = {"qwen3moe"},
                                                 .head_dim = config.is_gguf() ? 128 : 0,
                                                 .window = WindowRule::from_layer,
                                                 .sliding_window = 4096,
                                                 .max_window_layers = 28,
                                                 .computes = {"num_experts", "num_local_experts", "gguf.expert_count"}}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias"));
  d.attention.output_bias = d.attention.qkv_bias;
  d.attention.qk_norm = QkNorm::head;
  MoeConfig moe;
  moe.hidden = d.config.info.hidden;
  SLUICE_TRY(const int64_t experts, config.integer(kExperts, 1, 1 << 14));
  SLUICE_TRY(const int64_t top_k, config.integer(kTopK, 1, experts));
  SLUICE_TRY(moe.ffn, config.integer(kExpertFfn, 1, kMaxWidth));
  SLUICE_TRY(const bool normalized, config.boolean_or(kNormalized, config.is_gguf()));
  moe.routing = {.experts = static_cast<int>(experts), .top_k = static_cast<int>(top_k), .renormalize = normalized};
  SLUICE_TRY(const int64_t step, config.integer_or(kSparseStep, 1, 1, kMaxLayers));
  const std::vector<int64_t>* dense = config.metadata().integers(kDenseLayers.hf);
  d.ffn = [=](int layer) -> std::unique_ptr<FeedForward> {
    const bool listed = dense != nullptr && std::ranges::find(*dense, layer) != dense->end();
    if (listed || (layer + 1) % step != 0) return nullptr;
    return std::make_unique<MoeLayer>(moe);
  };
  name_experts(d.names, "mlp");
  return d.build();
}

}  // namespace

ModelArch qwen3moe_arch() { return decoder_arch<describe>("qwen3moe", {"Qwen3MoeForCausalLM"}, {"qwen3moe"}); }

}  // namespace sluice
