#include "model/layers/latent_attention.h"

#include <cstring>

namespace sluice {
namespace {

// Rows of `width` values out of rows of `from_stride`, into rows of `to_stride`.
void copy_rows(const float* from, int64_t from_stride, float* to, int64_t to_stride, int64_t width, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(to + r * to_stride, from + r * from_stride, static_cast<size_t>(width) * sizeof(float));
}

}  // namespace

LatentAttention::LatentAttention(LatentAttentionConfig config)
    : config_(std::move(config)),
      q_a_norm_("attn_q_a_norm", config_.norm, config_.q_rank),
      kv_a_norm_("attn_kv_a_norm", config_.norm, config_.kv_rank) {}

void LatentAttention::declare(TensorTable& table) {
  const LatentAttentionConfig& c = config_;
  const int64_t q = c.heads * (c.nope_dim + c.rope_dim);
  if (c.q_rank > 0) {
    table.matrix("attn_q_a.weight", &q_a_, c.q_rank, c.hidden, "qkv");
    table.vector("attn_q_a.bias", &q_a_bias_, c.q_rank, c.bias);
    q_a_norm_.declare(table);
    table.matrix("attn_q_b.weight", &q_b_, q, c.q_rank, "qkv");
  } else {
    table.matrix("attn_q.weight", &q_, q, c.hidden, "qkv");
  }
  table.matrix("attn_kv_a_latent.weight", &kv_a_, c.kv_rank, c.hidden, "qkv");
  table.matrix("attn_kv_a_rope.weight", &k_rope_, c.rope_dim, c.hidden, "qkv");
  table.vector("attn_kv_a_latent.bias", &kv_a_bias_, c.kv_rank, c.bias);
  table.vector("attn_kv_a_rope.bias", &k_rope_bias_, c.rope_dim, c.bias);
  kv_a_norm_.declare(table);
  table.experts("attn_k_b.weight", &k_b_, c.heads, c.kv_rank, c.nope_dim, "qkv");
  table.experts("attn_v_b.weight", &v_b_, c.heads, c.v_dim, c.kv_rank, "o");
  table.matrix("attn_output.weight", &o_, c.hidden, c.heads * c.v_dim, "o");
  table.vector("attn_output.bias", &o_bias_, c.hidden, c.bias);
}

KvGroup LatentAttention::kv() const { return {KvGroup::Kind::latent, 0, 1, 1, config_.row_dim(), 0}; }

WorkspaceWidths LatentAttention::widths() const {
  const LatentAttentionConfig& c = config_;
  const int64_t heads = c.heads, part = std::max(c.nope_dim, c.kv_rank);
  return {heads * c.row_dim(), c.row_dim(), std::max({c.q_rank, c.kv_rank, part, heads * c.v_dim}), heads * c.kv_rank,
          std::max({heads * (c.nope_dim + c.rope_dim), c.rope_dim, c.kv_rank})};
}

void LatentAttention::latents(const LayerPass& pass, const Norm& norm) {
  const LatentAttentionConfig& c = config_;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count();
  const MatmulOut outs[] = {{&kv_a_, kv_a_bias_, w.v, c.kv_rank}, {&k_rope_, k_rope_bias_, w.extra, c.rope_dim}};
  pass.ops.matmul({w.x, n, c.hidden, norm}, outs);
  pass.ops.norm(w.v, kv_a_norm_.norm(), n, c.kv_rank, w.v);
  const RopeConfig& r = *c.rope;
  pass.ops.rope(w.extra, pass.rows.positions, r.inv_freq, r.magnitude, 1, static_cast<int>(c.rope_dim), r.rotary_dims(), r.style);
  copy_rows(w.v, c.kv_rank, w.k, c.row_dim(), c.kv_rank, n);
  copy_rows(w.extra, c.rope_dim, w.k + c.kv_rank, c.row_dim(), c.rope_dim, n);
}

void LatentAttention::queries(const LayerPass& pass, const Norm& norm) {
  const LatentAttentionConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  const int64_t n = pass.rows.count(), dim = c.nope_dim + c.rope_dim, width = c.heads * dim, out_width = int64_t{c.heads} * c.row_dim();
  if (c.q_rank > 0) {
    const MatmulOut a{&q_a_, q_a_bias_, w.v, c.q_rank};
    ops.matmul({w.x, n, c.hidden, norm}, {&a, 1});
    const MatmulOut b{&q_b_, nullptr, w.extra, width};
    ops.matmul({w.v, n, c.q_rank, q_a_norm_.norm()}, {&b, 1});
  } else {
    const MatmulOut q{&q_, nullptr, w.extra, width};
    ops.matmul({w.x, n, c.hidden, norm}, {&q, 1});
  }
  const RopeConfig& r = *c.rope;
  ops.rope(w.extra, pass.rows.positions, r.inv_freq, r.magnitude, c.heads, static_cast<int>(dim), r.rotary_dims(), r.style,
           static_cast<int>(c.nope_dim));
  for (int h = 0; h < c.heads; ++h) {
    const float* const head = w.extra + h * dim;
    float* const to = w.q + int64_t{h} * c.row_dim();
    copy_rows(head, width, w.v, c.nope_dim, c.nope_dim, n);
    const MatmulOut out{&k_b_[static_cast<size_t>(h)], nullptr, to, out_width};
    ops.matmul({w.v, n, c.nope_dim}, {&out, 1});
    copy_rows(head + c.nope_dim, width, to + c.kv_rank, out_width, c.rope_dim, n);
  }
}

bool LatentAttention::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const LatentAttentionConfig& c = config_;
  const Ops& ops = pass.ops;
  Workspace& w = pass.w;
  latents(pass, norm);
  ops.write_kv(w.k, nullptr, pass.places().slots, pass.kv);
  const int64_t rows = pass.outputs(), latent_width = c.heads * c.kv_rank, v_width = c.heads * c.v_dim;
  if (rows == 0) return false;
  queries(pass, norm);
  AttendArgs args;
  args.q = w.q;
  args.out = w.attended;
  args.heads = c.heads;
  args.scale = c.scale;
  args.kv = pass.kv;
  args.segments = pass.places().segments;
  args.v_dim = static_cast<int>(c.kv_rank);
  if (pass.wanted != nullptr) {
    gather_rows(w.q, int64_t{c.heads} * c.row_dim(), *pass.wanted);
    args.segments = cut_to_rows(args.segments, *pass.wanted, kept_segments_);
  }
  ops.attend(args);
  for (int h = 0; h < c.heads; ++h) {
    copy_rows(w.attended + h * c.kv_rank, latent_width, w.extra, c.kv_rank, c.kv_rank, rows);
    const MatmulOut out{&v_b_[static_cast<size_t>(h)], nullptr, w.v + h * c.v_dim, v_width};
    ops.matmul({w.extra, rows, c.kv_rank}, {&out, 1});
  }
  const MatmulOut out{&o_, o_bias_, y, c.hidden, adds};
  ops.matmul({w.v, rows, v_width}, {&out, 1});
  return true;
}

}  // namespace sluice
