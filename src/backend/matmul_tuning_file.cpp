#include "backend/matmul_tuning_file.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

// A class is named by the most rows, and the largest k, that it holds; null for no limit.
Json bound(int64_t most) { return most == std::numeric_limits<int64_t>::max() ? Json(nullptr) : Json(most); }

/// The class of that bound, or -1.
int class_at(const Json& most, const auto& bounds) {
  for (size_t c = 0; c < bounds.size(); ++c)
    if (most == bound(bounds[c])) return static_cast<int>(c);
  return -1;
}

std::optional<MatmulPlan> parse_plan(const Json& json, const std::vector<MatmulPlan>& candidates) {
  for (const MatmulPlan& plan : candidates)
    if (json.at("way") == way_name(plan.way) && json.at("ahead_lines") == plan.ahead_lines) return plan;
  return std::nullopt;
}

Json plan_json(const MatmulPlan& plan) { return {{"way", way_name(plan.way)}, {"ahead_lines", plan.ahead_lines}}; }

double positive(const Json& json) {
  const double value = json.get<double>();
  if (!std::isfinite(value) || value <= 0) throw std::domain_error("a time or gain that is not above 0");
  return value;
}

// Throws what its caller turns into an Error.
TunedPlan parse_entry(const Json& json, const OpTable& table) {
  TunedPlan t;
  const auto formats = weight_formats();
  const auto format =
      std::ranges::find_if(formats, [&](const WeightFormat* f) { return json.at("type") == dtype_name(f->dtype); });
  if (format == formats.end()) throw std::domain_error("an unknown type");
  t.dtype = (*format)->dtype;
  t.depth_class = class_at(json.at("most_k"), kDepthClasses);
  t.row_class = class_at(json.at("most_rows"), kRowClasses);
  if (t.depth_class < 0 || t.row_class < 0) throw std::domain_error("an unknown class of k or of rows");
  const std::vector<MatmulPlan> candidates = candidate_plans(table, t.dtype, t.row_class);
  const std::optional<MatmulPlan> chosen = parse_plan(json.at("chosen"), candidates);
  if (!chosen) throw std::domain_error("a plan that is not among the candidates");
  t.usual = candidates.front();
  t.chosen = *chosen;
  t.usual_us = positive(json.at("usual_us"));
  t.chosen_us = positive(json.at("chosen_us"));
  t.gain = positive(json.at("gain"));
  t.gain_alone = positive(json.at("gain_alone"));
  return t;
}

// A type is measured in all its classes, and in each once.
void check_complete(const std::vector<TunedPlan>& tuned, const OpTable& table) {
  for (const TunedPlan& of : tuned)
    for (int d = 0; d < static_cast<int>(kDepthClasses.size()); ++d)
      for (int r = 0; r < static_cast<int>(kRowClasses.size()); ++r) {
        const auto count = std::ranges::count_if(tuned, [&](const TunedPlan& t) {
          return t.dtype == of.dtype && t.depth_class == d && t.row_class == r;
        });
        if (count != (candidate_plans(table, of.dtype, r).size() > 1 ? 1 : 0))
          throw std::domain_error(fmt::format("{} without one plan for each class", dtype_name(of.dtype)));
      }
}

}  // namespace

std::string tuning_file_name(const TuningKey& key) {
  std::string name;
  for (const char c : fmt::format("matmul-{}-{}-{}-threads-v{}", key.cpu, key.isa, key.threads, kMatmulTuningVersion)) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0)
      name += static_cast<char>(std::tolower(byte));
    else if (name.back() != '-')
      name += '-';
  }
  return name + ".json";
}

std::string tuning_text(const TuningKey& key, std::span<const TunedPlan> tuned) {
  Json plans = Json::array();
  for (const TunedPlan& t : tuned)
    plans.push_back({{"type", dtype_name(t.dtype)},
                     {"most_k", bound(kDepthClasses[static_cast<size_t>(t.depth_class)])},
                     {"most_rows", kRowClasses[static_cast<size_t>(t.row_class)]},
                     {"usual_us", t.usual_us},
                     {"chosen_us", t.chosen_us},
                     {"gain", t.gain},
                     {"gain_alone", t.gain_alone},
                     {"chosen", plan_json(t.chosen)}});
  const Json file = {{"version", kMatmulTuningVersion},
                     {"cpu", key.cpu},
                     {"isa", key.isa},
                     {"threads", key.threads},
                     {"plans", std::move(plans)}};
  return file.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<std::vector<TunedPlan>> parse_tuning(const std::string& text, const TuningKey& key, const OpTable& table) {
  try {
    const Json file = Json::parse(text);
    if (file.at("version") != kMatmulTuningVersion)
      return unsupported(fmt::format("it has version {}, not {}", file.at("version").dump(), kMatmulTuningVersion));
    if (file.at("cpu") != key.cpu || file.at("isa") != key.isa || file.at("threads") != key.threads)
      return unsupported(fmt::format("it was measured on {}, {}, {} threads, not on {}, {}, {} threads",
                                     file.at("cpu").dump(), file.at("isa").dump(), file.at("threads").dump(), key.cpu,
                                     key.isa, key.threads));
    std::vector<TunedPlan> tuned;
    if (!file.at("plans").is_array()) throw std::domain_error("plans that are no list");
    for (const Json& entry : file.at("plans")) tuned.push_back(parse_entry(entry, table));
    check_complete(tuned, table);
    return tuned;
  } catch (const std::exception& e) {
    return corrupt_data(e.what());
  }
}

}  // namespace sluice
