// gpt-oss: every second layer has a window; each head has a sink, a logit that only the softmax's denominator sees; all layers are
// mixtures of experts with biases and a clamped gate, chosen by the softmax of the chosen logits.
// OpenAI 2025, "gpt-oss-120b & gpt-oss-20b model card".

#include "model/arch/mixtures.h"
#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kGptOssExpertFfn{"", "expert_feed_forward_length"};
constexpr ConfigKey kAlpha{"swiglu_alpha", ""};
constexpr ConfigKey kLimit{"swiglu_limit", ""};

// Gate and up stand in one tensor, row by row in turn. Where they are not quantized it holds columns; in four bits, rows.
void name_tensors(TensorNames& names, int64_t ffn, bool columns) {
  const auto expert = [&](std::string_view name, RowMap rows, int64_t of_rows) {
    return Place{.name = fmt::format("model.layers.{{}}.mlp.experts.{}", name), .rows = rows, .of_rows = of_rows, .transposed = columns};
  };
  const RowMap even{0, 1, 2}, odd{1, 1, 2};
  names.hf("ffn_gate_inp", {"model.layers.{}.mlp.router"})
      .hf("attn_sinks.weight", {"model.layers.{}.self_attn.sinks"})
      .hf("ffn_gate_exps.weight", expert("gate_up_proj", even, 2 * ffn))
      .hf("ffn_up_exps.weight", expert("gate_up_proj", odd, 2 * ffn))
      .hf("ffn_down_exps.weight", expert("down_proj", {}, 0))
      .hf("ffn_gate_exps.bias", expert("gate_up_proj_bias", even, 2 * ffn))
      .hf("ffn_up_exps.bias", expert("gate_up_proj_bias", odd, 2 * ffn))
      .hf("ffn_down_exps.bias", expert("down_proj_bias", {}, 0));
  names.gguf["ffn_norm"] = {"post_attention_norm"};
}

Result<Decoder> describe_gpt_oss(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "gpt-oss",
                                                 .gguf = {.arch = "gpt-oss", .one_window = false},
                                                 .norm_eps = 1e-5,
                                                 .rope_theta = 150000,
                                                 .gguf_yarn_truncate = false,
                                                 .head_dim = 64,
                                                 .kv_heads = 8,
                                                 .window = WindowRule::by_type,
                                                 .sliding_window = 128,
                                                 .window_period = 2,
                                                 .window_full = 1,
                                                 .computes = {"num_local_experts", "gguf.expert_count"}}));
  SLUICE_TRY(d.attention.qkv_bias, read_bias(config, "attention_bias", true));
  d.attention.output_bias = d.attention.qkv_bias;
  d.attention.sinks = Presence::required;
  SLUICE_TRY(MoeConfig moe, read_mixture(config, d.config, {.ffn = kGptOssExpertFfn}));
  if (!config.is_gguf()) config.note(kGptOssExpertFfn, moe.ffn);
  moe.routing.score = Routing::Score::topk_softmax;
  moe.router_bias = moe.expert_bias = Presence::required;
  moe.act = Activation::swiglu_oai;
  SLUICE_TRY(const double alpha, config.number_or(kAlpha, 1.702, 0.0, 1e6));
  SLUICE_TRY(const double limit, config.number_or(kLimit, 7.0, 1e-6, 1e6));
  moe.swiglu = {static_cast<float>(alpha), static_cast<float>(limit)};
  config.cannot_be_said(!config.is_gguf() && (alpha != 1.702 || limit != 7), fmt::format("swiglu_alpha is {}, swiglu_limit {}", alpha, limit));
  d.ffn = [=](int) { return std::make_unique<MoeLayer>(moe); };
  const TensorInfo* both = source.find("model.layers.0.mlp.experts.gate_up_proj");
  const bool rows = both != nullptr && both->shape == Shape{int64_t{moe.routing.experts}, 2 * moe.ffn, moe.hidden} &&
                    (2 * moe.ffn != moe.hidden || dtype_info(both->dtype).block_elems > 1);
  name_tensors(d.names, moe.ffn, !rows);
  return d.build();
}

}  // namespace

ModelArch gpt_oss_arch() { return decoder_arch<describe_gpt_oss>("gpt-oss", {"GptOssForCausalLM"}, {"gpt-oss"}); }

}  // namespace sluice
