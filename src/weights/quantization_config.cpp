#include "weights/quantization.h"

namespace sluice {

std::string_view QuantizationConfig::prefix() const {
  for (const std::string_view prefix : {"quantization_config.", "compression_config."}) {
    const auto at = metadata_.values().lower_bound(prefix);
    if (at != metadata_.values().end() && at->first.starts_with(prefix)) return prefix;
  }
  return {};
}

Error QuantizationConfig::refused(std::string_view key, std::string_view value, std::string_view what) const {
  return unsupported(fmt::format("{}: {} is {}; {}", metadata_.origin(), full(key), value, what), full(key));
}

Status QuantizationConfig::only(std::string_view key, std::span<const std::string_view> values) const {
  if (!has(key)) return {};
  SLUICE_TRY(const std::string value, metadata_.string(full(key)));
  std::string known;
  for (const std::string_view v : values) {
    if (value == v) return {};
    known += (known.empty() ? "" : ", ") + std::string(v);
  }
  return refused(key, fmt::format("\"{}\"", value.substr(0, 100)), "read is " + known);
}

}  // namespace sluice
