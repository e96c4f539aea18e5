#pragma once
// Which plans the products of a process take: measured once per machine, kept in the user's cache, or the defaults.

#include <functional>
#include <string>
#include <vector>

#include "backend/matmul_tuning.h"
#include "backend/matmul_tuning_file.h"
#include "backend/op_table.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "weights/tensor_source.h"

namespace sluice {

enum class TuningMode { measure, cached, off };  // --matmul-tuning: auto, cached, off
Result<TuningMode> parse_tuning_mode(const std::string& name);

/// The file in which measurements of this machine are kept: $XDG_CACHE_HOME/sluice/..., or $HOME/.cache/sluice/...;
/// empty where neither is set.
std::string tuning_path(const TuningKey& key);

struct PlanChoice {
  std::vector<TunedPlan> tuned;
  std::string note;  // for the start log: where they come from
  Status kept;       // why nothing was measured, or what was is not kept
};
/// The measured plans for these types. What is missing is measured, and kept, under TuningMode::measure, once
/// `before_measuring` has brought the machine to rest; `anew` takes none of these types from the cache. A cache that
/// cannot be read or written is a line in the log, and in `kept`.
PlanChoice choose_plans(const OpTable& table, ThreadPool& pool, std::vector<DType> dtypes, TuningMode mode,
                        bool anew = false, const std::function<void()>& before_measuring = {});

/// The types of the matrices that a model multiplies.
std::vector<DType> multiplied_types(const TensorSource& source);

}  // namespace sluice
