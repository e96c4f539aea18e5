// Qwen3, dense: heads of their own size, and a norm on each head of q and k before the rotation.
// Yang et al. 2025, "Qwen3 technical report".

#include "model/layers/decoder_model.h"

namespace sluice {
namespace {

Result<DecoderConfig> parse(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(DecoderConfig out,
             read_decoder_config(config, source,
                                 {.name = "qwen3",
                                  .gguf = {"qwen3"},
                                  .head_dim = 128,
                                  .window = WindowRule::from_layer,
                                  .sliding_window = 4096,
                                  .max_window_layers = 28}));
  SLUICE_TRY(out.qkv_bias, read_bias(config, "attention_bias"));
  out.output_bias = out.qkv_bias;
  return out;
}

std::vector<TensorSpec> tensors(const DecoderConfig& config) {
  std::vector<TensorSpec> table = decoder_tensors(config);
  table.push_back(
      {&LayerWeights::q_norm, "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", Dim::head});
  table.push_back(
      {&LayerWeights::k_norm, "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", Dim::head});
  return table;
}

constexpr DecoderFamily kFamily{parse, tensors};

}  // namespace

ModelArch qwen3_arch() { return decoder_arch<kFamily>("qwen3", {"Qwen3ForCausalLM"}, {"qwen3"}); }

}  // namespace sluice
