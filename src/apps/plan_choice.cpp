#include "apps/plan_choice.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "apps/progress.h"
#include "apps/text_file.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/mapped_file.h"
#include "weights/output_head.h"

namespace sluice {
namespace {

constexpr size_t kMostFileBytes = size_t{1} << 20;

std::string joined(const std::vector<DType>& dtypes) {
  std::string text;
  for (const DType d : dtypes) text += (text.empty() ? "" : ", ") + std::string(dtype_name(d));
  return text;
}

Result<std::vector<TunedPlan>> read_cache(const std::string& path, const TuningKey& key, const OpTable& table) {
  if (path.empty() || !file_exists(path)) return std::vector<TunedPlan>();
  SLUICE_TRY(const std::string text, read_file(path, kMostFileBytes));
  return parse_tuning(text, key, table);
}

// What another process has measured in the meantime, of other types, besides.
std::vector<TunedPlan> with_others(const std::vector<TunedPlan>& own, const Result<std::vector<TunedPlan>>& now) {
  std::vector<TunedPlan> all = own;
  if (!now.ok()) return all;  // what cannot be read is replaced
  for (const TunedPlan& t : *now)
    if (std::ranges::find(own, t.dtype, &TunedPlan::dtype) == own.end()) all.push_back(t);
  return all;
}

Status write_cache(const std::string& path, const std::string& text) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) return io_error(fmt::format("cannot make the folder {}: {}", folder.string(), failed.message()));
  return replace_text_file(path, text);
}

}  // namespace

Result<TuningMode> parse_tuning_mode(const std::string& name) {
  if (name == "auto") return TuningMode::measure;
  if (name == "cached") return TuningMode::cached;
  if (name == "off") return TuningMode::off;
  return invalid_argument(fmt::format("--matmul-tuning '{}' is not known; it is auto, cached or off", name),
                          "--matmul-tuning");
}

std::string tuning_path(const TuningKey& key) {
  const auto folder = [](const char* variable) -> std::filesystem::path {
    const char* value = std::getenv(variable);
    return value != nullptr && std::filesystem::path(value).is_absolute() ? value
                                                                          : "";  // a relative one is to be ignored
  };
  std::filesystem::path cache = folder("XDG_CACHE_HOME");
  if (cache.empty()) {
    cache = folder("HOME");
    if (cache.empty()) return {};
    cache /= ".cache";
  }
  return (cache / "sluice" / tuning_file_name(key)).string();
}

PlanChoice choose_plans(const OpTable& table, ThreadPool& pool, std::vector<DType> dtypes, TuningMode mode, bool anew,
                        const std::function<void()>& before_measuring) {
  std::erase_if(dtypes, [&](DType d) { return !reads_plan(table, d); });
  if (mode == TuningMode::off) return {{}, "matmul plans: default (--matmul-tuning off)"};
  if (dtypes.empty()) return {{}, fmt::format("matmul plans: default (the kernels of {} leave no choice)", table.isa)};
  const TuningKey key{cpu_model(), std::string(table.isa), pool.size()};
  const std::string path = tuning_path(key);
  PlanChoice choice;
  if (auto kept = read_cache(path, key, table); kept.ok())
    choice.tuned = std::move(*kept);
  else
    log_warn("matmul plans: {} is ignored: {}", path, kept.error().message);
  const auto is_measured = [&](DType d) {
    return std::ranges::find(choice.tuned, d, &TunedPlan::dtype) != choice.tuned.end();
  };
  if (anew)
    std::erase_if(choice.tuned, [&](const TunedPlan& t) { return std::ranges::find(dtypes, t.dtype) != dtypes.end(); });
  std::erase_if(dtypes, is_measured);
  if (dtypes.empty()) {
    choice.note = fmt::format("matmul plans: tuned ({})", path);
    return choice;
  }
  if (mode == TuningMode::cached) {
    choice.note = fmt::format("matmul plans: default for {}, which were not measured here yet ('sluice tune' does)",
                              joined(dtypes));
    return choice;
  }

  log_info("matmul plans: measuring {} on {} threads, once for this machine", joined(dtypes), pool.size());
  if (before_measuring) before_measuring();
  Progress progress("measuring matmul plans");
  const Result<std::vector<TunedPlan>> measured =
      tune_matmul(table, pool, dtypes, {}, [&](int done, int all) { progress.update(done, all); });
  if (!measured.ok()) {
    choice.note = fmt::format("matmul plans: default for {}: {}", joined(dtypes), measured.error().message);
    choice.kept = measured.error();
    return choice;
  }
  choice.tuned.insert(choice.tuned.end(), measured->begin(), measured->end());
  choice.kept = path.empty() ? Status(not_found("neither XDG_CACHE_HOME nor HOME is set"))
                             : write_cache(path, tuning_text(key, with_others(choice.tuned, read_cache(path, key, table))));
  choice.note = choice.kept.ok() ? fmt::format("matmul plans: tuned ({})", path)
                                 : "matmul plans: tuned, and not kept: " + choice.kept.error().message;
  return choice;
}

std::vector<DType> multiplied_types(const TensorSource& source) {
  std::vector<DType> dtypes;
  const bool own_head = has_own_head(source.tensors());
  for (const TensorInfo& t : source.tensors()) {
    const bool looked_up = own_head && is_token_embedding(t.name);
    if (t.shape.rank == 2 && !looked_up && std::ranges::find(dtypes, t.dtype) == dtypes.end())
      dtypes.push_back(t.dtype);
  }
  return dtypes;
}

}  // namespace sluice
