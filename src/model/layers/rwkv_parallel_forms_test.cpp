// The parallel forms of RWKV's time mixes, against the step-by-step form that they run (see parallel_forms_test.cpp).

#include "model/layers/rwkv4.h"
#include "model/layers/rwkv6.h"
#include "model/layers/rwkv7.h"
#include "tests/support/one_mixer.h"

namespace sluice {
namespace {

using namespace test;

constexpr int64_t kHidden = 24, kHead = 8, kHeads = 3;
constexpr Norm kInputNorm{Norm::Kind::rms, nullptr, nullptr, 1e-5f};

/// What goes into a time mix: random rows, and the same normed.
struct Input {
  std::vector<float> rows = random_rows(kHidden);
  Matrix x{rows.begin(), rows.end()};
  Input() { norm_groups(x, kHidden, kInputNorm.eps); }

  /// x + (before - x) * share, with a share for each value of a row, or of all rows.
  Matrix blended(const Matrix& share) const {
    Matrix out(x.size());
    for (size_t i = 0; i < out.size(); ++i) out[i] = x[i] + ((i < kHidden ? 0 : x[i - kHidden]) - x[i]) * share[i % share.size()];
    return out;
  }
  /// The same where the tensor has the row's own share (up to RWKV 5).
  Matrix blended_by_own(Matrix own) const {
    for (double& share : own) share = 1 - share;
    return blended(own);
  }
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

Matrix each(Matrix x, double (*f)(double)) {
  for (double& value : x) value = f(value);
  return x;
}

/// x[rows, k] w[n, k]^T.
Matrix all(const Matrix& x, const Matrix& w, int64_t k) { return product(x, w, k, 0, static_cast<int64_t>(w.size()) / k); }

/// A vector added to every row.
Matrix plus(Matrix x, const Matrix& vector) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += vector[i % vector.size()];
  return x;
}

OfRow of_head(const Matrix& m, int64_t head) {
  return [&m, head](int64_t t, int64_t i) { return m[static_cast<size_t>(t * kHidden + head * kHead + i)]; };
}

/// The layer norm of each head, with a gain and a bias for every channel.
void norm_heads(Matrix& x, const Matrix& gain, const Matrix& bias) {
  for (size_t at = 0; at < x.size(); at += kHead) {
    const double mean = std::accumulate(x.begin() + static_cast<int64_t>(at), x.begin() + static_cast<int64_t>(at) + kHead, 0.0) / kHead;
    for (size_t i = at; i < at + kHead; ++i) x[i] -= mean;
  }
  norm_groups(x, kHead, 64e-5);
  for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * gain[i % kHidden] + bias[i % kHidden];
}

using Tensors = std::vector<std::pair<std::string, Shape>>;
Tensors with(Tensors tensors, const char* prefix, std::initializer_list<const char*> names, const Shape& shape) {
  for (const char* name : names) tensors.push_back({fmt::format("time_mix_{}{}.weight", prefix, name), shape});
  return tensors;
}
Tensors of_heads() {  // what RWKV 5, 6 and 7 have
  Tensors tensors{{"time_mix_ln.weight", {kHidden}}, {"time_mix_ln.bias", {kHidden}}};
  return with(std::move(tensors), "", {"key", "value", "receptance", "output"}, {kHidden, kHidden});
}

// Peng et al. 2023, equation 16: each channel's average over all rows so far.
TEST(ParallelForms, Rwkv4AsAverages) {
  TimeMix4 time(24, 24);
  OneMixer one({}, time, {{"time_mix_lerp_k.weight", {24}}, {"time_mix_lerp_v.weight", {24}}, {"time_mix_lerp_r.weight", {24}}, {"time_mix_key.weight", {24, 24}},
                          {"time_mix_value.weight", {24, 24}}, {"time_mix_receptance.weight", {24, 24}}, {"time_mix_decay.weight", {24}},
                          {"time_mix_first.weight", {24}}, {"time_mix_output.weight", {24, 24}}});
  const Input in;
  const auto blended = [&](const char* name) { return in.blended_by_own(one[name]); };
  const Matrix k = product(blended("time_mix_lerp_k.weight"), one["time_mix_key.weight"], 24, 0, 24), v = product(blended("time_mix_lerp_v.weight"), one["time_mix_value.weight"], 24, 0, 24);
  const Matrix r = product(blended("time_mix_lerp_r.weight"), one["time_mix_receptance.weight"], 24, 0, 24);
  const Matrix decay = one["time_mix_decay.weight"], bonus = one["time_mix_first.weight"];
  Matrix mixed(in.x.size());
  for (int64_t ch = 0; ch < 24; ++ch)
    for (int64_t t = 0; t < kRows; ++t) {
      const auto at = [&](int64_t row) { return static_cast<size_t>(row * 24 + ch); };
      double above = 0, below = 0;
      for (int64_t s = 0; s <= t; ++s) {
        const double weight = std::exp(k[at(s)] + (s == t ? bonus[static_cast<size_t>(ch)] : -std::exp(decay[static_cast<size_t>(ch)]) * static_cast<double>(t - 1 - s)));
        above += weight * v[at(s)], below += weight;
      }
      mixed[at(t)] = above / below * sigmoid(r[at(t)]);
    }
  expect_near(one.run(in.rows, 24, kInputNorm), product(mixed, one["time_mix_output.weight"], 24, 0, 24));
}

/// Peng et al. 2024, "Eagle and Finch": heads of linear attention whose keys decay each at a rate of its own,
/// S_t = diag(w_t) S_(t-1) + k_t^T v_t, and whose newest key is read by a bonus in place of decays: r_t (diag(u) k_t^T v_t + S_(t-1)).
Matrix eagle(const Matrix& r, const Matrix& k, const Matrix& v, const Matrix& log_decay, const Matrix& bonus) {
  Matrix mixed(r.size());
  for (int64_t h = 0; h < kHeads; ++h) {
    const Matrix head = in_chunks(of_head(r, h), of_head(k, h), of_head(v, h), of_head(log_decay, h), kHead, kHead,
                                  [&](int64_t n) { return bonus[static_cast<size_t>(h * kHead + n)]; });
    for (int64_t t = 0; t < kRows; ++t)
      for (int64_t i = 0; i < kHead; ++i) mixed[static_cast<size_t>(t * kHidden + h * kHead + i)] = head[static_cast<size_t>(t * kHead + i)];
  }
  return mixed;
}

double log_decay_of(double x) { return -std::exp(x); }

// RWKV 5.2, whose decays are trained.
TEST(ParallelForms, Rwkv5Chunkwise) {
  TimeMix6 time({.hidden = kHidden, .head_size = kHead});
  Tensors tensors = with(of_heads(), "lerp_", {"k", "v", "r", "g"}, {kHidden});
  tensors = with(std::move(tensors), "", {"decay", "first"}, {kHidden});
  OneMixer one({}, time, with(std::move(tensors), "", {"gate"}, {kHidden, kHidden}));
  const Input in;
  const auto projected = [&](char letter, const char* part) {
    return all(in.blended_by_own(one[fmt::format("time_mix_lerp_{}.weight", letter)]), one[fmt::format("time_mix_{}.weight", part)], kHidden);
  };
  const Matrix gate = projected('g', "gate"), decay = one["time_mix_decay.weight"];
  Matrix log_decay;  // the same in every row
  for (int64_t t = 0; t < kRows; ++t) log_decay.insert(log_decay.end(), decay.begin(), decay.end());
  Matrix mixed = eagle(projected('r', "receptance"), projected('k', "key"), projected('v', "value"), each(log_decay, log_decay_of), one["time_mix_first.weight"]);
  norm_heads(mixed, one["time_mix_ln.weight"], one["time_mix_ln.bias"]);
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] *= silu(gate[i]);
  expect_near(one.run(in.rows, kHidden, kInputNorm), all(mixed, one["time_mix_output.weight"], kHidden));
}

// RWKV 6, whose decays and blends depend on the rows.
TEST(ParallelForms, Rwkv6Chunkwise) {
  constexpr int64_t kBlendRank = 4, kDecayRank = 5;
  TimeMix6 time({.hidden = kHidden, .head_size = kHead, .blend_rank = kBlendRank, .decay_rank = kDecayRank});
  Tensors tensors = with(of_heads(), "lerp_", {"w", "k", "v", "r", "g", "x"}, {kHidden});
  tensors = with(std::move(tensors), "", {"decay", "first"}, {kHidden});
  tensors = with(std::move(tensors), "w1_", {"w", "k", "v", "r", "g"}, {kBlendRank, kHidden});
  tensors = with(std::move(tensors), "", {"w2"}, {5, kHidden, kBlendRank});
  tensors = with(std::move(tensors), "decay_", {"w1"}, {kDecayRank, kHidden});
  tensors = with(std::move(tensors), "decay_", {"w2"}, {kHidden, kDecayRank});
  OneMixer one({}, time, with(std::move(tensors), "", {"gate"}, {kHidden, kHidden}));
  const Input in;
  const auto tanh_of = [](double x) { return std::tanh(x); };
  const Matrix low_input = in.blended(one["time_mix_lerp_x.weight"]), w2 = one["time_mix_w2.weight"];
  const auto blended = [&](char letter, int64_t place) {
    const Matrix low = each(all(low_input, one[fmt::format("time_mix_w1_{}.weight", letter)], kHidden), tanh_of);
    return in.blended(plus(product(low, w2, kBlendRank, place * kHidden, kHidden), one[fmt::format("time_mix_lerp_{}.weight", letter)]));
  };
  const Matrix k = all(blended('k', 1), one["time_mix_key.weight"], kHidden), v = all(blended('v', 2), one["time_mix_value.weight"], kHidden);
  const Matrix r = all(blended('r', 3), one["time_mix_receptance.weight"], kHidden), gate = all(blended('g', 4), one["time_mix_gate.weight"], kHidden);
  const Matrix decay_low = each(all(blended('w', 0), one["time_mix_decay_w1.weight"], kHidden), tanh_of);
  const Matrix decay = plus(all(decay_low, one["time_mix_decay_w2.weight"], kDecayRank), one["time_mix_decay.weight"]);
  Matrix mixed = eagle(r, k, v, each(decay, log_decay_of), one["time_mix_first.weight"]);
  norm_heads(mixed, one["time_mix_ln.weight"], one["time_mix_ln.bias"]);
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] *= silu(gate[i]);
  expect_near(one.run(in.rows, kHidden, kInputNorm), all(mixed, one["time_mix_output.weight"], kHidden));
}

