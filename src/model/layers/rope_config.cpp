#include "model/layers/rope_config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>

#include "base/log.h"

namespace sluice {
namespace {

constexpr ConfigKey kType{"rope_scaling.rope_type", "rope.scaling.type"};
constexpr ConfigKey kOldType{"rope_scaling.type", ""};
constexpr ConfigKey kFactor{"rope_scaling.factor", "rope.scaling.factor"};
constexpr ConfigKey kOldFactor{"", "rope.scale_linear"};
constexpr ConfigKey kOriginal{"rope_scaling.original_max_position_embeddings", "rope.scaling.original_context_length"};
constexpr ConfigKey kLowFreq{"rope_scaling.low_freq_factor", ""};
constexpr ConfigKey kHighFreq{"rope_scaling.high_freq_factor", ""};
constexpr ConfigKey kBetaFast{"rope_scaling.beta_fast", "rope.scaling.yarn_beta_fast"};
constexpr ConfigKey kBetaSlow{"rope_scaling.beta_slow", "rope.scaling.yarn_beta_slow"};
constexpr ConfigKey kAttentionFactor{"rope_scaling.attention_factor", ""};
constexpr ConfigKey kAttnFactor{"rope_scaling.attn_factor", ""};
constexpr ConfigKey kMscale{"rope_scaling.mscale", ""};
constexpr ConfigKey kMscaleAllDim{"rope_scaling.mscale_all_dim", ""};
constexpr ConfigKey kTruncate{"rope_scaling.truncate", ""};
constexpr ConfigKey kLogMultiplier{"", "rope.scaling.yarn_log_multiplier"};
constexpr ConfigKey kShortFactor{"rope_scaling.short_factor", ""};
constexpr ConfigKey kLongFactor{"rope_scaling.long_factor", ""};
constexpr ConfigKey kOuterOriginal{"original_max_position_embeddings", ""};
// llama.cpp's multiplier on top of the magnitude that the factor gives.
constexpr ConfigKey kGgufAttnFactor{"", "rope.scaling.attn_factor"};
constexpr ConfigKey kGgufYarnAttnFactor{"", "rope.scaling.yarn_attn_factor"};

constexpr double kMaxFactor = 1e6;
constexpr double kMostPositions = 1e12;

// In transformers' arithmetic, float32 with the power correctly rounded: at 100,000 positions the last bit of a
// frequency is a hundredth of a radian.
std::vector<float> plain_frequencies(double theta, int head_dim) {
  std::vector<float> inv_freq(static_cast<size_t>(head_dim / 2));
  for (int i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float power = static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)), exponent));
    inv_freq[static_cast<size_t>(i)] = 1.0f / power;
  }
  return inv_freq;
}

// Keys that a type does not read could only be ignored; they are refused instead.
Status check_keys(const ConfigReader& config, const RopeReading& reading, std::string_view type, std::initializer_list<ConfigKey> known) {
  if (config.is_gguf()) return {};
  static constexpr std::string_view kPrefix = "rope_scaling.";
  static constexpr std::string_view kHarmless[] = {"rope_type", "type", "rope_theta", "partial_rotary_factor",
                                                   "finetuned"};
  for (const auto& [key, value] : config.metadata().values()) {
    if (!key.starts_with(kPrefix)) continue;
    const std::string_view name = std::string_view(key).substr(kPrefix.size());
    if (std::find(std::begin(kHarmless), std::end(kHarmless), name) != std::end(kHarmless)) continue;
    if (std::any_of(known.begin(), known.end(), [&](ConfigKey k) { return k.hf == key; })) continue;
    if (std::ranges::find(reading.also, key) != reading.also.end()) continue;
    return config.refused({key, ""}, fmt::format("is not known for rope type \"{}\"", type));
  }
  return {};
}

Status scale_linear(const ConfigReader& config, RopeConfig& rope) {
  SLUICE_TRY(const double old_factor, config.number_or(kOldFactor, 1.0, 0.0, kMaxFactor));
  SLUICE_TRY(double factor, config.is_gguf() ? config.number_or(kFactor, old_factor, 0.0, kMaxFactor)
                                             : config.number(kFactor, 0.0, kMaxFactor));
  if (factor == 0 && config.is_gguf()) factor = 1;  // how converters write "none"
  if (factor < 1e-6)
    return config.invalid(kFactor, fmt::format("is {}; it must be from 1e-06 to {}", factor, kMaxFactor));
  for (float& f : rope.inv_freq) f = static_cast<float>(f / factor);
  rope.settings.factor = factor;
  if (factor == 1) rope.settings.type = "default";
  return {};
}

