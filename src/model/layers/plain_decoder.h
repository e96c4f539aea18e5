#pragma once
// What most families are: the same layer again and again, of attention and an MLP. A family's file reads the settings, changes
// what it does differently, and builds; what differs from layer to layer it changes in the Decoder that comes out, or by `each`.

#include <functional>

#include "model/layers/decoder_model.h"
#include "model/layers/mlp.h"

namespace sluice {

/// Where a layer's norms stand.
enum class NormPlace : uint8_t {
  before,    // x += part(norm(x))
  after,     // x += norm(part(x)) (OLMo 2)
  sandwich,  // x += norm(part(norm(x))) (Gemma 2)
};

struct PlainDecoder {
  static Result<PlainDecoder> read(const ConfigReader& config, const TensorSource& source, const DecoderDefaults& defaults);

  DecoderConfig config;
  TensorNames names = llama_names();
  AttentionConfig attention;  // of all layers, but for what config.attention(l) says of layer l's window
  MlpConfig mlp;
  NormPlace norms = NormPlace::before;
  bool parallel = false;      // x += attention(norm(x)) + mlp(norm(x))
  bool one_norm = false;      // of both, where they are parallel
  float residual_scale = 1;
  /// Called with each layer's parts as they are about to be built.
  std::function<void(int layer, AttentionConfig&, MlpConfig&)> each;
  /// Makes a layer's mixer of another kind, or its feed-forward part; null: attention, and an MLP.
  std::function<std::unique_ptr<Mixer>(int layer)> mixer;
  std::function<std::unique_ptr<FeedForward>(int layer)> ffn;

  Decoder build() const;
};

/// q, k and v are rows of one tensor there, in this order.
void fuse_qkv(std::map<std::string, Place, std::less<>>& places, const std::string& name, const AttentionConfig& attention);
/// Gate and up are.
void fuse_gate_up(std::map<std::string, Place, std::less<>>& places, const std::string& name, int64_t ffn);

}  // namespace sluice
