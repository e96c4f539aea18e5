// Recurrences have a second form, in which the rows of a chunk are computed by products of matrices and only chunks follow each
// other. The step-by-step form that the mixers run is compared with it here, in float64. RWKV's: rwkv_parallel_forms_test.cpp.

#include "model/layers/gated_delta_net.h"
#include "model/layers/linear_attention.h"
#include "model/layers/mamba.h"
#include "model/layers/mamba2.h"
#include "model/layers/retention.h"
#include "tests/support/one_mixer.h"

namespace sluice {
namespace {

using namespace test;

/// silu of four taps over each channel of x[rows, channels].
Matrix convolved(const Matrix& x, const Matrix& taps, const Matrix& bias) {
  const auto channels = static_cast<int64_t>(bias.size());
  Matrix out(x.size());
  for (int64_t t = 0; t < kRows; ++t)
    for (int64_t ch = 0; ch < channels; ++ch) {
      double sum = bias[static_cast<size_t>(ch)];
      for (int64_t tap = 0; tap < 4; ++tap)
        if (t + tap >= 3) sum += taps[static_cast<size_t>(ch * 4 + tap)] * x[static_cast<size_t>((t + tap - 3) * channels + ch)];
      out[static_cast<size_t>(t * channels + ch)] = silu(sum);
    }
  return out;
}

// Katharopoulos et al. 2020, equation 9: weights phi(q) phi(k)^T below the diagonal, divided by their sums.
TEST(ParallelForms, LinearAttentionChunkwise) {
  LinearAttentionConfig c;
  c.hidden = 24, c.heads = 3;
  LinearAttention linear(c);
  OneMixer one({}, linear, {{"attn_q.weight", {24, 24}}, {"attn_k.weight", {24, 24}}, {"attn_v.weight", {24, 24}}, {"attn_output.weight", {24, 24}}});
  const std::vector<float> rows = random_rows(24);
  const Matrix x(rows.begin(), rows.end());
  const Matrix q = product(x, one["attn_q.weight"], 24, 0, 24), k = product(x, one["attn_k.weight"], 24, 0, 24), v = product(x, one["attn_v.weight"], 24, 0, 24);
  Matrix mixed(static_cast<size_t>(kRows * 24));
  for (int64_t h = 0; h < 3; ++h) {
    const auto of = [h](const Matrix& m) { return [&m, h](int64_t t, int64_t n) { return m[static_cast<size_t>(t * 24 + h * 8 + n)]; }; };
    const auto feature = [](auto values) {
      return [values](int64_t t, int64_t n) {
        const double value = values(t, n);
        return value > 0 ? value + 1 : std::exp(value);
      };
    };
    const auto stays = [](int64_t, int64_t) { return 0.0; };
    const Matrix sums = in_chunks(feature(of(q)), feature(of(k)), of(v), stays, 8, 8);
    const Matrix weights = in_chunks(feature(of(q)), feature(of(k)), [](int64_t, int64_t) { return 1.0; }, stays, 8, 1);
    for (int64_t t = 0; t < kRows; ++t)
      for (int64_t i = 0; i < 8; ++i) mixed[static_cast<size_t>(t * 24 + h * 8 + i)] = sums[static_cast<size_t>(t * 8 + i)] / (weights[static_cast<size_t>(t)] + static_cast<double>(c.eps));
  }
  expect_near(one.run(rows, 24), product(mixed, one["attn_output.weight"], 24, 0, 24));
}

TEST(ParallelForms, RetentionChunkwise) {
  RetentionConfig c;
  c.hidden = 24, c.values = 36, c.heads = 3;
  c.norm = {Norm::Kind::rms, 1e-5f, Presence::absent};
  c.inv_freq = {1.0f, 0.1f, 0.01f, 0.001f};
  Retention retention(c);
  OneMixer one({}, retention, {{"attn_q.weight", {24, 24}}, {"attn_k.weight", {24, 24}}, {"attn_v.weight", {36, 24}},
                               {"attn_gate.weight", {36, 24}}, {"attn_output.weight", {24, 36}}});
  const std::vector<float> rows = random_rows(24);
  const Matrix x(rows.begin(), rows.end());
  Matrix q = product(x, one["attn_q.weight"], 24, 0, 24), k = product(x, one["attn_k.weight"], 24, 0, 24);
  const Matrix v = product(x, one["attn_v.weight"], 24, 0, 36), gate = product(x, one["attn_gate.weight"], 24, 0, 36);
  for (Matrix* turned : {&q, &k})
    for (int64_t t = 0; t < kRows; ++t)
      for (int64_t pair = 0; pair < 12; ++pair) {
        const double angle = static_cast<double>(t) * static_cast<double>(c.inv_freq[static_cast<size_t>(pair % 4)]);
        double &a = (*turned)[static_cast<size_t>(t * 24 + 2 * pair)], &b = (*turned)[static_cast<size_t>(t * 24 + 2 * pair + 1)];
        const double first = a;
        a = first * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + first * std::sin(angle);
      }
  Matrix mixed(static_cast<size_t>(kRows * 36));
  for (int64_t h = 0; h < 3; ++h) {
    const double decay = std::log(1 - std::pow(2.0, -5.0 - static_cast<double>(h)));
    const Matrix head = in_chunks([&](int64_t t, int64_t n) { return q[static_cast<size_t>(t * 24 + h * 8 + n)]; },
                                  [&](int64_t t, int64_t n) { return k[static_cast<size_t>(t * 24 + h * 8 + n)] / std::sqrt(8.0); },
                                  [&](int64_t t, int64_t i) { return v[static_cast<size_t>(t * 36 + h * 12 + i)]; },
                                  [&](int64_t, int64_t) { return decay; }, 8, 12);
    for (int64_t t = 0; t < kRows; ++t)
      for (int64_t i = 0; i < 12; ++i) mixed[static_cast<size_t>(t * 36 + h * 12 + i)] = head[static_cast<size_t>(t * 12 + i)];
  }
  norm_groups(mixed, 12, 1e-5);
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] *= silu(gate[i]);
  expect_near(one.run(rows, 24), product(mixed, one["attn_output.weight"], 36, 0, 24));
}

TEST(ParallelForms, Mamba2StateSpaceDual) {
  Mamba2Config c;
  c.hidden = 24, c.heads = 6, c.head_dim = 8, c.groups = 2, c.state = 10;
  c.norm = {Norm::Kind::rms, 1e-5f};
  c.norm_groups = 2;
  Mamba2Mixer mamba(c);
  TensorNames names;
  name_mamba2(names, c, "unused.{}");
  const int64_t inner = c.inner(), channels = c.conv_channels();  // 48, 88
  OneMixer one(names, mamba, {{"ssm_in.weight", {c.in_rows(), 24}}, {"ssm_conv1d.weight", {channels, 4}}, {"ssm_conv1d.bias", {channels}},
                              {"ssm_dt.bias", {6}}, {"ssm_a", {6, 1}}, {"ssm_d", {6, 1}}, {"ssm_norm.weight", {2, 24}},
                              {"ssm_out.weight", {24, inner}}});
  const std::vector<float> rows = random_rows(24);
  const Matrix x(rows.begin(), rows.end()), in = one["ssm_in.weight"], taps = one["ssm_conv1d.weight"], bias = one["ssm_conv1d.bias"];
  const Matrix gate = product(x, in, 24, 0, inner), raw = product(x, in, 24, inner, channels), dts = product(x, in, 24, inner + channels, 6);
  const Matrix xbc = convolved(raw, taps, bias);
  const Matrix a = one["ssm_a"], d = one["ssm_d"], dt_bias = one["ssm_dt.bias"], gain = one["ssm_norm.weight"];
  Matrix mixed(static_cast<size_t>(kRows * inner));
  for (int64_t h = 0; h < 6; ++h) {
    const int64_t group = h / 3;
    const auto dt = [&](int64_t t) { return std::log1p(std::exp(dts[static_cast<size_t>(t * 6 + h)] + dt_bias[static_cast<size_t>(h)])); };
    const auto value = [&](int64_t t, int64_t i) { return xbc[static_cast<size_t>(t * channels + h * 8 + i)]; };
    const Matrix head = in_chunks([&](int64_t t, int64_t n) { return xbc[static_cast<size_t>(t * channels + inner + 20 + group * 10 + n)]; },
                                  [&](int64_t t, int64_t n) { return xbc[static_cast<size_t>(t * channels + inner + group * 10 + n)]; },
                                  [&](int64_t t, int64_t i) { return dt(t) * value(t, i); },
                                  [&](int64_t t, int64_t) { return dt(t) * a[static_cast<size_t>(h)]; }, 10, 8);
    for (int64_t t = 0; t < kRows; ++t)
      for (int64_t i = 0; i < 8; ++i) {
        const auto at = static_cast<size_t>(t * inner + h * 8 + i);
        mixed[at] = (head[static_cast<size_t>(t * 8 + i)] + d[static_cast<size_t>(h)] * value(t, i)) * silu(gate[at]);
      }
  }
  norm_groups(mixed, 24, 1e-5);
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] *= gain[i % static_cast<size_t>(inner)];
  expect_near(one.run(rows, 24), product(mixed, one["ssm_out.weight"], inner, 0, 24));
}

