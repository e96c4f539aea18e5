#pragma once
// The settings and the tensors of latent attention, as DeepSeek's files have them and others took over.

#include "model/layers/decoder_config.h"
#include "model/layers/latent_attention.h"

namespace sluice {

struct LatentReading {
  std::string_view bias;  // what config.json calls the biases of attention
  RopeStyle style = RopeStyle::interleaved;
  bool heads_in_gguf = false;     // a GGUF counts KV heads and lengths as those of the heads, never of the latents
  bool longrope_in_gguf = false;  // and may have longrope's factors without naming a scaling
};

/// Reads them, and sets what the rest of the model knows of its attention (`decoder`: KV heads, rotation, context).
Result<LatentAttentionConfig> read_latent_attention(const ConfigReader& config, const LatentReading& reading, DecoderConfig& decoder);
/// In Hugging Face files keys and values of a head stand together; GGUFs hold them apart, the keys transposed.
/// The first GGUFs held them as Hugging Face does, in attn_kv_b: `joined`.
void name_latent_attention(TensorNames& names, const LatentAttentionConfig& attention, bool joined = false);

}  // namespace sluice
