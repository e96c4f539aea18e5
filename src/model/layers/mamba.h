#pragma once
// Mamba (Gu and Dao 2023, "Mamba: linear-time sequence modeling with selective state spaces"): every channel has a small state that
// decays and takes in the channel's input at rates which the row itself sets. As a recurrence: h = exp(dt A) h + dt B x,
// y = C h + D x, times silu of a gate.

#include "model/layers/short_conv.h"

namespace sluice {

struct MambaConfig {
  int64_t hidden = 0, inner = 0;  // inner: channels
  int64_t state = 0;              // values per channel
  int64_t dt_rank = 0;
  int taps = 4;                   // of the convolution
  Presence conv_bias = Presence::required;
  NormStyle norms{Norm::Kind::none};  // of dt, B and C before they are used (Falcon Mamba: without gains; Jamba: with)
};

class MambaMixer final : public Mixer {
 public:
  explicit MambaMixer(MambaConfig config);
  void declare(TensorTable& table) override;
  Status prepare(WeightStore& store) override;
  KvGroup kv() const override { return state_group(scan_.end()); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  static constexpr int64_t kGroup = 64;  // channels that go over the rows together; their state is [state][kGroup]

  struct Rows {  // of a pass
    float *x, *gate, *dt, *y, *dt_low, *b, *c;
  };
  void scan(const LayerPass& pass, const Rows& rows) const;

  MambaConfig config_;
  ShortConv conv_;
  StateParts scan_;
  NormLayer dt_norm_, b_norm_, c_norm_;
  PackedMatrix in_x_, in_gate_, x_dt_, x_b_, x_c_, dt_, out_;
  const float *dt_bias_ = nullptr, *a_ = nullptr, *d_ = nullptr;
  float* a_by_state_ = nullptr;  // [groups][state][kGroup]
};

/// Places of a mixer's tensors in Hugging Face files, under `at` ("backbone.layers.{}.mixer"), and in GGUFs.
void name_mamba(TensorNames& names, const MambaConfig& config, const std::string& at);

}  // namespace sluice