// Yang et al. 2024, section 3: what each row writes follows from those before it by a triangular system, without any state.
TEST(ParallelForms, GatedDeltaRuleTriangular) {
  GatedDeltaConfig c;
  c.hidden = 24, c.key_heads = 2, c.value_heads = 4, c.key_dim = 6, c.value_dim = 5;
  c.norm = {Norm::Kind::rms, 1e-5f};
  GatedDeltaNet delta(c);
  const int64_t keys = c.keys(), values = c.values(), channels = c.conv_channels();
  OneMixer one({}, delta, {{"ssm_q.weight", {keys, 24}}, {"ssm_k.weight", {keys, 24}}, {"ssm_v.weight", {values, 24}}, {"ssm_z.weight", {values, 24}},
                           {"ssm_write.weight", {4, 24}}, {"ssm_decay.weight", {4, 24}}, {"ssm_conv1d.weight", {4 * channels}}, {"ssm_dt.bias", {4}},
                           {"ssm_a", {4}}, {"ssm_norm.weight", {c.value_dim}}, {"ssm_out.weight", {24, values}}});
  const std::vector<float> rows = random_rows(24);
  const Matrix x(rows.begin(), rows.end());
  Matrix raw;
  const Matrix q = product(x, one["ssm_q.weight"], 24, 0, keys), k = product(x, one["ssm_k.weight"], 24, 0, keys), v = product(x, one["ssm_v.weight"], 24, 0, values);
  for (int64_t t = 0; t < kRows; ++t)
    for (const auto& [m, width] : {std::pair{&q, keys}, {&k, keys}, {&v, values}}) raw.insert(raw.end(), m->begin() + t * width, m->begin() + (t + 1) * width);
  const Matrix qkv = convolved(raw, one["ssm_conv1d.weight"], Matrix(static_cast<size_t>(channels)));
  const Matrix gate = product(x, one["ssm_z.weight"], 24, 0, values), write = product(x, one["ssm_write.weight"], 24, 0, 4), decay = product(x, one["ssm_decay.weight"], 24, 0, 4);
  const Matrix a = one["ssm_a"], dt_bias = one["ssm_dt.bias"], gain = one["ssm_norm.weight"];
  Matrix mixed(static_cast<size_t>(kRows * values));
  for (int64_t h = 0; h < 4; ++h) {
    const auto unit = [&](int64_t t, int64_t from) {  // of a head of keys
      Matrix out(qkv.begin() + t * channels + from + h / 2 * c.key_dim, qkv.begin() + t * channels + from + (h / 2 + 1) * c.key_dim);
      double squares = 1e-6;
      for (const double value : out) squares += value * value;
      for (double& value : out) value /= std::sqrt(squares);
      return out;
    };
    const auto dot = [](const Matrix& one_row, const Matrix& other) {
      double sum = 0;
      for (size_t n = 0; n < one_row.size(); ++n) sum += one_row[n] * other[n];
      return sum;
    };
    std::vector<Matrix> key, writes;
    std::vector<double> sums;  // of log decays, each row's own included
    for (int64_t t = 0; t < kRows; ++t) {
      const auto rate = [&](const Matrix& m) { return m[static_cast<size_t>(t * 4 + h)]; };
      sums.push_back((t > 0 ? sums.back() : 0) + a[static_cast<size_t>(h)] * std::log1p(std::exp(rate(decay) + dt_bias[static_cast<size_t>(h)])));
      key.push_back(unit(t, keys));
      const Matrix query = unit(t, 0);
      const auto left = [&](int64_t s) { return std::exp(sums.back() - sums[static_cast<size_t>(s)]); };
      Matrix u(qkv.begin() + t * channels + 2 * keys + h * c.value_dim, qkv.begin() + t * channels + 2 * keys + (h + 1) * c.value_dim);
      for (int64_t s = 0; s < t; ++s)
        for (size_t i = 0; i < u.size(); ++i) u[i] -= left(s) * dot(key[static_cast<size_t>(s)], key.back()) * writes[static_cast<size_t>(s)][i];
      for (double& value : u) value /= 1 + std::exp(-rate(write));
      writes.push_back(u);
      for (int64_t s = 0; s <= t; ++s)
        for (int64_t i = 0; i < c.value_dim; ++i)
          mixed[static_cast<size_t>(t * values + h * c.value_dim + i)] += left(s) * dot(query, key[static_cast<size_t>(s)]) / std::sqrt(6.0) * writes[static_cast<size_t>(s)][static_cast<size_t>(i)];
    }
  }
  norm_groups(mixed, c.value_dim, 1e-5);
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] *= gain[i % static_cast<size_t>(c.value_dim)] * silu(gate[i]);
  expect_near(one.run(rows, 24), product(mixed, one["ssm_out.weight"], values, 0, 24));
}

