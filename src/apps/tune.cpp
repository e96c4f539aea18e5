// sluice tune: measures which plan each product takes on this machine, and keeps it for serve, run and bench.

#include <algorithm>
#include <cstdio>

#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/plan_choice.h"
#include "backend/ops.h"
#include "base/machine.h"
#include "base/options.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

/// The way, and how far ahead where that is a choice.
std::string text_of(const MatmulPlan& plan, const std::vector<MatmulPlan>& candidates) {
  const bool choice = std::ranges::any_of(candidates, [&](const MatmulPlan& other) {
    return other.way == plan.way && other.ahead_lines != plan.ahead_lines;
  });
  if (!choice) return way_name(plan.way);
  if (plan.ahead_lines == 0) return fmt::format("{}, hardware", way_name(plan.way));
  return fmt::format("{}, {} lines", way_name(plan.way), plan.ahead_lines);
}

/// Class c of bounds, as "1", "3-6" or "> 32".
std::string class_text(const auto& bounds, int c) {
  const auto at = static_cast<size_t>(c);
  const int64_t first = at == 0 ? 1 : bounds[at - 1] + 1;
  if (at + 1 == bounds.size()) return fmt::format("> {}", first - 1);
  return first == bounds[at] ? fmt::format("{}", first) : fmt::format("{}-{}", first, bounds[at]);
}

void print_row(const TunedPlan& t, const OpTable& table) {
  const std::vector<MatmulPlan> candidates = candidate_plans(table, t.dtype, t.row_class);
  const std::string usual = text_of(t.usual, candidates), chosen = text_of(t.chosen, candidates);
  std::puts(fmt::format("| {:<7} | {:>7} | {:>6} | {:<14} | {:<14} | {:>10.1f} | {:>9.1f} | {:>11.2f} | {:>10.2f} |",
                        dtype_name(t.dtype), class_text(kDepthClasses, t.depth_class),
                        class_text(kRowClasses, t.row_class), usual, t.chosen == t.usual ? "the same" : chosen,
                        t.usual_us, t.chosen_us, t.gain, t.gain_alone)
                .c_str());
}

}  // namespace

Result<int> tune_main(const std::vector<std::string>& args) {
  int threads = 0;
  std::string model, isa;
  bool force = false;
  OptionSet options(
      "sluice tune",
      "Measures how products go over their weights on this machine, and keeps what is the fastest for serve, run\n"
      "and bench. Results are the same bits with any choice.");
  options.add("-m,--model,model", model, "measure the types of this model; all that have a choice when absent");
  options.add("-t,--threads", threads, "compute threads; 0: the cores that this process may use");
  options.add("--isa", isa,
              catalog_help("force a kernel table, also by SLUICE_ISA; the best here when absent", op_tables()));
  options.add("--force", force, "measure again what was measured before");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (threads < 0 || threads > 1024)
    return invalid_argument(fmt::format("--threads is {}; it must be from 0 to 1024", threads), "--threads");
  SLUICE_TRY(const OpTable* table, select_op_table(isa));
  std::vector<DType> dtypes;
  if (model.empty()) {
    for (const WeightFormat* format : weight_formats()) dtypes.push_back(format->dtype);
  } else {
    SLUICE_TRY(const auto source, open_tensor_source(model));
    dtypes = multiplied_types(*source);
  }
  ThreadPool pool(threads > 0 ? threads : usable_cores());
  const PlanChoice choice = choose_plans(*table, pool, dtypes, TuningMode::measure, force);
  if (!choice.tuned.empty()) {
    std::puts(fmt::format("{}, {}, {} threads; medians: times of one pass, and gains within the same round, which decide, "
                          "as the memory's pace changes between rounds",
                          cpu_model(), table->isa, pool.size())
                  .c_str());
    std::puts(
        "| type    |       k |   rows | default        | chosen         | default us | chosen us | all threads | one "
        "thread |\n"
        "|---------|--------:|-------:|----------------|----------------|-----------:|----------:|------------:|-------"
        "----:|");
  }
  for (const DType dtype : dtypes)
    for (const TunedPlan& t : choice.tuned)
      if (t.dtype == dtype) print_row(t, *table);
  std::puts(choice.note.c_str());
  SLUICE_TRY_STATUS(choice.kept);
  return 0;
}

}  // namespace sluice
