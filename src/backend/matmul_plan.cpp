#include "backend/matmul_plan.h"

#include "backend/op_table.h"

namespace sluice {
namespace {

int class_of(int64_t value, const auto& bounds) {
  size_t c = 0;
  while (c + 1 < bounds.size() && value > bounds[c]) ++c;
  return static_cast<int>(c);
}

}  // namespace

int row_class(int64_t rows) { return class_of(rows, kRowClasses); }
int depth_class(int64_t k) { return class_of(k, kDepthClasses); }

MatmulPlans default_plans(const OpTable& table) {
  const int gemm_rows = 3 * table.group_rows[static_cast<int>(ActForm::q8)];
  MatmulPlans plans;
  for (auto& of_type : plans.plans)
    for (auto& of_depth : of_type)
      for (size_t c = 0; c < kRowClasses.size(); ++c) {
        const int fewest = c == 0 ? 1 : kRowClasses[c - 1] + 1;
        of_depth[c].way = fewest <= kGemvRows  ? MatmulWay::gemv
                          : fewest < gemm_rows ? MatmulWay::flat
                                               : MatmulWay::gemm;
      }
  return plans;
}

}  // namespace sluice