// Gu and Dao 2023, section 3.3: the scan as what it sums, every input decayed by all steps since.
TEST(ParallelForms, SelectiveScanAsSums) {
  MambaConfig c;
  c.hidden = 24, c.inner = 40, c.state = 5, c.dt_rank = 3;
  MambaMixer mamba(c);
  OneMixer one({}, mamba, {{"ssm_in_x.weight", {40, 24}}, {"ssm_in_gate.weight", {40, 24}}, {"ssm_conv1d.weight", {160}}, {"ssm_conv1d.bias", {40}},
                           {"ssm_x_dt.weight", {3, 40}}, {"ssm_x_b.weight", {5, 40}}, {"ssm_x_c.weight", {5, 40}}, {"ssm_dt.weight", {40, 3}},
                           {"ssm_dt.bias", {40}}, {"ssm_a", {200}}, {"ssm_d", {40}}, {"ssm_out.weight", {24, 40}}});
  const std::vector<float> rows = random_rows(24);
  const Matrix in(rows.begin(), rows.end());
  const Matrix x = convolved(product(in, one["ssm_in_x.weight"], 24, 0, 40), one["ssm_conv1d.weight"], one["ssm_conv1d.bias"]);
  const Matrix gate = product(in, one["ssm_in_gate.weight"], 24, 0, 40), b = product(x, one["ssm_x_b.weight"], 40, 0, 5), read = product(x, one["ssm_x_c.weight"], 40, 0, 5);
  Matrix dt = product(product(x, one["ssm_x_dt.weight"], 40, 0, 3), one["ssm_dt.weight"], 3, 0, 40);
  const Matrix dt_bias = one["ssm_dt.bias"], a = one["ssm_a"], d = one["ssm_d"];
  for (size_t i = 0; i < dt.size(); ++i) dt[i] = std::log1p(std::exp(dt[i] + dt_bias[i % 40]));
  Matrix mixed(static_cast<size_t>(kRows * 40));
  for (int64_t ch = 0; ch < 40; ++ch)
    for (int64_t t = 0; t < kRows; ++t) {
      const auto at = [&](int64_t row) { return static_cast<size_t>(row * 40 + ch); };
      double sum = d[static_cast<size_t>(ch)] * x[at(t)], steps = 0;  // steps: of dt since s
      for (int64_t s = t; s >= 0; steps += dt[at(s)], --s)
        for (int64_t n = 0; n < 5; ++n)
          sum += read[static_cast<size_t>(t * 5 + n)] * std::exp(a[static_cast<size_t>(ch * 5 + n)] * steps) * dt[at(s)] * b[static_cast<size_t>(s * 5 + n)] * x[at(s)];
      mixed[at(t)] = sum * silu(gate[at(t)]);
    }
  expect_near(one.run(rows, 24), product(mixed, one["ssm_out.weight"], 40, 0, 24));
}

}  // namespace
}  // namespace sluice
