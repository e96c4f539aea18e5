// EXAONE 4: norms of what each part adds, and of each head of q and k; in the large model three of four layers have a window, and the
// fourth does not rotate.
// LG AI Research 2025, "EXAONE 4.0".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr ConfigKey kExaoneWindow{"sliding_window", ""}, kExaonePattern{"sliding_window_pattern", ""};
constexpr int kExaonePeriod = 4;  // a GGUF's, where it does not list the layers

/// Every how many layers one sees everything: the first files spell it out, "LLLG" for three local layers and a global one.
Result<int> read_period(const ConfigReader& config) {
  if (config.is_gguf() || config.is_null(kExaoneWindow)) return kExaonePeriod;
  if (const auto spelled = config.metadata().string(kExaonePattern.hf); spelled.ok()) {
    const size_t last = spelled->size() - 1;
    if (spelled->empty() || spelled->find_first_not_of('L') != last || spelled->back() != 'G' || last >= kMaxLayers)
      return config.refused(kExaonePattern, fmt::format("is \"{}\"; known are a number and one global layer after local ones, as LLLG", spelled->substr(0, 100)));
    return static_cast<int>(spelled->size());
  }
  SLUICE_TRY(const int64_t period, config.integer_or(kExaonePattern, kExaonePeriod, 1, kMaxLayers));
  return static_cast<int>(period);
}

Result<Decoder> describe_exaone4(const ConfigReader& config, const TensorSource& source) {
  SLUICE_TRY(const int period, read_period(config));
  config.cannot_be_said(period != kExaonePeriod, fmt::format("sliding_window_pattern has a period of {}", period));
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source,
                                                {.name = "exaone4",
                                                 .gguf = {.arch = "exaone4", .one_window = false},
                                                 .norm_eps = 1e-5,
                                                 .window = WindowRule::by_type,
                                                 .sliding_window = 4096,
                                                 .window_period = period,
                                                 .window_full = period - 1,
                                                 .computes = {"gguf.attention.sliding_window_pattern"}}));
  d.attention.qk_norm = QkNorm::head;
  d.norms = NormPlace::after;
  d.names.hf("post_attention_norm", {"model.layers.{}.post_attention_layernorm"})
      .hf("post_ffw_norm", {"model.layers.{}.post_feedforward_layernorm"});
  // Where there are windows, what sees everything is not rotated, even if all layers do.
  const bool hybrid = config.is_gguf() ? d.config.info.windowed : !config.is_null(kExaoneWindow);
  if (hybrid)
    d.each = [](int, AttentionConfig& a, MlpConfig&) {
      if (a.window == 0) a.rope = nullptr;
    };
  return d.build();
}

}  // namespace

ModelArch exaone4_arch() { return decoder_arch<describe_exaone4>("exaone4", {"Exaone4ForCausalLM"}, {"exaone4"}); }

}  // namespace sluice
