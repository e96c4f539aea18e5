#include "model/layers/attention.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

void clamp(float* x, float limit, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

}  // namespace

Attention::Attention(AttentionConfig config) : config_(std::move(config)) {
  const AttentionConfig& c = config_;
  if (c.qk_norm == QkNorm::none) return;
  const auto width = [&](int heads) { return int64_t{c.head_dim} * (c.qk_norm == QkNorm::head ? 1 : heads); };
  q_norm_ = NormLayer("attn_q_norm", c.qk_norm_style, width(c.heads));
  k_norm_ = NormLayer("attn_k_norm", c.qk_norm_style, width(c.kv_heads));
}

void Attention::declare(TensorTable& table) {
  const AttentionConfig& c = config_;
  const int64_t q = int64_t{c.heads} * c.head_dim, kv = int64_t{c.kv_heads} * c.head_dim;
  table.matrix("attn_q.weight", &q_, q, c.hidden, "qkv");
  table.matrix("attn_k.weight", &k_, kv, c.hidden, "qkv");
  table.matrix("attn_v.weight", &v_, kv, c.hidden, "qkv");
  table.vector("attn_q.bias", &q_bias_, q, c.qkv_bias);
  table.vector("attn_k.bias", &k_bias_, kv, c.qkv_bias);
  table.vector("attn_v.bias", &v_bias_, kv, c.qkv_bias);
  q_norm_.declare(table);
  k_norm_.declare(table);
  if (c.gated) table.matrix("attn_gate.weight", &gate_, q, c.hidden, "qkv");
  table.vector("attn_sinks.weight", &sinks_, c.heads, c.sinks);
  table.matrix("attn_output.weight", &o_, c.hidden, q, "o");
  table.vector("attn_output.bias", &o_bias_, c.hidden, c.output_bias);
}

KvGroup Attention::kv() const { return {KvGroup::Kind::full, 0, 1, config_.kv_heads, config_.head_dim, 0}; }

WorkspaceWidths Attention::widths() const {
  const int64_t q = int64_t{config_.heads} * config_.head_dim, kv = int64_t{config_.kv_heads} * config_.head_dim;
  return {q, kv, kv, q};
}

void Attention::norm_heads(const Ops& ops, float* x, int heads, const NormLayer& norm, int64_t rows) const {
  const AttentionConfig& c = config_;
  if (c.qk_norm == QkNorm::width) return ops.norm(x, norm.norm(), rows, int64_t{heads} * c.head_dim, x);
  if (c.qk_norm == QkNorm::head) return ops.norm(x, norm.norm(), rows * heads, c.head_dim, x);
  Norm own = norm.norm();
  for (int64_t r = 0; r < rows; ++r)
    for (int h = 0; h < heads; ++h) {
      own.gain = norm.norm().gain + int64_t{h} * c.head_dim;
      float* const head = x + (r * heads + h) * c.head_dim;
      ops.norm(head, own, 1, c.head_dim, head);
    }
}

void Attention::project(const LayerPass& pass, const Norm& norm) {
  const AttentionConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count();
  const MatmulOut outs[] = {{&q_, q_bias_, w.q, q_.n}, {&k_, k_bias_, w.k, k_.n}, {&v_, v_bias_, w.v, v_.n}};
  ops.matmul({w.x, n, c.hidden, norm}, outs);
  if (c.clip_qkv > 0)
    for (const MatmulOut& out : outs) clamp(out.y, c.clip_qkv, n * out.y_stride);
  const auto norm_qk = [&] {
    if (c.qk_norm == QkNorm::none) return;
    norm_heads(ops, w.q, c.heads, q_norm_, n);
    norm_heads(ops, w.k, c.kv_heads, k_norm_, n);
  };
  if (!c.norm_after_rope) norm_qk();
  if (c.rope != nullptr) {
    const RopeConfig& r = *c.rope;
    ops.rope(w.q, pass.rows.positions, r.inv_freq, r.magnitude, c.heads, c.head_dim, r.rotary_dims(), r.style);
    ops.rope(w.k, pass.rows.positions, r.inv_freq, r.magnitude, c.kv_heads, c.head_dim, r.rotary_dims(), r.style);
  }
  if (c.norm_after_rope) norm_qk();
  const int64_t width = int64_t{c.heads} * c.head_dim;
  for (int64_t r = 0; c.position_beta > 0 && r < n; ++r) {
    const float at = std::floor((static_cast<float>(pass.rows.positions[static_cast<size_t>(r)]) + c.position_offset) / c.position_period);
    if (at > 0) ops.scale(w.q + r * width, 1 + c.position_beta * std::log(1 + at), width);
  }
}

KvLayerView Attention::with_rotation(KvLayerView kv) {
  if (kv.format->block == nullptr || !kv.format->block->unrotated_keys || config_.rope == nullptr) return kv;
  if (!key_rotation_ || key_rotation_->block_tokens != kv.block_tokens)
    key_rotation_.emplace(config_.rope->inv_freq, config_.rope->style, kv.block_tokens);
  kv.rotation = &*key_rotation_;
  return kv;
}

bool Attention::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const AttentionConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  project(pass, norm);
  const KvLayerView kv = with_rotation(pass.kv);
  const LayerView view{pass.layer, w.x, w.q, w.k, w.v, c.heads, c.scale, pass.rows.positions, pass.rows.segments, kv};
  if (pass.policy != nullptr && !pass.policy->before_write(view)) return false;
  ops.write_kv(w.k, w.v, pass.rows.slots, kv);
  if (pass.policy != nullptr) pass.policy->before_attention(view);
  const int64_t rows = pass.outputs(), width = int64_t{c.heads} * c.head_dim;
  if (rows == 0) return false;
  AttendArgs args;
  args.q = w.q;
  args.out = w.attended;
  args.heads = c.heads;
  args.scale = c.scale;
  args.window = c.window;
  args.kv = kv;
  args.segments = pass.rows.segments;
  args.softcap = c.softcap;
  args.slopes = c.alibi.empty() ? nullptr : c.alibi.data();
  args.sinks = sinks_;
  if (pass.wanted != nullptr) {
    gather_rows(w.q, width, *pass.wanted);
    args.segments = cut_to_rows(args.segments, *pass.wanted, kept_segments_);
  }
  ops.attend(args);
  const MatmulOut out{&o_, o_bias_, y, c.hidden, adds};
  ops.matmul({w.attended, rows, width}, {&out, 1});
  return true;
}

void Attention::rotate_keys(const Ops& ops, std::span<const int32_t> by, float* keys) const {
  if (config_.rope == nullptr) return;
  const RopeConfig& r = *config_.rope;
  ops.rope(keys, by, r.inv_freq, 1, config_.kv_heads, config_.head_dim, r.rotary_dims(), r.style);
}

}  // namespace sluice
