#pragma once
// Attention over cached keys and values with any number of heads per KV head (Vaswani et al. 2017; Shazeer 2019, "Fast
// transformer decoding"; Ainslie et al. 2023, "GQA"), and what families add to it.

#include <memory>
#include <optional>
#include <vector>

#include "backend/key_rotation.h"
#include "model/layers/layer.h"
#include "model/layers/rope_config.h"

namespace sluice {

/// Which values of q and k a norm takes together.
enum class QkNorm : uint8_t {
  none,
  head,        // each head's, one gain for all heads (Qwen3)
  every_head,  // each head's, with a gain of its own (StableLM, Cohere)
  width,       // all heads' (OLMo 2)
};

struct AttentionConfig {
  int64_t hidden = 0;
  int heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;                          // of the scores
  int window = 0;                           // > 0: a row sees so many positions, its own included
  int chunk = 0;                            // > 0: a row sees its chunk of so many positions, up to its own (Llama 4)
  std::shared_ptr<const RopeConfig> rope;   // null: no rotation
  QkNorm qk_norm = QkNorm::none;
  NormStyle qk_norm_style;
  bool norm_after_rope = false;             // of the norm of q and k (Llama 4)
  Presence qkv_bias = Presence::absent, output_bias = Presence::absent;
  Presence sinks = Presence::absent;        // a logit per head in the softmax's denominator (gpt-oss)
  float softcap = 0;                        // > 0: scores are softcap * tanh(score / softcap) (Gemma 2)
  std::vector<float> alibi;                 // [heads]: slopes, or empty (Press et al. 2022)
  float position_beta = 0;                  // > 0: q is multiplied by 1 + beta * ln(1 + floor((position + offset) / period))
  float position_period = 1, position_offset = 0;  // (Llama 4's temperature, Ministral 3)
  float clip_qkv = 0;                       // > 0: q, k and v are clamped to +- that (OLMo, MPT)
  std::optional<NormStyle> output_norm;     // of what the heads give, before the output projection (BitNet's sub-LN)
  bool gated = false;                       // the output is multiplied by sigmoid(gate(x)) (Qwen3-Next)
  float output_scale = 1;                   // of what is attended (Falcon-H1)
  bool causal = true;                       // false: a row sees its whole text, or window / 2 positions to either side
};

class Attention final : public Mixer {
 public:
  explicit Attention(AttentionConfig config);
  void declare(TensorTable& table) override;
  KvGroup kv() const override;
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;
  void rotate_keys(const Ops& ops, std::span<const int32_t> by, int heads, float* keys) const override;
  const AttentionConfig& config() const { return config_; }

 private:
  void project(const LayerPass& pass, const Norm& norm);
  void norm_heads(const Ops& ops, float* x, int heads, const NormLayer& norm, std::span<const float* const> gains, int64_t rows) const;
  /// Attention of the rows of args' segments to their own chunks.
  void attend_chunks(const Ops& ops, AttendArgs args);
  /// The layer's KV with the rotation of its keys, where its format asks for that.
  KvLayerView with_rotation(KvLayerView kv);

  AttentionConfig config_;
  PackedMatrix q_, k_, v_, o_, gate_;
  const float *q_bias_ = nullptr, *k_bias_ = nullptr, *v_bias_ = nullptr, *o_bias_ = nullptr, *sinks_ = nullptr;
  NormLayer q_norm_, k_norm_, output_norm_;
  std::vector<const float*> q_gains_, k_gains_;  // [heads]: of QkNorm::every_head
  std::optional<KeyRotation> key_rotation_;  // for the blocks of the last pass that asked
  std::vector<AttendSegment> kept_segments_, chunk_segments_;  // kept for their memory
};

/// The slopes of ALiBi (Press et al. 2022): a geometric series over the largest power of two of heads, from 2^(-most / that) on, and
/// every second of the next one's for the heads beyond.
std::vector<float> alibi_slopes(int heads, double most = 8);

}  // namespace sluice
