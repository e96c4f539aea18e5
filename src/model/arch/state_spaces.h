#pragma once
// What families with Mamba 2 layers, and those with attention in some layers only, read alike.

#include <algorithm>

#include "model/layers/decoder_config.h"
#include "model/layers/mamba2.h"

namespace sluice {

/// The names in config.json; a GGUF has the same for all.
struct Mamba2Keys {
  std::string_view heads = "mamba_n_heads", head_dim = "mamba_d_head", groups = "mamba_n_groups", state = "mamba_d_state";
  std::string_view taps = "mamba_d_conv", bias = "mamba_proj_bias", conv_bias = "mamba_conv_bias";
  int64_t default_groups = 1;
  std::string_view expand = "mamba_expand";
};

inline Result<Mamba2Config> read_mamba2(const ConfigReader& config, const DecoderConfig& d, const Mamba2Keys& names) {
  const ConfigKey inner_key{"", "ssm.inner_size"}, heads{names.heads, "ssm.time_step_rank"}, head_dim{names.head_dim, ""},
      groups{names.groups, "ssm.group_count"}, limit{"time_step_limit", ""};
  Mamba2Config m;
  m.hidden = d.info.hidden;
  SLUICE_TRY(m.heads, config.integer(heads, 1, kMaxWidth));
  if (config.is_gguf()) {
    SLUICE_TRY(const int64_t inner, config.integer(inner_key, 1, kMaxWidth));
    if (inner % m.heads != 0) return config.invalid(heads, fmt::format("is {}; it must divide the {} inner values", m.heads, inner));
    m.head_dim = inner / m.heads;
    config.note(head_dim, m.head_dim);
    if (inner % m.hidden == 0) config.note({names.expand, ""}, inner / m.hidden);
  } else {
    if (config.metadata().string_or(names.head_dim, "") == "auto") {
      SLUICE_TRY(const int64_t expand, config.integer_or({"mamba_expand", ""}, 2, 1, 64));
      m.head_dim = expand * m.hidden / m.heads;
      if (m.head_dim < 1) return config.invalid(heads, fmt::format("is {}, more than the {} inner values", m.heads, expand * m.hidden));
    } else {
      SLUICE_TRY(m.head_dim, config.integer_or(head_dim, 64, 1, kMaxWidth / m.heads));
    }
    config.note(inner_key, m.inner());
  }
  SLUICE_TRY(m.groups, config.integer_or(groups, config.is_gguf() ? 1 : std::min(names.default_groups, m.heads), 1, m.heads));
  if (m.heads % m.groups != 0) return config.invalid(groups, fmt::format("is {}; it must divide the {} heads", m.groups, m.heads));
  m.norm_groups = m.groups;
  SLUICE_TRY(m.state, config.integer_or({names.state, "ssm.state_size"}, 128, 1, kMaxHeadDim));
  SLUICE_TRY(const int64_t taps, config.integer_or({names.taps, "ssm.conv_kernel"}, 4, 2, 64));
  m.taps = static_cast<int>(taps);
  SLUICE_TRY(m.bias, read_bias(config, names.bias));
  SLUICE_TRY(m.conv_bias, read_bias(config, names.conv_bias, true));
  // Without two numbers (an infinite one is none) there is no limit.
  if (const auto limits = config.metadata().numbers(config.name(limit)); limits.ok() && limits->size() == 2) {
    m.least_dt = static_cast<float>((*limits)[0]), m.most_dt = static_cast<float>((*limits)[1]);
    if (!(m.least_dt >= 0 && m.most_dt >= m.least_dt)) return config.invalid(limit, "must be two numbers, the second not below the first");
  }
  m.norm = d.norm;
  return m;
}

/// A GGUF of a hybrid has the KV heads of every layer, 0 in those without attention; nothing in other files, or where it has one number.
inline const std::vector<int64_t>* kv_heads_by_layer(const ConfigReader& config) {
  return config.metadata().integers(config.name({"", "attention.head_count_kv"}));
}

/// Has the KV heads of a hybrid read from where they are.
inline Status expect_kv_heads_by_layer(const ConfigReader& config, DecoderDefaults& defaults) {
  defaults.keys.kv_heads.gguf = "";
  if (const std::vector<int64_t>* heads = kv_heads_by_layer(config); heads != nullptr && !heads->empty()) {
    defaults.kv_heads = *std::ranges::max_element(*heads);
    if (defaults.kv_heads < 1 || defaults.kv_heads > kMaxHeads)
      return config.invalid({"", "attention.head_count_kv"}, fmt::format("has {} at most; from 1 to {} are supported", defaults.kv_heads, kMaxHeads));
  }
  return {};
}

/// Which layers attend: those with KV heads in a GGUF, and in a config.json those that `attends` names.
template <class F>
Result<std::vector<bool>> read_attending(const ConfigReader& config, const DecoderConfig& d, F attends) {
  std::vector<bool> out(static_cast<size_t>(d.info.layers));
  const std::vector<int64_t>* heads = config.is_gguf() ? kv_heads_by_layer(config) : nullptr;
  if (config.is_gguf() && (heads == nullptr || heads->size() != out.size()))
    return config.invalid({"", "attention.head_count_kv"}, fmt::format("must be an array of {} numbers, one per layer", d.info.layers));
  std::vector<int64_t> kv_heads;
  for (size_t l = 0; l < out.size(); ++l) {
    out[l] = heads != nullptr ? (*heads)[l] > 0 : attends(static_cast<int>(l));
    kv_heads.push_back(out[l] ? d.info.kv_heads : 0);
  }
  if (!config.is_gguf()) config.note({"", "attention.head_count_kv"}, kv_heads);
  return out;
}

}  // namespace sluice