Status scale_llama3(const ConfigReader& config, RopeConfig& rope) {
  SLUICE_TRY(const double factor, config.number(kFactor, 1.0, kMaxFactor));
  SLUICE_TRY(const double low, config.number(kLowFreq, 1e-6, kMaxFactor));
  SLUICE_TRY(const double high, config.number(kHighFreq, 1e-6, kMaxFactor));
  SLUICE_TRY(const double original, config.number(kOriginal, 1.0, kMostPositions));
  if (!(high >= low))
    return config.invalid(kHighFreq, fmt::format("is {}; it must be at least low_freq_factor, {}", high, low));
  rope.settings.factor = factor;
  rope.settings.original_positions = original;
  rope.settings.low_freq = low;
  rope.settings.high_freq = high;
  for (float& f : rope.inv_freq) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < original / high) continue;
    if (wavelength > original / low || high == low) {
      f = static_cast<float>(f / factor);
    } else {
      const double keep = (original / wavelength - low) / (high - low);
      f = static_cast<float>((1 - keep) * f / factor + keep * f);
    }
  }
  return {};
}

// Of a GGUF, in which the factors are tensors.
Status read_gguf_longrope(const ConfigReader& config, RopeConfig& rope) {
  rope.factors_in_tensors = config.has(kType);
  SLUICE_TRY(const double magnitude, config.number_or(kGgufAttnFactor, 1.0, 1e-6, kMaxFactor));
  rope.magnitude = static_cast<float>(magnitude);
  SLUICE_TRY(rope.settings.original_positions, config.number_or(kOriginal, static_cast<double>(rope.settings.trained_positions), 1.0, kMostPositions));
  rope.settings.type = "default";
  return {};
}

// What pairs are divided by, of both lists, each of a file's own.
void divide_pairs(RopeConfig& rope, const std::vector<double>& within, const std::vector<double>& beyond) {
  const std::vector<float> plain = rope.inv_freq;
  const auto divided = [&](const std::vector<double>& by) {
    std::vector<float> out = plain;
    for (size_t i = 0; i < out.size(); ++i) out[i] = 1.0f / (static_cast<float>(by[i]) * (1.0f / plain[i]));
    return out;
  };
  rope.settings.short_factors.assign(within.begin(), within.end());
  rope.settings.long_factors.assign(beyond.begin(), beyond.end());
  rope.short_freq = divided(within);
  rope.long_freq = divided(beyond);
  rope.set_context(rope.max_positions);
}

Status scale_longrope(const ConfigReader& config, RopeConfig& rope) {
  const auto trained = static_cast<double>(rope.settings.trained_positions);
  SLUICE_TRY(const double outer, config.number_or(kOuterOriginal, trained, 1.0, kMostPositions));
  SLUICE_TRY(rope.settings.original_positions, config.number_or(kOriginal, outer, 1.0, kMostPositions));
  const double original = rope.settings.original_positions;
  SLUICE_TRY(const double factor, config.number_or(kFactor, trained / original, 1e-6, kMaxFactor));
  double magnitude = factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  if (config.has(kAttentionFactor)) {
    SLUICE_TRY(magnitude, config.number(kAttentionFactor, 1e-6, kMaxFactor));
  }
  rope.magnitude = static_cast<float>(magnitude);
  rope.settings.magnitude = magnitude;
  SLUICE_TRY(const std::vector<double> within, config.numbers(kShortFactor, rope.inv_freq.size(), 1e-6, kMaxFactor));
  SLUICE_TRY(const std::vector<double> beyond, config.numbers(kLongFactor, rope.inv_freq.size(), 1e-6, kMaxFactor));
  divide_pairs(rope, within, beyond);
  return {};
}

double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

