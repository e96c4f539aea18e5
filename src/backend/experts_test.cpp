// Experts against one MLP per row and expert, added up in the row's order: the same bits on every table, of any batch and number of
// threads.

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/row_ops.h"
#include "tests/support/matmul_cases.h"

namespace sluice {
namespace {

struct Mixture {
  std::vector<Weights> gate, up, down;
  std::vector<PackedMatrix> gates, ups, downs;
  std::vector<float> gate_bias, up_bias, down_bias;
  Experts experts;

  Mixture(int count, DType upper, DType lower, int64_t k, int64_t ffn, bool gated, bool biased) {
    for (int e = 0; e < count; ++e) {
      const auto seed = static_cast<uint64_t>(3 * e + 1);
      if (gated) gate.push_back(make_weights(upper, ffn, k, seed));
      up.push_back(make_weights(upper, ffn, k, seed + 1));
      down.push_back(make_weights(lower, k, ffn, seed + 2));
    }
    for (const auto& [from, to] : {std::pair(&gate, &gates), std::pair(&up, &ups), std::pair(&down, &downs)})
      for (const Weights& w : *from) to->push_back(w.matrix());
    experts.gate = gates, experts.up = ups, experts.down = downs;
    if (!biased) return;
    if (gated) gate_bias = make_rows(count, ffn, 91), experts.gate_bias = gate_bias.data();
    up_bias = make_rows(count, ffn, 92), experts.up_bias = up_bias.data();
    down_bias = make_rows(count, k, 93), experts.down_bias = down_bias.data();
  }
};

struct ChosenExperts {
  std::vector<int32_t> ids;
  std::vector<float> weights;
  int top_k;

  ChosenExperts(Rng& rng, int64_t rows, int experts, int k) : top_k(k) {
    std::vector<int32_t> all(static_cast<size_t>(experts));
    std::iota(all.begin(), all.end(), 0);
    for (int64_t r = 0; r < rows; ++r)
      for (int i = 0; i < k; ++i) {
        std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(rng.between(i, experts - 1))]);
        ids.push_back(all[static_cast<size_t>(i)]);
        weights.push_back(static_cast<float>(rng.next_normal()));
      }
  }
  ExpertChoice from(int64_t row) const { return {ids.data() + row * top_k, weights.data() + row * top_k, top_k}; }
};

using ExpertProducts = Matmul;
INSTANTIATE_TEST_SUITE_P(Tables, ExpertProducts, testing::ValuesIn(all_cases()), case_name);

TEST_P(ExpertProducts, EqualOneMlpPerRowAndExpert) {
  const bool wide = weight_format(dtype())->block_elems > 32;
  const int64_t k = 256, ffn = wide ? 512 : 160;
  const int count = 6;
  const std::vector<float> gain = make_rows(1, k, 2);
  Rng rng(71);
  int form = 0;
  for (const DType down_type : {dtype(), DType::q8_0, DType::bf16}) {
    Mixture m(count, dtype(), down_type, k, ffn, form != 1, form == 1);
    m.experts.act = form == 1 ? Activation::gelu_tanh : form == 0 ? Activation::silu : Activation::swiglu_oai;
    m.experts.adds = form == 0;
    for (const int64_t rows : {int64_t{1}, int64_t{7}, many_rows(table())}) {
      if (rows > 7 && table().unproven) continue;  // emulated, slowly
      const ChosenExperts choice(rng, rows, count, 3);
      const std::vector<float> x = make_rows(rows, k, 4);
      const MatmulIn rows_in{x.data(), rows, k, {Norm::Kind::rms, gain.data(), nullptr, 1e-5f}};
      std::vector<float> want = x, got = x, alone = x;
      const Ops one(table(), pool_of(1));
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<float> sum(static_cast<size_t>(k)), y(sum.size());
        for (int i = 0; i < 3; ++i) {
          const auto pair = static_cast<size_t>(r * 3 + i), e = static_cast<size_t>(choice.ids[pair]);
          const auto bias = [&](const std::vector<float>& b, int64_t n) { return b.empty() ? nullptr : b.data() + static_cast<int64_t>(e) * n; };
          Mlp mlp{m.gates.empty() ? nullptr : &m.gates[e], &m.ups[e], &m.downs[e], bias(m.gate_bias, ffn), bias(m.up_bias, ffn),
                  bias(m.down_bias, k), m.experts.act};
          mlp.adds = false;
          MatmulIn row_in = rows_in;
          row_in.x = x.data() + r * k;
          row_in.rows = 1;
          one.mlp(row_in, mlp, y.data());
          for (size_t c = 0; c < y.size(); ++c) sum[c] = std::fma(choice.weights[pair], y[c], sum[c]);
        }
        for (int64_t c = 0; c < k; ++c) {
          float& to = want[static_cast<size_t>(r * k + c)];
          to = m.experts.adds ? to + sum[static_cast<size_t>(c)] : sum[static_cast<size_t>(c)];
        }
      }
      std::vector<int64_t> rows_of(count, 5);
      Ops(table(), pool_of(3)).experts(rows_in, m.experts, choice.from(0), got.data(), rows_of);
      ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << dtype_name(down_type) << ", " << rows << " rows, form " << form;
      for (int e = 0; e < count; ++e)
        EXPECT_EQ(rows_of[static_cast<size_t>(e)], 5 + std::ranges::count(choice.ids, e));
      // Rows from the middle on, without the others.
      const int64_t half = rows / 2;
      MatmulIn rest = rows_in;
      rest.x += half * k;
      rest.rows -= half;
      Ops(table(), pool_of(2)).experts(rest, m.experts, choice.from(half), alone.data() + half * k);
      ASSERT_TRUE(same_bits(alone.data() + half * k, want.data() + half * k, static_cast<size_t>(rest.rows * k)));
    }
    ++form;
  }
}