/// One head of the generalized delta rule in chunks: S_t = diag(w_t) S_(t-1) - b[t]^T e_t + k[t]^T v[t], where e_t = c[t] S_(t-1) is what S
/// holds under c[t]; q[t] reads S_t. In a chunk E = C S + (C B^T * L) (-E) + (C K^T * L) V, L strictly below the diagonal: a triangular
/// system, after whose solution the rest is products (Peng et al. 2025, "RWKV-7 Goose"; for one decay per head: Yang et al. 2024, "Gated
/// delta networks"). Returns [kRows, kHead].
Matrix delta_in_chunks(const OfRow& q, const OfRow& k, const OfRow& v, const OfRow& b, const OfRow& c, const OfRow& log_decay) {
  Matrix out(static_cast<size_t>(kRows * kHead)), taken(out.size()), state(kHead * kHead);  // taken: E
  for (int64_t begin = 0; begin < kRows; begin += kChunk) {
    const int64_t end = std::min(kRows, begin + kChunk);
    Matrix sums(kHead);  // of log decays before each row of the chunk, and at its end
    for (int64_t t = begin; t < end; ++t)
      for (int64_t n = 0; n < kHead; ++n) sums.push_back(sums[sums.size() - kHead] + log_decay(t, n));
    const auto until = [&](int64_t t, int64_t n) { return sums[static_cast<size_t>((t - begin) * kHead + n)]; };
    /// What x[t] reads under value i after rows before `last`, whose e are known.
    const auto read = [&](const OfRow& x, int64_t t, int64_t last, int64_t i) {
      double sum = 0;
      for (int64_t n = 0; n < kHead; ++n) sum += x(t, n) * std::exp(until(last, n)) * state[static_cast<size_t>(n * kHead + i)];
      for (int64_t s = begin; s < last; ++s) {
        double with_key = 0, with_taken = 0;
        for (int64_t n = 0; n < kHead; ++n) {
          const double left = x(t, n) * std::exp(until(last, n) - until(s + 1, n));
          with_key += left * k(s, n), with_taken += left * b(s, n);
        }
        sum += with_key * v(s, i) - with_taken * taken[static_cast<size_t>(s * kHead + i)];
      }
      return sum;
    };
    for (int64_t t = begin; t < end; ++t)  // by forward substitution
      for (int64_t i = 0; i < kHead; ++i) taken[static_cast<size_t>(t * kHead + i)] = read(c, t, t, i);
    for (int64_t t = begin; t < end; ++t)
      for (int64_t i = 0; i < kHead; ++i) out[static_cast<size_t>(t * kHead + i)] = read(q, t, t + 1, i);
    for (int64_t n = 0; n < kHead; ++n)
      for (int64_t i = 0; i < kHead; ++i) {
        double& held = state[static_cast<size_t>(n * kHead + i)];
        held *= std::exp(until(end, n));
        for (int64_t s = begin; s < end; ++s)
          held += std::exp(until(end, n) - until(s + 1, n)) * (k(s, n) * v(s, i) - b(s, n) * taken[static_cast<size_t>(s * kHead + i)]);
      }
  }
  return out;
}

