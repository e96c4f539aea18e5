// What goes with a product: norms before, residuals and gates after, several outputs, and plans; each in the bits of its parts.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "backend/matmul_tuning.h"
#include "backend/row_ops.h"
#include "tests/support/matmul_cases.h"

namespace sluice {
namespace {

using FusedMatmul = Matmul;

INSTANTIATE_TEST_SUITE_P(Tables, FusedMatmul, testing::ValuesIn(all_cases()), case_name);

// Also for rows that a plan is no candidate for, and for k shorter than a plan asks ahead.
TEST_P(FusedMatmul, EveryPlanGivesTheSameBits) {
  const int64_t n = 150;
  std::vector<MatmulPlan> all;
  for (int row_class = 0; row_class < static_cast<int>(kRowClasses.size()); ++row_class)
    for (const MatmulPlan& plan : candidate_plans(table(), dtype(), row_class))
      if (std::ranges::find(all, plan) == all.end()) all.push_back(plan);
  for (const int64_t k : {lengths(dtype()).front(), lengths(dtype()).back()}) {
    const Weights w = make_weights(dtype(), n, k, 21);
    const std::vector<float> x = make_rows(40, k, 22);
    const std::vector<float> want = multiply(reference_of(table()), 1, w, x.data(), 40, nullptr);
    const PackedMatrix m = w.matrix();
    for (const MatmulPlan& plan : all) {
      MatmulPlans plans;
      for (auto& of_depth : plans.plans[static_cast<size_t>(dtype())]) of_depth.fill(plan);
      Ops ops(table(), pool_of(2));
      ops.set_plans(plans);
      for (const int64_t rows : {1, 2, 6, 13, 40}) {
        if (rows > 6 && table().unproven) continue;  // emulated, slowly, by kernels that read no plan
        std::vector<float> got(static_cast<size_t>(rows * n));
        const MatmulOut out{&m, nullptr, got.data(), n};
        ops.matmul({x.data(), rows, k}, {&out, 1});
        ASSERT_TRUE(same_bits(got.data(), want.data(), got.size()))
            << way_name(plan.way) << ", " << int{plan.ahead_lines} << " lines ahead, k " << k << ", " << rows << " rows";
      }
    }
  }
}

TEST_P(FusedMatmul, NormAndResidualInOnePassEqualTheirOwnOps) {
  const int64_t k = 512, n = 150;
  const Weights w = make_weights(dtype(), n, k, 1);
  const PackedMatrix m = w.matrix();
  const std::vector<float> gain = make_rows(1, k, 2), bias = make_rows(1, n, 3);
  for (const int64_t rows : {1, 7, 140}) {
    const Norm norm{rows == 7 ? Norm::Kind::layer : Norm::Kind::rms, gain.data(), nullptr, 1e-5f};
    const Ops ops(table(), pool_of(3));
    const std::vector<float> x = make_rows(rows, k, 4), residual = make_rows(rows, n, 5);
    std::vector<float> normed(x.size()), want = residual, got = residual;
    ops.norm(x.data(), norm, rows, k, normed.data());
    const std::vector<float> product = multiply(table(), 1, w, normed.data(), rows, bias.data());
    table().row->add(want.data(), product.data(), rows * n);
    const MatmulOut out{&m, bias.data(), got.data(), n, true};
    ops.matmul({x.data(), rows, k, norm}, {&out, 1});
    ASSERT_TRUE(same_bits(got.data(), want.data(), got.size())) << rows << " rows";
  }
}

// Gated and plain, added to y or set; the gate, up and down of types that read rows in different forms too.
TEST_P(FusedMatmul, MlpEqualsItsProducts) {
  // A last task narrower than the others: whole blocks, but no whole register tile of columns.
  const int64_t k = 256, ffn = weight_format(dtype())->block_elems > 32 ? 768 : 544;
  const std::vector<float> gain = make_rows(1, k, 2), up_bias = make_rows(1, ffn, 3);
  const Norm norm{Norm::Kind::rms, gain.data(), nullptr, 1e-5f};
  const Weights gate = make_weights(dtype(), ffn, k, 1);
  int form = 0;
  for (const auto& [up_type, down_type] : {std::pair(dtype(), dtype()), std::pair(dtype(), DType::q8_0),
                                           std::pair(dtype(), DType::f32), std::pair(DType::q8_0, DType::bf16)}) {
    const Weights up = make_weights(up_type, ffn, k, 2), down = make_weights(down_type, k, ffn, 3);
    const PackedMatrix g = gate.matrix(), u = up.matrix(), d = down.matrix();
    for (const int64_t rows : {int64_t{1}, int64_t{9}, many_rows(table())}) {
      const int kind = (form + form / 3) % 3;  // each of each number of rows
      const bool gated = kind != 2, adds = form % 2 == 0;
      const Activation act = gated ? (kind == 0 ? Activation::silu : Activation::swiglu_oai) : Activation::gelu;
      ++form;
      const Ops ops(table(), pool_of(3));
      const std::vector<float> x = make_rows(rows, k, 4);
      std::vector<float> normed(x.size()), want = x, got = x;
      ops.norm(x.data(), norm, rows, k, normed.data());
      std::vector<float> hidden = multiply(table(), 1, gated ? gate : up, normed.data(), rows, gated ? nullptr : up_bias.data());
      if (gated) {
        const std::vector<float> upper = multiply(table(), 2, up, normed.data(), rows, up_bias.data());
        ops.gate(hidden.data(), upper.data(), rows * ffn, act);
      } else {
        ops.activate(hidden.data(), rows * ffn, act);
      }
      const std::vector<float> product = multiply(table(), 1, down, hidden.data(), rows, nullptr);
      if (adds)
        table().row->add(want.data(), product.data(), rows * k);
      else
        want = product;
      Mlp mlp{gated ? &g : nullptr, &u, &d, nullptr, up_bias.data(), nullptr, act};
      mlp.adds = adds;
      ops.mlp({x.data(), rows, k, norm}, mlp, got.data());
      ASSERT_TRUE(same_bits(got.data(), want.data(), got.size()))
          << dtype_name(up_type) << ", " << dtype_name(down_type) << ", " << rows << " rows" << (gated ? ", gated" : "");
    }
  }
}

TEST(MatmulOuts, SeveralOutputsOfMixedTypesAndStridesInOneCall) {
  const int64_t k = 512;
  const DType types[] = {DType::q4_k, DType::f32, DType::q8_0, DType::bf16};
  const int64_t n[] = {70, 16, 5, 33};
  for (const OpTable* table : op_tables()) {
    if (!lacks_even_emulated(*table).empty()) continue;
    for (const int64_t rows : {1, 5, 150}) {
      const std::vector<float> x = make_rows(rows, k, 4);
      std::vector<Weights> w;
      std::vector<PackedMatrix> m;
      std::vector<std::vector<float>> y;
      std::vector<MatmulOut> outs;
      for (int i = 0; i < 4; ++i) w.push_back(make_weights(types[i], n[i], k, static_cast<uint64_t>(i)));
      for (int i = 0; i < 4; ++i) {
        m.push_back(w[i].matrix());
        y.emplace_back(static_cast<size_t>(rows * (n[i] + 3)), -7.0f);
      }
      for (int i = 0; i < 4; ++i) outs.push_back({&m[i], nullptr, y[i].data(), n[i] + 3});
      Ops(*table, pool_of(3)).matmul({x.data(), rows, k}, outs);
      for (int i = 0; i < 4; ++i) {
        const std::vector<float> want = multiply(reference_of(*table), 1, w[i], x.data(), rows, nullptr);
        for (int64_t r = 0; r < rows; ++r) {
          ASSERT_TRUE(same_bits(&y[i][r * (n[i] + 3)], &want[r * n[i]], n[i])) << table->isa << " output " << i;
          for (int64_t pad = n[i]; pad < n[i] + 3; ++pad) ASSERT_EQ(y[i][r * (n[i] + 3) + pad], -7.0f);
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice
