// EXAONE 4: norms of what each part adds, and of each head of q and k; in the large model three of four layers have a window, and the
// fourth does not rotate.
// LG AI Research 2025, "EXAONE 4.0".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

Result<Decoder> describe(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "exaone4",
                                                 .gguf = {.arch = "exaone4", .one_window = false},
                                                 .norm_eps = 1e-5,
                                                 .window = WindowRule::by_type,
                                                 .window_period = 4,
                                                 .window_full = 3,
                                                 .computes = {"gguf.attention.sliding_window_pattern"}}));
  d.attention.qk_norm = QkNorm::head;
  d.norms = NormPlace::after;
  d.names.hf("post_attention_norm", {"model.layers.{}.post_attention_layernorm"})
      .hf("post_ffw_norm", {"model.layers.{}.post_feedforward_layernorm"});
  if (d.config.info.windowed)
    d.each = [](int, AttentionConfig& a, MlpConfig&) {
      if (a.window == 0) a.rope = nullptr;
    };
  return d.build();
}

}  // namespace

ModelArch exaone4_arch() { return decoder_arch<describe>("exaone4", {"Exaone4ForCausalLM"}, {"exaone4"}); }

}  // namespace sluice
