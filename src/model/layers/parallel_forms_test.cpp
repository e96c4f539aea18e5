// Recurrences have a second form, in which the rows of a chunk are computed by products of matrices and only chunks follow each
// other. The step-by-step form that the mixers run is compared with it here, in float64.

#include <cmath>
#include <functional>
#include <numeric>

#include "model/layers/gated_delta_net.h"
#include "model/layers/linear_attention.h"
#include "model/layers/mamba.h"
#include "model/layers/mamba2.h"
#include "model/layers/retention.h"
#include "model/layers/rwkv4.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice {
namespace {

constexpr int64_t kRows = 75, kChunk = 16;  // the last chunk is short
constexpr double kTolerance = 1e-4;

using Matrix = std::vector<double>;  // row-major

/// A mixer of random weights, outside any model.
class OneMixer {
 public:
  OneMixer(const TensorNames& names, Mixer& mixer, const std::vector<std::pair<std::string, Shape>>& tensors)
      : pool_(2), ops_(**select_op_table(test::float32_isas().at(0)), pool_), mixer_(mixer) {
    source_ = std::make_shared<test::MemorySource>(Metadata(MetadataKind::gguf, "random"));
    Rng rng(7);
    for (const auto& [name, shape] : tensors) {
      const double scale = shape.rank == 2 ? 1 / std::sqrt(static_cast<double>(shape[1])) : 0.5;
      std::vector<float> values(static_cast<size_t>(shape.elems()));
      for (float& v : values) v = static_cast<float>(rng.next_normal() * scale);
      if (name == "ssm_a")
        for (float& v : values) v = -std::exp(v);
      source_->add("blk.0." + name, shape, values);
    }
    store_ = std::make_unique<WeightStore>(source_, ops_);
    TensorTable table(names, *source_);
    table.at_layer(0);
    mixer.declare(table);
    const auto ok = [](const Status& status) { EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().message); };
    ok(table.check(1, "test"));
    ok(table.load(*store_));
    ok(mixer.prepare(*store_));
  }

  /// A tensor's values.
  Matrix operator[](const std::string& name) const {
    const TensorInfo* info = source_->find("blk.0." + name);
    const auto* values = static_cast<const float*>(source_->view(*info).data);
    return Matrix(values, values + info->shape.elems());
  }

  /// Its output [rows, hidden] of rows x, step by step in blocks of 5.
  std::vector<float> run(const std::vector<float>& x, int64_t hidden, const Norm& norm = {}) {
    const int64_t rows = static_cast<int64_t>(x.size()) / hidden;
    Workspace w = std::move(Workspace::allocate(hidden, mixer_.widths(), rows)).value();
    std::copy(x.begin(), x.end(), w.x);
    KvLayerView kv;
    kv.block_tokens = 5;
    kv.state_bytes = mixer_.kv().state_bytes;
    std::vector<BlockId> blocks(static_cast<size_t>(rows / kv.block_tokens + 1));
    std::iota(blocks.begin(), blocks.end(), BlockId{0});
    std::vector<float> states(blocks.size() * kv.state_bytes / sizeof(float), NAN);  // what nobody has written nobody may read
    kv.k = kv.v = reinterpret_cast<uint8_t*>(states.data());
    std::vector<int32_t> positions(static_cast<size_t>(rows));
    std::iota(positions.begin(), positions.end(), 0);
    const AttendSegment segment{0, static_cast<int>(rows), 0, blocks.data()};
    const LayerRows layer_rows{positions, {{}, {&segment, 1}}};
    const LayerPass pass{ops_, w, layer_rows, kv, nullptr, 0, nullptr};
    std::vector<float> y(x.size());
    EXPECT_TRUE(mixer_.mix(pass, norm, y.data(), false));
    return y;
  }

 private:
  ThreadPool pool_;
  Ops ops_;
  Mixer& mixer_;
  std::shared_ptr<test::MemorySource> source_;
  std::unique_ptr<WeightStore> store_;
};

std::vector<float> random_rows(int64_t hidden) {
  Rng rng(3);
  std::vector<float> x(static_cast<size_t>(kRows * hidden));
  for (float& v : x) v = static_cast<float>(rng.next_normal());
  return x;
}

/// x[rows, k] times rows [first, first + n) of w[.., k].
Matrix product(const Matrix& x, const Matrix& w, int64_t k, int64_t first, int64_t n) {
  const int64_t rows = static_cast<int64_t>(x.size()) / k;
  Matrix out(static_cast<size_t>(rows * n));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j) out[static_cast<size_t>(r * n + i)] += x[static_cast<size_t>(r * k + j)] * w[static_cast<size_t>((first + i) * k + j)];
  return out;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

void expect_near(const std::vector<float>& got, const Matrix& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  double worst = 0, squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - wanted[i]));
    squares += wanted[i] * wanted[i];
  }
  EXPECT_GT(std::sqrt(squares / static_cast<double>(got.size())), 0.05) << "nothing is compared";
  EXPECT_LE(worst, kTolerance);
}