TEST(ParallelForms, Rwkv7Triangular) {
  for (const bool first : {true, false}) {
    SCOPED_TRACE(first ? "the first layer" : "a later layer");
    TimeMix7Config c{.hidden = kHidden, .head_size = kHead, .decay_rank = 5, .rate_rank = 4, .value_rank = 3, .gate_rank = 6, .first = first};
    c.first_values = std::make_shared<std::vector<float>>(random_rows(kHidden, 5));
    const Matrix shared(c.first_values->begin(), c.first_values->end());
    TimeMix7 time(c);
    Tensors tensors = with(of_heads(), "lerp_", {"r", "w", "k", "v", "a", "g"}, {kHidden});
    tensors = with(std::move(tensors), "", {"k_k", "k_a", "r_k", "w0", "a0"}, {kHidden});
    for (const auto& [letter, rank] : {std::pair{"w", c.decay_rank}, {"a", c.rate_rank}, {"v", c.value_rank}, {"g", c.gate_rank}}) {
      if (first && *letter == 'v') continue;
      if (*letter == 'v') tensors = with(std::move(tensors), "", {"v0"}, {kHidden});
      tensors = with(std::move(tensors), letter, {"1"}, {rank, kHidden});
      tensors = with(std::move(tensors), letter, {"2"}, {kHidden, rank});
    }
    OneMixer one({}, time, tensors);
    const Input in;
    const auto weight = [&](std::string_view name) { return one[fmt::format("time_mix_{}.weight", name)]; };
    const auto blended = [&](char letter) { return in.blended(weight(fmt::format("lerp_{}", letter))); };
    const auto low_rank = [&](char letter, int64_t rank, double (*between)(double)) {
      return all(each(all(blended(letter), weight(fmt::format("{}1", letter)), kHidden), between), weight(fmt::format("{}2", letter)), rank);
    };
    const auto same = [](double x) { return x; };
    const Matrix r = all(blended('r'), weight("receptance"), kHidden), gate = low_rank('g', c.gate_rank, sigmoid);
    const Matrix rate = each(plus(low_rank('a', c.rate_rank, same), weight("a0")), sigmoid);
    const Matrix log_decay = each(plus(low_rank('w', c.decay_rank, [](double x) { return std::tanh(x); }), weight("w0")),
                                  [](double x) { return -std::exp(-0.5) * sigmoid(x); });
    Matrix k = all(blended('k'), weight("key"), kHidden), v = all(blended('v'), weight("value"), kHidden);
    if (!first) {
      const Matrix mix = plus(low_rank('v', c.value_rank, same), weight("v0"));
      for (size_t i = 0; i < v.size(); ++i) v[i] += (shared[i] - v[i]) * sigmoid(mix[i]);
    }
    const Matrix k_k = weight("k_k"), k_a = weight("k_a"), r_k = weight("r_k");
    Matrix unit(k.size()), replaced(k.size());  // kappa of length 1, and a of it
    for (size_t at = 0; at < k.size(); at += kHead) {
      double squares = 0;
      for (size_t i = at; i < at + kHead; ++i) unit[i] = k[i] * k_k[i % kHidden], squares += unit[i] * unit[i];
      for (size_t i = at; i < at + kHead; ++i) unit[i] /= std::sqrt(squares), replaced[i] = rate[i] * unit[i];
    }
    for (size_t i = 0; i < k.size(); ++i) k[i] *= 1 + (rate[i] - 1) * k_a[i % kHidden];
    Matrix mixed(k.size());
    for (int64_t h = 0; h < kHeads; ++h) {
      const Matrix head = delta_in_chunks(of_head(r, h), of_head(k, h), of_head(v, h), of_head(replaced, h), of_head(unit, h), of_head(log_decay, h));
      for (int64_t t = 0; t < kRows; ++t)
        for (int64_t i = 0; i < kHead; ++i) mixed[static_cast<size_t>(t * kHidden + h * kHead + i)] = head[static_cast<size_t>(t * kHead + i)];
    }
    norm_heads(mixed, weight("ln"), one["time_mix_ln.bias"]);
    for (size_t at = 0; at < k.size(); at += kHead) {
      double bonus = 0;
      for (size_t i = at; i < at + kHead; ++i) bonus += r[i] * k[i] * r_k[i % kHidden];
      for (size_t i = at; i < at + kHead; ++i) mixed[i] = (mixed[i] + bonus * v[i]) * gate[i];
    }
    expect_near(one.run(in.rows, kHidden, kInputNorm), all(mixed, weight("output"), kHidden));
  }
}

}  // namespace
}  // namespace sluice
