#pragma once
// What all RWKV have (Peng et al. 2023, "RWKV: reinventing RNNs for the transformer era"): rows that are blended with the row
// before them, differently for each product, and the channel mix, a feed-forward part of such rows.

#include <string>

#include "model/layers/state_rows.h"

namespace sluice {

/// x + (before - x) * share, with a share of its own for each channel.
class RowBlend {
 public:
  RowBlend() = default;
  /// `own`: the tensor is the share of the row itself (up to RWKV 5).
  RowBlend(std::string key, int64_t width, bool own) : key_(std::move(key)), width_(width), own_(own) {}
  void declare(TensorTable& table) { table.vector(key_ + ".weight", &share_, width_); }
  Status prepare(WeightStore& store);
  const float* share() const { return share_; }
  void apply(const Ops& ops, const float* x, const float* delta, int64_t rows, float* out) const;

 private:
  std::string key_;
  int64_t width_ = 0;
  bool own_ = false;
  const float* share_ = nullptr;
};

/// x[rows, hidden] of the pass, normed, and delta = before - x; the state from `offset` on is the last row.
void shift_inputs(const LayerPass& pass, const Norm& norm, int64_t hidden, int64_t offset, float* x, float* delta);

struct ChannelMixConfig {
  int64_t hidden = 0, ffn = 0;
  bool receptance = true;  // sigmoid(receptance(x)) gates the output (up to RWKV 6)
  bool own_shares = false;
};

/// value(relu(key(x))^2).
class ChannelMix final : public Mixer {
 public:
  explicit ChannelMix(const ChannelMixConfig& config);
  void declare(TensorTable& table) override;
  Status prepare(WeightStore& store) override;
  KvGroup kv() const override { return state_group(config_.hidden); }
  WorkspaceWidths widths() const override;
  bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) override;

 private:
  ChannelMixConfig config_;
  RowBlend key_blend_, receptance_blend_;
  PackedMatrix key_, value_, receptance_;
};

}  // namespace sluice