/// One head in chunks: S, of which key n holds `values` values, decays by exp(log_decay[t]) before key k[t] takes in value v[t], and q[t]
/// reads what is there then. A chunk is (Q K^T * L) V + exp(sums) Q S, and S the sum of what is left of it and of its keys.
Matrix in_chunks(const std::function<double(int64_t, int64_t)>& q, const std::function<double(int64_t, int64_t)>& k,
                 const std::function<double(int64_t, int64_t)>& v, const std::function<double(int64_t)>& log_decay, int64_t keys, int64_t values) {
  Matrix out(static_cast<size_t>(kRows * values)), state(static_cast<size_t>(keys * values));
  for (int64_t begin = 0; begin < kRows; begin += kChunk) {
    const int64_t end = std::min(kRows, begin + kChunk);
    std::vector<double> sums;  // of log decays in the chunk, each row's own included
    for (int64_t t = begin; t < end; ++t) sums.push_back((t > begin ? sums.back() : 0) + log_decay(t));
    const auto sum = [&](int64_t t) { return sums[static_cast<size_t>(t - begin)]; };
    for (int64_t t = begin; t < end; ++t)
      for (int64_t i = 0; i < values; ++i) {
        double& y = out[static_cast<size_t>(t * values + i)];
        for (int64_t n = 0; n < keys; ++n) y += std::exp(sum(t)) * q(t, n) * state[static_cast<size_t>(n * values + i)];
        for (int64_t s = begin; s <= t; ++s) {
          double score = 0;
          for (int64_t n = 0; n < keys; ++n) score += q(t, n) * k(s, n);
          y += score * std::exp(sum(t) - sum(s)) * v(s, i);
        }
      }
    for (int64_t n = 0; n < keys; ++n)
      for (int64_t i = 0; i < values; ++i) {
        double& held = state[static_cast<size_t>(n * values + i)];
        held *= std::exp(sums.back());
        for (int64_t s = begin; s < end; ++s) held += std::exp(sums.back() - sum(s)) * k(s, n) * v(s, i);
      }
  }
  return out;
}

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

/// Root mean square norm of groups of `width` values.
void norm_groups(Matrix& x, int64_t width, double eps) {
  for (size_t at = 0; at < x.size(); at += static_cast<size_t>(width)) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += x[at + static_cast<size_t>(i)] * x[at + static_cast<size_t>(i)];
    for (int64_t i = 0; i < width; ++i) x[at + static_cast<size_t>(i)] /= std::sqrt(squares / static_cast<double>(width) + eps);
  }
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
    const auto stays = [](int64_t) { return 0.0; };
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
                                  [&](int64_t) { return decay; }, 8, 12);
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
                                  [&](int64_t t) { return dt(t) * a[static_cast<size_t>(h)]; }, 10, 8);
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

// Peng et al. 2023, equation 16: each channel's average over all rows so far.
TEST(ParallelForms, Rwkv4AsAverages) {
  TimeMix4 time(24, 24);
  OneMixer one({}, time, {{"time_mix_lerp_k.weight", {24}}, {"time_mix_lerp_v.weight", {24}}, {"time_mix_lerp_r.weight", {24}}, {"time_mix_key.weight", {24, 24}},
                          {"time_mix_value.weight", {24, 24}}, {"time_mix_receptance.weight", {24, 24}}, {"time_mix_decay.weight", {24}},
                          {"time_mix_first.weight", {24}}, {"time_mix_output.weight", {24, 24}}});
  const std::vector<float> rows = random_rows(24);
  Matrix x(rows.begin(), rows.end());
  norm_groups(x, 24, 1e-5);
  const auto blended = [&](const char* name) {
    const Matrix own = one[name];
    Matrix out(x.size());
    for (size_t i = 0; i < out.size(); ++i) {
      const double before = i < 24 ? 0 : x[i - 24];
      out[i] = own[i % 24] * x[i] + (1 - own[i % 24]) * before;
    }
    return out;
  };
  const Matrix k = product(blended("time_mix_lerp_k.weight"), one["time_mix_key.weight"], 24, 0, 24), v = product(blended("time_mix_lerp_v.weight"), one["time_mix_value.weight"], 24, 0, 24);
  const Matrix r = product(blended("time_mix_lerp_r.weight"), one["time_mix_receptance.weight"], 24, 0, 24);
  const Matrix decay = one["time_mix_decay.weight"], bonus = one["time_mix_first.weight"];
  Matrix mixed(rows.size());
  for (int64_t ch = 0; ch < 24; ++ch)
    for (int64_t t = 0; t < kRows; ++t) {
      const auto at = [&](int64_t row) { return static_cast<size_t>(row * 24 + ch); };
      double above = 0, below = 0;
      for (int64_t s = 0; s <= t; ++s) {
        const double weight = std::exp(k[at(s)] + (s == t ? bonus[static_cast<size_t>(ch)] : -std::exp(decay[static_cast<size_t>(ch)]) * static_cast<double>(t - 1 - s)));
        above += weight * v[at(s)], below += weight;
      }
      mixed[at(t)] = above / below / (1 + std::exp(-r[at(t)]));
    }
  expect_near(one.run(rows, 24, {Norm::Kind::rms, nullptr, nullptr, 1e-5f}), product(mixed, one["time_mix_output.weight"], 24, 0, 24));
}

}  // namespace
}  // namespace sluice
