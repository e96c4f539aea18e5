#include "model/layers/rope_scaling_entries.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "weights/gguf_model_keys.h"

namespace sluice {
namespace {

constexpr double kLow = 1;  // of llama3: factors depend on the ratios of low, high and the original context alone

MetadataValue whole_or_real(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

void add(std::vector<ConfigEntry>& entries, const char* name, MetadataValue value) {
  entries.push_back({std::string("rope_scaling.") + name, std::move(value)});
}

struct Llama3 {
  double factor, high, original;
};

bool gives(const Llama3& l, const std::vector<float>& factors, double theta) {
  if (!(l.high > kLow && l.original >= 1)) return false;
  const std::vector<float> got = llama3_rope_factors(2 * static_cast<int64_t>(factors.size()), theta, l.factor, kLow, l.high, l.original);
  return std::ranges::equal(got, factors, [](float a, float b) { return std::abs(a - b) <= 2e-6f * b; });
}

/// llama3's settings that give these factors. Between its bounds, what is kept of a frequency is a line over 1 / wavelength,
/// original / (high - low) steep: two pairs of the ramp tell both.
std::optional<Llama3> llama3_of(const std::vector<float>& factors, double theta) {
  const double factor = *std::ranges::max_element(factors);
  if (!(factor > 1)) return {};
  std::vector<std::pair<double, double>> ramp;  // 1 / wavelength, share kept
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!(factors[i] > 1 && factors[i] < factor)) continue;
    const double frequency = std::pow(theta, -static_cast<double>(i) / static_cast<double>(factors.size()));
    ramp.emplace_back(frequency / (2 * std::numbers::pi), (1 / static_cast<double>(factors[i]) - 1 / factor) / (1 - 1 / factor));
  }
  std::vector<double> contexts{8192};
  for (double context = 16; context <= 1 << 24; context *= 2) contexts.push_back(context);
  for (const double context : contexts)
    if (const Llama3 usual{factor, 4, context}; gives(usual, factors, theta)) return usual;
  if (ramp.size() < 2) return {};
  const auto [x0, y0] = ramp.back();
  const auto [x1, y1] = ramp.front();
  const double steep = (y1 - y0) / (x1 - x0), at_zero = steep * x0 - y0;
  if (!(at_zero > 0)) return {};
  const double high = kLow + kLow / at_zero, original = steep * kLow / at_zero;
  for (const double scale : {1.0, 10.0, 1000.0})
    if (const Llama3 round{factor, std::round(high * scale) / scale, std::round(original)}; gives(round, factors, theta)) return round;
  if (const Llama3 exact{factor, high, original}; gives(exact, factors, theta)) return exact;
  return {};
}

std::vector<double> simplest(const std::vector<float>& values) {
  std::vector<double> out;
  for (const float v : values) out.push_back(simplest_number(v));
  return out;
}

void add_longrope(const char* type_key, const RopeConfig& rope, const std::vector<float>& within, const std::vector<float>& beyond,
                  std::vector<ConfigEntry>& entries) {
  const RopeSettings& s = rope.settings;
  const auto trained = static_cast<double>(s.trained_positions);
  const double original = s.original_positions > 0 ? s.original_positions : trained, factor = trained / original;
  add(entries, type_key, std::string("longrope"));
  add(entries, "short_factor", simplest(within));
  add(entries, "long_factor", simplest(beyond));
  entries.push_back({"original_max_position_embeddings", whole_or_real(original)});
  const double unsaid = factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  if (static_cast<float>(unsaid) != rope.magnitude) add(entries, "attention_factor", simplest_number(rope.magnitude));
}

void add_yarn(const RopeSettings& s, std::vector<ConfigEntry>& entries) {
  add(entries, "rope_type", s.type);
  add(entries, "factor", simplest_number(s.factor));
  add(entries, "original_max_position_embeddings", whole_or_real(s.original_positions));
  add(entries, "beta_fast", simplest_number(s.beta_fast));
  add(entries, "beta_slow", simplest_number(s.beta_slow));
  if (!s.truncate) add(entries, "truncate", false);
  const double own = s.factor <= 1 ? 1.0 : 0.1 * std::log(s.factor) + 1;
  if (s.scores_scaled && s.mscale_all_dim != 0) {  // which is all of it, so that cos and sin are as they are
    const double all = simplest_number(s.mscale_all_dim, [&](double v) { return static_cast<float>(0.1 * v) == static_cast<float>(0.1 * s.mscale_all_dim); });
    add(entries, "mscale", all);
    add(entries, "mscale_all_dim", all);
  } else if (s.magnitude != 1) {
    const double factor = s.magnitude * own;
    add(entries, "attention_factor",
        simplest_number(factor, [&](double v) { return static_cast<float>(v / own) == static_cast<float>(s.magnitude); }));
  }
}

}  // namespace

Status add_rope_scaling(const RopeConfig& rope, const RopeFactors& factors, const Metadata& metadata, std::vector<ConfigEntry>& entries) {
  const RopeSettings& s = rope.settings;
  const bool listed = !factors.within.empty() && !factors.beyond.empty();
  const bool stretched = std::ranges::any_of(factors.all, [](float f) { return f != 1; });
  if ((listed || stretched) && (s.type != "default" || (listed && stretched)))
    return unsupported(fmt::format("{}: positions are stretched by rope_freqs or rope_factors and by {} at once, which config.json cannot say",
                                   metadata.origin(), s.type == "default" ? "another" : s.type));
  if (listed) {
    add_longrope("type", rope, factors.within, factors.beyond, entries);
  } else if (stretched) {
    if (const auto llama3 = llama3_of(factors.all, s.theta)) {
      add(entries, "rope_type", std::string("llama3"));
      add(entries, "factor", simplest_number(llama3->factor));
      add(entries, "low_freq_factor", kLow);
      add(entries, "high_freq_factor", llama3->high);
      add(entries, "original_max_position_embeddings", whole_or_real(llama3->original));
    } else {
      add_longrope("rope_type", rope, factors.all, factors.all, entries);
    }
  } else if (s.type == "linear") {
    add(entries, "rope_type", s.type);
    add(entries, "factor", simplest_number(s.factor));
  } else if (s.type == "yarn") {
    add_yarn(s, entries);
  }
  return {};
}

}  // namespace sluice
