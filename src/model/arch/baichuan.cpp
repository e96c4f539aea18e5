// Baichuan 1 and 2: Llama's shape with q, k and v in one tensor. The 13B models have ALiBi instead of a rotation; the second
// generation's head counts its rows as unit vectors.
// Yang et al. 2023, "Baichuan 2: open large-scale language models".

#include "model/layers/plain_decoder.h"

namespace sluice {
namespace {

constexpr int64_t kLayersOf13B = 40;
constexpr int64_t kFirstVocabulary = 64000, kSecondVocabulary = 125696;

Result<Decoder> describe_baichuan(const ConfigReader& config, const TensorSource& source) {
  // The 13B files name their context otherwise than the 7B ones: that tells them apart.
  const ConfigKey length{"model_max_length", ""};
  bool large = !config.is_gguf() && config.has(length) && !config.has(DecoderKeys{}.positions);
  if (config.is_gguf()) {  // which does not say it: the 13B models have 40 layers
    SLUICE_TRY(const int64_t layers, config.integer(DecoderKeys{}.layers, 1, kMaxLayers));
    large = layers == kLayersOf13B;
  }
  DecoderDefaults defaults{.name = "baichuan", .gguf = {"baichuan", RopeStyle::interleaved}, .rope = !large};
  if (large && !config.is_gguf()) defaults.keys.positions = length;
  SLUICE_TRY(PlainDecoder d, PlainDecoder::read(config, source, defaults));
  config.cannot_be_said(large && d.config.info.layers != kLayersOf13B, "the model has ALiBi");
  if (large) d.attention.alibi = alibi_slopes(d.attention.heads);
  fuse_qkv(d.names.huggingface, "model.layers.{}.self_attn.W_pack", d.attention);
  Decoder out = d.build();
  const int64_t vocab = d.config.info.vocab_size;
  out.normalized_head = !config.is_gguf() && (vocab == kSecondVocabulary || (large && vocab != kFirstVocabulary));
  return out;
}

}  // namespace

ModelArch baichuan_arch() { return decoder_arch<describe_baichuan>("baichuan", {"BaichuanForCausalLM", "BaiChuanForCausalLM"}, {"baichuan"}); }

}  // namespace sluice
