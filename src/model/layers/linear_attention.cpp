#include "model/layers/linear_attention.h"

#include "model/layers/float_math.h"

namespace sluice {
namespace {

float feature(float x) { return x > 0 ? x + 1 : exp_of(x); }

}  // namespace

LinearAttention::LinearAttention(const LinearAttentionConfig& config)
    : config_(config), state_{0, config.heads, config.head_dim() * (config.head_dim() + 1)} {}

void LinearAttention::declare(TensorTable& table) {
  const int64_t hidden = config_.hidden;
  for (const auto& [name, matrix, bias] : {std::tuple{"attn_q", &q_, &q_bias_}, {"attn_k", &k_, &k_bias_}, {"attn_v", &v_, &v_bias_},
                                           {"attn_output", &o_, &o_bias_}}) {
    table.matrix(fmt::format("{}.weight", name), matrix, hidden, hidden, matrix == &o_ ? "o" : "qkv");
    table.vector(fmt::format("{}.bias", name), bias, hidden, Presence::if_present);
  }
}

void LinearAttention::recur(const LayerPass& pass) const {
  const Workspace& w = pass.w;
  const int64_t dim = config_.head_dim(), hidden = config_.hidden;
  walk_state(pass, state_, [&](int64_t head, float* keys, int64_t first, int64_t rows) {
    float* const sums = keys + dim;
    for (int64_t r = first; r < first + rows; ++r) {
      const int64_t at = r * hidden + head * dim;
      const float *const q = w.q + at, *const k = w.k + at, *const v = w.v + at;
      float* const out = w.attended + at;
      for (int64_t i = 0; i < dim; ++i) out[i] = 0;
      float weight = 0;
      for (int64_t j = 0; j < dim; ++j) {
        float* const s = sums + j * dim;
        const float key = feature(k[j]), reads = feature(q[j]);
        keys[j] += key;
        weight += reads * keys[j];
        for (int64_t i = 0; i < dim; ++i) {
          s[i] += key * v[i];
          out[i] += reads * s[i];
        }
      }
      const float scale = 1 / (weight + config_.eps);
      for (int64_t i = 0; i < dim; ++i) out[i] *= scale;
    }
  });
}

bool LinearAttention::mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) {
  const int64_t n = pass.rows.count(), hidden = config_.hidden;
  Workspace& w = pass.w;
  const MatmulOut in[] = {{&q_, q_bias_, w.q, hidden}, {&k_, k_bias_, w.k, hidden}, {&v_, v_bias_, w.v, hidden}};
  pass.ops.matmul({w.x, n, hidden, norm}, in);
  recur(pass);
  const int64_t rows = pass.outputs();
  if (rows == 0) return false;
  if (pass.wanted != nullptr) gather_rows(w.attended, hidden, *pass.wanted);
  const MatmulOut out{&o_, o_bias_, y, hidden, adds};
  pass.ops.matmul({w.attended, rows, hidden}, {&out, 1});
  return true;
}

}  // namespace sluice