// From the definition, in float64.
TEST(ExpertsInFloat64, EqualTheSumOfTheirMlps) {
  const int64_t k = 40, ffn = 50, rows = 9;
  const int count = 4, top_k = 2;
  Mixture m(count, DType::f32, DType::f32, k, ffn, true, true);
  m.experts.adds = false;
  Rng rng(73);
  const ChosenExperts choice(rng, rows, count, top_k);
  std::vector<float> x(static_cast<size_t>(rows * k)), y(x.size());
  for (float& v : x) v = static_cast<float>(rng.next_normal() * 0.1);
  Ops(*op_tables().back(), pool_of(2)).experts({x.data(), rows, k}, m.experts, choice.from(0), y.data());
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<double> sum(static_cast<size_t>(k)), size(static_cast<size_t>(k));
    for (int i = 0; i < top_k; ++i) {
      const auto pair = static_cast<size_t>(r * top_k + i), e = static_cast<size_t>(choice.ids[pair]);
      const auto g = m.gate[e].decoded(), u = m.up[e].decoded(), d = m.down[e].decoded();
      const auto dot = [&](const std::vector<float>& w, int64_t row, auto at, int64_t n) {
        double s = 0;
        for (int64_t c = 0; c < n; ++c) s += static_cast<double>(w[static_cast<size_t>(row * n + c)]) * at(c);
        return s;
      };
      const auto x_at = [&](int64_t c) { return static_cast<double>(x[static_cast<size_t>(r * k + c)]); };
      std::vector<double> h;
      for (int64_t f = 0; f < ffn; ++f) {
        const auto b = static_cast<size_t>(static_cast<int64_t>(e) * ffn + f);
        const double a = dot(g, f, x_at, k) + static_cast<double>(m.gate_bias[b]);
        h.push_back(a / (1 + std::exp(-a)) * (dot(u, f, x_at, k) + static_cast<double>(m.up_bias[b])));
      }
      for (int64_t c = 0; c < k; ++c) {
        const double out = dot(d, c, [&](int64_t f) { return h[static_cast<size_t>(f)]; }, ffn) +
                           static_cast<double>(m.down_bias[static_cast<size_t>(static_cast<int64_t>(e) * k + c)]);
        sum[static_cast<size_t>(c)] += static_cast<double>(choice.weights[pair]) * out;
        size[static_cast<size_t>(c)] += std::abs(out) + 1;
      }
    }
    for (int64_t c = 0; c < k; ++c)
      ASSERT_NEAR(static_cast<double>(y[static_cast<size_t>(r * k + c)]), sum[static_cast<size_t>(c)], 1e-4 * size[static_cast<size_t>(c)]);
  }
}

TEST(ExpertsRefuse, AnExpertThatThereIsNot) {
  Mixture m(2, DType::f32, DType::f32, 8, 8, true, false);
  const std::vector<int32_t> ids{2};
  const std::vector<float> weights{1}, x(8);
  std::vector<float> y(8);
  EXPECT_DEATH(Ops(kRefOps, pool_of(1)).experts({x.data(), 1, 8}, m.experts, {ids.data(), weights.data(), 1}, y.data()), "expert 2 of 2");
}

}  // namespace
}  // namespace sluice
