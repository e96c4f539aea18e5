#include "model/layers/attention.h"

#include <algorithm>
#include <cmath>

#include "model/layers/float_math.h"

#include "backend/row_ops.h"

namespace sluice {
namespace {

void clamp(float* x, float limit, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

}  // namespace

Attention::Attention(AttentionConfig config) : config_(std::move(config)) {
  const AttentionConfig& c = config_;
  if (c.output_norm) output_norm_ = NormLayer("attn_sub_norm", *c.output_norm, int64_t{c.heads} * c.head_dim);
  if (c.qk_norm == QkNorm::none || c.qk_norm == QkNorm::every_head) return;
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
  if (c.qk_norm == QkNorm::every_head) {
    table.vectors("attn_q_norm.weight", &q_gains_, c.heads, c.head_dim);
    table.vectors("attn_k_norm.weight", &k_gains_, c.kv_heads, c.head_dim);
  }
  if (c.gated) table.matrix("attn_gate.weight", &gate_, q, c.hidden, "qkv");
  output_norm_.declare(table);
  table.vector("attn_sinks.weight", &sinks_, c.heads, c.sinks);
  table.matrix("attn_output.weight", &o_, c.hidden, q, "o");
  table.vector("attn_output.bias", &o_bias_, c.hidden, c.output_bias);
}

KvGroup Attention::kv() const {
  const int window = config_.window > 0 ? config_.window : config_.chunk;  // a row sees at most its own chunk
  const bool recent = config_.causal && window > 0;
  return {recent ? KvGroup::Kind::window : KvGroup::Kind::full, 0, 1, config_.kv_heads, config_.head_dim, recent ? window : 0};
}

WorkspaceWidths Attention::widths() const {
  const int64_t q = int64_t{config_.heads} * config_.head_dim, kv = int64_t{config_.kv_heads} * config_.head_dim;
  return {q, kv, kv, q, config_.gated ? q : 0};
}

void Attention::norm_heads(const Ops& ops, float* x, int heads, const NormLayer& norm, std::span<const float* const> gains,
                           int64_t rows) const {
  const AttentionConfig& c = config_;
  if (c.qk_norm == QkNorm::width) return ops.norm(x, norm.norm(), rows, int64_t{heads} * c.head_dim, x);
  if (c.qk_norm == QkNorm::head) return ops.norm(x, norm.norm(), rows * heads, c.head_dim, x);
  for (int64_t r = 0; r < rows; ++r)
    for (int h = 0; h < heads; ++h) {
      float* const head = x + (r * heads + h) * c.head_dim;
      ops.norm(head, {c.qk_norm_style.kind, gains[static_cast<size_t>(h)], nullptr, c.qk_norm_style.eps}, 1, c.head_dim, head);
    }
}

void Attention::project(const LayerPass& pass, const Norm& norm) {
  const AttentionConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count();
  const MatmulOut all[] = {{&q_, q_bias_, w.q, q_.n}, {&k_, k_bias_, w.k, k_.n}, {&v_, v_bias_, w.v, v_.n}, {&gate_, nullptr, w.extra, gate_.n}};
  const std::span<const MatmulOut> outs(all, 3);
  ops.matmul({w.x, n, c.hidden, norm}, c.gated ? std::span<const MatmulOut>(all) : outs);
  const auto norm_qk = [&] {
    if (c.qk_norm == QkNorm::none) return;
    norm_heads(ops, w.q, c.heads, q_norm_, q_gains_, n);
    norm_heads(ops, w.k, c.kv_heads, k_norm_, k_gains_, n);
  };
  if (!c.norm_after_rope) norm_qk();
  if (c.clip_qkv > 0)
    for (const MatmulOut& out : outs) clamp(out.y, c.clip_qkv, n * out.y_stride);
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
  const LayerView view{pass.layer, w.x, w.q, w.k, w.v, c.heads, c.scale, pass.rows.positions, pass.places().segments, kv};
  if (pass.policy != nullptr && !pass.policy->before_write(view)) return false;
  ops.write_kv(w.k, w.v, pass.places().slots, kv);
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
  args.segments = pass.places().segments;
  args.softcap = c.softcap;
  args.slopes = c.alibi.empty() ? nullptr : c.alibi.data();
  args.sinks = sinks_;
  args.causal = c.causal;
  if (pass.wanted != nullptr) {
    CHECK(c.causal, "attention both ways reads segments whole: all of their rows are computed");
    gather_rows(w.q, width, *pass.wanted);
    args.segments = cut_to_rows(args.segments, *pass.wanted, kept_segments_);
  }
  if (c.chunk > 0) attend_chunks(ops, args);
  else ops.attend(args);
  if (c.gated) {
    if (pass.wanted != nullptr) gather_rows(w.extra, width, *pass.wanted);
    each_row(ops, rows, width, [&](int64_t r) {
      for (int64_t i = r * width; i < (r + 1) * width; ++i) w.attended[i] *= sigmoid_of(w.extra[i]);
    });
  }
  if (c.output_scale != 1) ops.scale(w.attended, c.output_scale, rows * width);
  const MatmulOut out{&o_, o_bias_, y, c.hidden, adds};
  ops.matmul({w.attended, rows, width, output_norm_.norm()}, {&out, 1});
  return true;
}

void Attention::attend_chunks(const Ops& ops, AttendArgs args) {
  const int chunk = config_.chunk, block = args.kv.block_tokens;
  // Where chunks are whole blocks, and whole super-tiles or parts of one, a chunk is a sequence whose table begins with it: the
  // same sums as with a window up to its begin.
  const bool whole = chunk % block == 0 && chunk % kLanes == 0 && (chunk % kSuperTile == 0 || kSuperTile % chunk == 0);
  chunk_segments_.clear();
  for (const AttendSegment& s : args.segments)
    for (int done = 0; done < s.rows;) {
      const int pos = s.first_pos + done, begin = pos / chunk * chunk;
      const int rows = whole ? std::min(s.rows - done, begin + chunk - pos) : 1;
      AttendSegment part{s.first_row + done, rows, pos, s.blocks};
      if (whole) part.first_pos -= begin, part.blocks += begin / block;
      chunk_segments_.push_back(part);
      done += rows;
    }
  if (whole) {
    args.segments = chunk_segments_;
    return ops.attend(args);
  }
  const int64_t width = int64_t{config_.heads} * config_.head_dim;
  const float* const q = args.q;
  float* const out = args.out;
  for (AttendSegment row : chunk_segments_) {
    args.q = q + row.first_row * width;
    args.out = out + row.first_row * width;
    args.window = row.first_pos % chunk + 1;
    row.first_row = 0;
    args.segments = {&row, 1};
    ops.attend(args);
  }
}

std::vector<float> alibi_slopes(int heads, double most) {
  int whole = 1;
  while (whole * 2 <= heads) whole *= 2;
  std::vector<float> slopes;
  for (int h = 0; h < heads; ++h) {
    const double power = h < whole ? most * (h + 1) / whole : most * (2 * (h - whole) + 1) / (2 * whole);
    slopes.push_back(static_cast<float>(std::exp2(-power)));
  }
  return slopes;
}

void Attention::rotate_keys(const Ops& ops, std::span<const int32_t> by, int heads, float* keys) const {
  if (config_.rope == nullptr) return;
  const RopeConfig& r = *config_.rope;
  ops.rope(keys, by, r.inv_freq, 1, heads, config_.head_dim, r.rotary_dims(), r.style);
}

}  // namespace sluice
