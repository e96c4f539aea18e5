// sluice tune: measures which plan each product takes on this machine, and keeps it for serve, run and bench.

#include <cstdio>
#include <limits>

#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/matmul_plans.h"
#include "backend/ops.h"
#include "base/machine.h"
#include "base/options.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

std::string text_of(const MatmulPlan& plan, const OpTable& table, DType dtype, int64_t rows) {
  for (const MatmulPlan& other : candidate_plans(table, dtype, row_class(rows)))  // the distance, where it is a choice
    if (other.way == plan.way && other.ahead_lines != plan.ahead_lines)
      return plan.ahead_lines == 0 ? fmt::format("{}, hardware", way_name(plan.way))
                                   : fmt::format("{}, {} lines", way_name(plan.way), plan.ahead_lines);
  return way_name(plan.way);
}

void print_row(const TunedPlan& t, const OpTable& table) {
  const int64_t most_k = kDepthClasses[static_cast<size_t>(t.depth_class)];
  const auto row = static_cast<size_t>(t.row_class);
  const int64_t rows = kRowClasses[row], before = row == 0 ? 0 : kRowClasses[row - 1];
  const bool last = row + 1 == kRowClasses.size();
  const std::string row_text = last ? fmt::format("> {}", before) : rows == before + 1 ? fmt::format("{}", rows) : fmt::format("{}-{}", before + 1, rows);
  const std::string k_text = most_k == std::numeric_limits<int64_t>::max() ? fmt::format("> {}", kDepthClasses[0]) : fmt::format("<= {}", most_k);
  std::puts(fmt::format("| {:<7} | {:>7} | {:>6} | {:<14} | {:<14} | {:>8.1f} | {:>8.1f} | {:>6.2f} |", dtype_name(t.dtype), k_text,
                        row_text, text_of(t.usual, table, t.dtype, rows), t.chosen == t.usual ? "the same" : text_of(t.chosen, table, t.dtype, rows),
                        t.usual_us, t.chosen_us, t.gain).c_str());
}

}  // namespace

Result<int> tune_main(const std::vector<std::string>& args) {
  int threads = 0;
  std::string model, isa;
  bool force = false;
  OptionSet options("sluice tune",
                    "Measures how products go over their weights on this machine, and keeps what is the fastest for serve, run\n"
                    "and bench. Results are the same bits with any choice.");
  options.add("-m,--model,model", model, "measure the types of this model; all that have a choice when absent");
  options.add("-t,--threads", threads, "compute threads; 0: the cores that this process may use");
  options.add("--isa", isa, catalog_help("force a kernel table, also by SLUICE_ISA; the best here when absent", op_tables()));
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
    std::puts(fmt::format("{}, {}, {} threads; microseconds of one product, medians; the gain is the median within the rounds",
                          cpu_model(), table->isa, pool.size()).c_str());
    std::puts("| type    |       k |   rows | default        | chosen         |  default |   chosen |   gain |\n"
              "|---------|--------:|-------:|----------------|----------------|---------:|---------:|-------:|");
  }
  for (const DType dtype : dtypes)
    for (const TunedPlan& t : choice.tuned)
      if (t.dtype == dtype) print_row(t, *table);
  std::puts(choice.note.c_str());
  return 0;
}

}  // namespace sluice
