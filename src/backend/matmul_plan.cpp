#include "backend/matmul_plan.h"

#include "backend/op_table.h"

namespace sluice {

int row_class(int64_t rows) {
  int c = 0;
  while (c + 1 < static_cast<int>(kRowClasses.size()) && rows > kRowClasses[static_cast<size_t>(c)]) ++c;
  return c;
}

MatmulPlans default_plans(const OpTable& table) {
  const int gemm_rows = 3 * table.group_rows[static_cast<int>(ActForm::q8)];
  MatmulPlans plans;
  for (auto& of_type : plans.plans)
    for (size_t c = 0; c < kRowClasses.size(); ++c)
      of_type[c].way = kRowClasses[c] <= kGemvRows  ? MatmulWay::gemv
                       : kRowClasses[c] < gemm_rows ? MatmulWay::flat
                                                    : MatmulWay::gemm;
  return plans;
}

}  // namespace sluice