Result<double> yarn_magnitude(const ConfigReader& config, double factor, const RopeReading& reading) {
  if (config.is_gguf() && reading.scores_scaled) return 1.0;
  if (config.is_gguf() && reading.all_dim_in_gguf && config.has(kLogMultiplier)) {
    SLUICE_TRY(const double all_dim, config.number(kLogMultiplier, 0.0, kMaxFactor));
    return yarn_mscale(factor, 1.0) / yarn_mscale(factor, all_dim);
  }
  if (config.is_gguf()) {
    SLUICE_TRY(const double a, config.number_or(kGgufAttnFactor, 1.0, 1e-6, kMaxFactor));
    SLUICE_TRY(const double b, config.number_or(kGgufYarnAttnFactor, 1.0, 1e-6, kMaxFactor));
    return a * b * yarn_mscale(factor, 1.0);
  }
  if (config.has(kAttentionFactor)) return config.number(kAttentionFactor, 1e-6, kMaxFactor);
  if (config.has(kAttnFactor)) {  // of what the factor gives, as llama.cpp and vLLM read it; transformers does not
    SLUICE_TRY(const double multiple, config.number(kAttnFactor, 1e-6, kMaxFactor));
    log_info("{}: rope_scaling.attn_factor multiplies yarn's magnitude by {}, which transformers ignores", config.metadata().origin(), multiple);
    return multiple * yarn_mscale(factor, 1.0);
  }
  SLUICE_TRY(const double mscale, config.number_or(kMscale, 0.0, 0.0, kMaxFactor));
  SLUICE_TRY(const double all_dim, config.number_or(kMscaleAllDim, 0.0, 0.0, kMaxFactor));
  if (mscale != 0 && all_dim != 0) return yarn_mscale(factor, mscale) / yarn_mscale(factor, all_dim);
  return yarn_mscale(factor, 1.0);
}

Status scale_yarn(const ConfigReader& config, const RopeReading& reading, RopeConfig& rope) {
  const int head_dim = reading.rotary_dims;
  const double theta = rope.settings.theta;
  const int64_t trained_positions = rope.settings.trained_positions;
  SLUICE_TRY_STATUS(config.only({"", "rope.scaling.yarn_ext_factor"}, 1.0));
  if (!reading.scores_scaled) {
    if (!reading.all_dim_in_gguf) SLUICE_TRY_STATUS(config.only(kLogMultiplier, 0.0));
  } else if (config.is_gguf()) {  // which keeps a tenth of it
    SLUICE_TRY(const double tenth, config.number_or(kLogMultiplier, 0.0, 0.0, kMaxFactor));
    rope.settings.mscale_all_dim = 10 * tenth;
  } else {
    SLUICE_TRY(rope.settings.mscale_all_dim, config.number_or(kMscaleAllDim, 0.0, 0.0, kMaxFactor));
  }
  SLUICE_TRY(const double factor, config.number(kFactor, 1.0, kMaxFactor));
  SLUICE_TRY(const double original,
             config.number_or(kOriginal, static_cast<double>(trained_positions), 1.0, kMostPositions));
  SLUICE_TRY(const double beta_fast, config.number_or(kBetaFast, 32.0, 1e-6, kMaxFactor));
  SLUICE_TRY(const double beta_slow, config.number_or(kBetaSlow, 1.0, 1e-6, kMaxFactor));
  SLUICE_TRY(const bool truncate, config.boolean_or(kTruncate, config.is_gguf() ? reading.gguf_truncate : reading.truncate));
  SLUICE_TRY(const double magnitude, yarn_magnitude(config, factor, reading));
  // The pair that turns `rotations` times over the original context.
  const auto pair_of = [&](double rotations) {
    return head_dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = pair_of(beta_fast), high = pair_of(beta_slow);
  if (truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, head_dim - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const double stretch = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double f = rope.inv_freq[i];
    rope.inv_freq[i] = static_cast<float>(f / factor * stretch + f * (1 - stretch));
  }
  rope.magnitude = static_cast<float>(magnitude);
  rope.settings.factor = factor;
  rope.settings.original_positions = original;
  rope.settings.beta_fast = beta_fast;
  rope.settings.beta_slow = beta_slow;
  rope.settings.truncate = truncate;
  rope.settings.truncate_unsaid = reading.gguf_truncate;
  rope.settings.scores_scaled = reading.scores_scaled;
  config.cannot_be_said(reading.scores_scaled && magnitude != 1, "rope_scaling.mscale is not rope_scaling.mscale_all_dim");
  rope.settings.magnitude = magnitude / yarn_mscale(factor, 1.0);
  rope.max_positions = std::max(trained_positions, static_cast<int64_t>(std::min(original * factor, kMostPositions)));
  return {};
}

}  // namespace

