#pragma once
// Which MatmulPlan is the fastest on this machine, measured (docs/adr/0007).
//
// Each candidate multiplies weights that stand in no cache, half of them an MLP's gate and up, half a product by
// itself, in turn with all others, so that what else the machine does meets them alike. What is compared is a
// candidate's time against that of the usual plan in the same round. This is done with all threads, which share the
// memory's bandwidth, and with one, which has it for itself: a shared machine gives its guests now less and now more of
// it, and a plan that is good at one only would be a loss on other days. The usual plan stays unless another is clearly
// faster over both and slower in neither.

#include <functional>
#include <span>
#include <vector>

#include "backend/matmul_plan.h"
#include "base/result.h"
#include "base/thread_pool.h"

namespace sluice {

/// Raised whenever kernels, classes or candidates change so that older measurements no longer hold.
constexpr int kMatmulTuningVersion = 2;

/// What was measured for one class of products.
struct TunedPlan {
  DType dtype = DType::f32;
  int depth_class = 0, row_class = 0;
  MatmulPlan usual, chosen;            // default_plans()' choice, and the one to take
  double usual_us = 0, chosen_us = 0;  // medians for one pass of the measurement, all threads
  double gain = 1, gain_alone = 1;     // medians of usual / chosen within the rounds: all threads, and one
};

struct TuningBudget {
  size_t cold_bytes = 0;                // weights gone through in turn; 0: twice the last-level cache, at least 64 MiB
  size_t pass_bytes = size_t{8} << 20;  // most weights of one pass
  double pass_operations = 5e8;         // most multiply-adds of one pass
  int least_rounds = 5, most_rounds = 51;
  double seconds = 0.004;    // a candidate, class and thread count, once there were the fewest rounds
  double least_gain = 1.04;  // geometric mean of both, of a plan that replaces the usual one
  double most_loss = 0.02;   // in one of both
};

/// Whether a table's kernel for a type reads its plan.
bool reads_plan(const OpTable& table, DType dtype);
/// The plans that make a difference for a class, the usual one first.
std::vector<MatmulPlan> candidate_plans(const OpTable& table, DType dtype, int row_class);

/// Called before each class with what is done of all.
using TuningProgress = std::function<void(int done, int all)>;

/// Measures every class where there is a choice; about half a second a block type with the usual budget.
/// resource_exhausted where the weights would take more than a quarter of the memory that is available.
Result<std::vector<TunedPlan>> tune_matmul(const OpTable& table, ThreadPool& pool, std::span<const DType> dtypes,
                                           const TuningBudget& budget = {}, const TuningProgress& progress = {});

/// The default plans, with the measured ones in their places.
MatmulPlans with_tuned(const OpTable& table, std::span<const TunedPlan> tuned);

/// "gemv", "flat" or "gemm".
const char* way_name(MatmulWay way);

}  // namespace sluice
