#pragma once
// The dispatcher of the matmul kernels: which MatmulPlan a product takes, by the type of its weights, its k and its rows.
//
// A table of plans is a guess (default_plans) or measured on the machine (tune_matmul, matmul_tuning.h). A plan only says in
// what order memory is read and where weights are unpacked, so no table can change a bit of a result.

#include <array>
#include <cstdint>
#include <limits>

#include "backend/kernel_args.h"
#include "tensor/dtype.h"

namespace sluice {

struct OpTable;

/// Rows whose products are alike: 1, 2, up to 6, 12, 17, 32, and more. A row count belongs to the first class that holds it.
constexpr std::array<int, 7> kRowClasses = {1, 2, 6, 12, 17, 32, kMaxTileRows};
int row_class(int64_t rows);

/// The same of the length k of a row of weights: up to 1024, and longer.
constexpr std::array<int64_t, 2> kDepthClasses = {1024, std::numeric_limits<int64_t>::max()};
int depth_class(int64_t k);

// Not beside MatmulPlan, whose header holds no functions.
inline bool operator==(const MatmulPlan& a, const MatmulPlan& b) { return a.way == b.way && a.ahead_lines == b.ahead_lines; }

struct MatmulPlans {
  using OfType = std::array<std::array<MatmulPlan, kRowClasses.size()>, kDepthClasses.size()>;
  std::array<OfType, kNumDTypes> plans;

  MatmulPlan& of(DType dtype, int64_t k, int64_t rows) {
    return plans[static_cast<size_t>(dtype)][static_cast<size_t>(depth_class(k))][static_cast<size_t>(row_class(rows))];
  }
  const MatmulPlan& of(DType dtype, int64_t k, int64_t rows) const {
    return const_cast<MatmulPlans*>(this)->of(dtype, k, rows);
  }
};

/// Up to two rows gemv, classes whose fewest rows are three groups or more gemm, between them flat.
MatmulPlans default_plans(const OpTable& table);

}  // namespace sluice
