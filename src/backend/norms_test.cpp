// Norms, activations and element-wise work against float64, and equal bits on every table and number of threads.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/paged_kv.h"

namespace sluice {
namespace {

using test::normals;
using test::same_bits;
using test::tables;

/// f(ops, values) on every table, with 1 and 3 threads: the values that it gives all of them.
std::vector<float> on_all_tables(const std::vector<float>& values, const std::function<void(const Ops&, std::vector<float>&)>& f) {
  std::vector<float> first;
  for (const OpTable* table : tables())
    for (int threads : {1, 3}) {
      ThreadPool pool(threads);
      auto out = values;
      f(Ops(*table, pool), out);
      if (first.empty()) first = out;
      EXPECT_TRUE(same_bits(out, first)) << table->isa << ", " << threads << " threads";
    }
  return first;
}

TEST(Norms, EqualFloat64WithAndWithoutGainAndBias) {
  Rng rng(1);
  for (const Norm::Kind kind : {Norm::Kind::rms, Norm::Kind::layer})
    for (int cols : {1, 15, 16, 17, 64, 896, 2051})
      for (int form = 0; form < 4; ++form) {
        const int rows = 37;
        auto x = normals(rng, static_cast<size_t>(rows * cols), 3);
        for (float& v : x) v += 2;  // a mean that matters
        const auto gain = normals(rng, static_cast<size_t>(cols)), bias = normals(rng, static_cast<size_t>(cols));
        const Norm norm{kind, form & 1 ? gain.data() : nullptr, form & 2 ? bias.data() : nullptr, 1e-5f};
        const auto got = on_all_tables(x, [&](const Ops& ops, std::vector<float>& out) {
          ops.norm(x.data(), norm, rows, cols, out.data());
          std::vector<float> in_place = x;
          ops.norm(in_place.data(), norm, rows, cols, in_place.data());
          EXPECT_TRUE(same_bits(out, in_place));
        });
        for (int r = 0; r < rows; ++r) {
          const float* row = x.data() + r * cols;
          double sum = 0, squares = 0;
          for (int c = 0; c < cols; ++c) sum += static_cast<double>(row[c]);
          const double mean = kind == Norm::Kind::layer ? sum / cols : 0;
          for (int c = 0; c < cols; ++c) squares += std::pow(static_cast<double>(row[c]) - mean, 2);
          for (int c = 0; c < cols; ++c) {
            const double normed = (static_cast<double>(row[c]) - mean) / std::sqrt(squares / cols + static_cast<double>(1e-5f)) *
                                  (norm.gain != nullptr ? static_cast<double>(gain[static_cast<size_t>(c)]) : 1);
            const double add = norm.bias != nullptr ? static_cast<double>(bias[static_cast<size_t>(c)]) : 0;
            ASSERT_NEAR(static_cast<double>(got[static_cast<size_t>(r * cols + c)]), normed + add,
                        2.5e-7 * (std::abs(normed) + std::abs(add)) + 1e-30)
                << cols << " columns, form " << form;
          }
        }
      }
}

TEST(Norms, OfAConstantRowIsItsBias) {
  const std::vector<float> x(100, 3.25f), bias(100, 0.5f);
  const auto got = on_all_tables(x, [&](const Ops& ops, std::vector<float>& out) {
    ops.norm(x.data(), {Norm::Kind::layer, nullptr, bias.data(), 1e-5f}, 1, 100, out.data());
  });
  EXPECT_EQ(got, bias);
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct ActivationCase {
  const char* name;
  Activation act;
  double (*f)(double);
  double relative, absolute;  // of the error
};

const ActivationCase kActivations[] = {
    {"silu", Activation::silu, [](double x) { return x * sigmoid(x); }, 3.5e-7, 1e-36},
    {"gelu", Activation::gelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }, 2.5e-7, 1e-7},
    {"gelu_tanh", Activation::gelu_tanh,
     [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))); }, 3.5e-7,
     4e-7},
    {"relu", Activation::relu, [](double x) { return x > 0 ? x : 0; }, 0, 0},
    {"relu2", Activation::relu2, [](double x) { return x > 0 ? x * x : 0; }, 1e-7, 1e-37},
    {"quick_gelu", Activation::quick_gelu, [](double x) { return x * sigmoid(1.702 * x); }, 3.5e-7, 4e-7},
};

class Activations : public testing::TestWithParam<ActivationCase> {};
INSTANTIATE_TEST_SUITE_P(All, Activations, testing::ValuesIn(kActivations),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Activations, AreAccurateOverTheWholeRange) {
  const ActivationCase& c = GetParam();
  std::vector<float> x;
  for (float v = -120; v < 120; v += 0.0037f) x.push_back(v);
  for (float v : {0.0f, -0.0f, 1e-30f, -1e-30f, 1e18f, -1e18f, -1000.0f}) x.push_back(v);
  const std::vector<float> up(x.size(), 1.5f);
  const auto count = static_cast<int64_t>(x.size());
  const auto plain = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.activate(v.data(), count, c.act); });
  const auto gated = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.gate(v.data(), up.data(), count, c.act); });
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = c.f(static_cast<double>(x[i]));
    ASSERT_NEAR(static_cast<double>(plain[i]), want, c.relative * std::abs(want) + c.absolute) << x[i];
    ASSERT_EQ(gated[i], plain[i] * 1.5f) << x[i];
  }
  ThreadPool pool(1);
  for (const OpTable* table : tables()) {
    std::vector<float> nan(20, std::numeric_limits<float>::quiet_NaN());
    Ops(*table, pool).activate(nan.data(), 20, c.act);
    for (const float v : nan) EXPECT_TRUE(std::isnan(v)) << "a NaN must show";
  }
}

TEST(Activation, SiluOfTheLargestValues) {
  const std::vector<float> x = {1e30f, -1e30f, 3e38f};
  const auto got = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.activate(v.data(), 3, Activation::silu); });
  EXPECT_EQ(got, (std::vector<float>{1e30f, 0, 3e38f}));
}

TEST(Activation, SwigluOaiClampsBothSides) {
  Rng rng(5);
  const auto g = normals(rng, 5000, 6), u = normals(rng, 5000, 6);
  for (const SwigluParams params : {SwigluParams{}, SwigluParams{1.0f, 3.0f}}) {
    const auto got = on_all_tables(g, [&](const Ops& ops, std::vector<float>& v) {
      ops.gate(v.data(), u.data(), 5000, Activation::swiglu_oai, params);
    });
    int clamped = 0;
    for (size_t i = 0; i < g.size(); ++i) {
      const double limit = static_cast<double>(params.limit), a = std::min<double>(g[i], limit);
      const double b = std::min(std::max<double>(u[i], -limit), limit);
      const double want = (b + 1) * a * sigmoid(static_cast<double>(params.alpha) * a);
      // b + 1 cancels where b is near -1.
      ASSERT_NEAR(static_cast<double>(got[i]), want, 5e-7 * (std::abs(want) + std::abs(a))) << g[i] << " " << u[i];
      clamped += g[i] > params.limit || std::abs(u[i]) > params.limit;
    }
    EXPECT_GT(clamped, 100);
  }
  ThreadPool pool(1);
  float one = 1;
  EXPECT_DEATH(Ops(kRefOps, pool).activate(&one, 1, Activation::swiglu_oai), "where there is no gate");
}

TEST(Elementwise, AddScaleAndTheirSum) {
  Rng rng(3);
  for (size_t n : {1u, 7u, 33u, 50001u}) {
    const auto x = normals(rng, n), y = normals(rng, n);
    const auto count = static_cast<int64_t>(n);
    const auto sum = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.add(v.data(), y.data(), count); });
    const auto scaled = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.scale(v.data(), 0.22f, count); });
    const auto both = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.add_scaled(v.data(), y.data(), 0.22f, count); });
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(sum[i], x[i] + y[i]);
      ASSERT_EQ(scaled[i], x[i] * 0.22f);
      ASSERT_EQ(both[i], std::fma(0.22f, y[i], x[i]));
    }
  }
}

TEST(Elementwise, SoftcapIsTanhToTheLastPlaces) {
  std::vector<float> x = {0.0f, -0.0f, 1e-30f, -1e-30f, 1e-5f, 1e30f, -1e30f, std::numeric_limits<float>::infinity()};
  for (float v = -400; v < 400; v += 0.013f) x.push_back(v);
  for (float v = -0.1f; v < 0.1f; v += 0.00011f) x.push_back(v);
  for (const float cap : {30.0f, 50.0f, 1.0f}) {
    const auto got = on_all_tables(x, [&](const Ops& ops, std::vector<float>& v) { ops.softcap(v.data(), cap, static_cast<int64_t>(v.size())); });
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = static_cast<double>(cap) * std::tanh(static_cast<double>(x[i]) / static_cast<double>(cap));
      ASSERT_NEAR(static_cast<double>(got[i]), want, 4e-7 * std::abs(want)) << x[i] << " under " << cap;
      ASSERT_LE(std::abs(got[i]), cap);
    }
  }
  ThreadPool pool(1);
  for (const OpTable* table : tables()) {
    std::vector<float> nan(20, std::numeric_limits<float>::quiet_NaN());
    Ops(*table, pool).softcap(nan.data(), 30, 20);
    for (const float v : nan) EXPECT_TRUE(std::isnan(v)) << "a NaN must show";
  }
}

}  // namespace
}  // namespace sluice