RopeConfig plain_rope(double theta, int rotary_dims, int64_t positions, RopeStyle style) {
  RopeConfig rope{plain_frequencies(theta, rotary_dims), 1.0f, style, positions, {}};
  rope.settings.theta = theta;
  rope.settings.trained_positions = positions;
  return rope;
}

std::string RopeConfig::set_context(int64_t tokens) {
  if (short_freq.empty()) return {};
  const bool beyond = static_cast<double>(tokens) > settings.original_positions;
  inv_freq = beyond ? long_freq : short_freq;
  return fmt::format("rope: the {} factors of longrope, since sequences may have {} tokens and the original context is {}", beyond ? "long" : "short",
                     tokens, settings.original_positions);
}

Result<RopeConfig> read_rope(const ConfigReader& config, const RopeReading& reading) {
  const int64_t trained_positions = reading.positions;
  SLUICE_TRY(const double theta, config.number_or(reading.theta, reading.default_theta, 1.0 + 1e-6, 1e12));
  RopeConfig rope = plain_rope(theta, reading.rotary_dims, trained_positions, reading.style);

  // GGUF files that only carry a factor mean linear; "type" is the older spelling in config.json.
  SLUICE_TRY(const std::string old_type, config.string_or(kOldType, config.is_gguf() ? "linear" : "default"));
  SLUICE_TRY(const std::string type, config.string_or(kType, old_type));
  rope.settings.type = type;
  if (type == "none") rope.settings.type.assign("default");

  if (config.is_gguf() && (type == "longrope" || (reading.longrope_in_gguf && !config.has(kType)))) {
    SLUICE_TRY_STATUS(read_gguf_longrope(config, rope));
  } else if (type == "default" || type == "none") {
    SLUICE_TRY_STATUS(check_keys(config, reading, type, {}));
  } else if (type == "linear") {
    SLUICE_TRY_STATUS(check_keys(config, reading, type, {kFactor}));
    SLUICE_TRY_STATUS(scale_linear(config, rope));
  } else if (type == "dynamic" && !config.is_gguf()) {
    SLUICE_TRY_STATUS(check_keys(config, reading, type, {kFactor, kOriginal}));
    SLUICE_TRY(const int64_t original,
               config.integer_or(kOriginal, trained_positions, 1, static_cast<int64_t>(kMostPositions)));
    rope.max_positions = std::min(trained_positions, original);
    log_info("{}: rope type \"dynamic\" is exact up to the trained context; it is limited to {} positions",
             config.metadata().origin(), rope.max_positions);
  } else if (type == "llama3" && !config.is_gguf()) {
    SLUICE_TRY_STATUS(check_keys(config, reading, type, {kFactor, kLowFreq, kHighFreq, kOriginal}));
    SLUICE_TRY_STATUS(scale_llama3(config, rope));
  } else if (type == "yarn") {
    SLUICE_TRY_STATUS(check_keys(
        config, reading, type, {kFactor, kOriginal, kBetaFast, kBetaSlow, kAttentionFactor, kAttnFactor, kMscale, kMscaleAllDim, kTruncate}));
    SLUICE_TRY_STATUS(scale_yarn(config, reading, rope));
  } else if ((type == "longrope" || type == "su") && !config.is_gguf()) {
    SLUICE_TRY_STATUS(check_keys(config, reading, type, {kFactor, kOriginal, kShortFactor, kLongFactor, kAttentionFactor}));
    SLUICE_TRY_STATUS(scale_longrope(config, rope));
  } else {
    const ConfigKey at = config.has(kType) || config.is_gguf() ? kType : kOldType;
    return config.refused(
        at, fmt::format("is \"{}\"; known are {}", type.substr(0, 100),
                        config.is_gguf() ? "none, linear, yarn, longrope" : "default, linear, dynamic, llama3, yarn, longrope"));
  }
  return rope;
}

}  // namespace sluice
