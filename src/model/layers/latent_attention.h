#pragma once
// Multi-head latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1): what is kept of a token is one latent vector and one
// rotated key for all heads. It is attended in its absorbed form: keys and values are never made of the latents, but queries are
// brought to where the latents are, and what is attended of them is brought back. So it is attention of many heads over one KV head
// whose rows are [latent | rotated key], and whose values are the first `kv_rank` of the same rows.

#include <memory>
#include <vector>

#include "model/layers/layer.h"
#include "model/layers/rope_config.h"

namespace sluice {

struct LatentAttentionConfig {
  int64_t hidden = 0;
  int heads = 0;
  int64_t q_rank = 0;  // of the low-rank query; 0: it is projected at once
  int64_t kv_rank = 0, nope_dim = 0, rope_dim = 0, v_dim = 0;
  float scale = 1;
  NormStyle norm;
  std::shared_ptr<const RopeConfig> rope;
  Presence bias = Presence::absent;  // of q_a, kv_a and the output
  int row_dim() const { return static_cast<int>(kv_rank + rope_dim); }
};

class LatentAttention final : public Mixer {
 public:
  explicit LatentAttention(LatentAttentionConfig config);
  void declare(TensorTable& table) override;
  KvGroup kv() const override;
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  /// Rows [latent | rotated key] into w.k.
  void latents(const LayerPass& pass, const Norm& norm);
  /// Queries [rows, heads, row_dim] into w.q.
  void queries(const LayerPass& pass, const Norm& norm);

  LatentAttentionConfig config_;
  PackedMatrix q_a_, q_b_, q_, kv_a_, k_rope_, o_;
  const float *q_a_bias_ = nullptr, *kv_a_bias_ = nullptr, *k_rope_bias_ = nullptr, *o_bias_ = nullptr;
  NormLayer q_a_norm_, kv_a_norm_;
  ExpertMatrices k_b_, v_b_;  // of each head: [kv_rank, nope_dim] and [v_dim, kv_rank]
  std::vector<AttendSegment> kept_segments_;  // kept for its memory
};

}  // namespace sluice
