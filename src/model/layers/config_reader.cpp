#include "model/layers/config_reader.h"

#include <cmath>
#include <cstdlib>

namespace sluice {
namespace {

std::string text_of(const MetadataValue& value) {
  if (const auto* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const auto* i = std::get_if<int64_t>(&value)) return std::to_string(*i);
  if (const auto* d = std::get_if<double>(&value)) return fmt::format("{}", *d);
  if (const auto* s = std::get_if<std::string>(&value)) return '"' + s->substr(0, 100) + '"';
  return "an array";
}

// Numbers are equal by value: a file may write 1 or 1.0.
bool same(const MetadataValue& a, const MetadataValue& b) {
  const auto as_number = [](const MetadataValue& v) -> double {
    if (const auto* i = std::get_if<int64_t>(&v)) return static_cast<double>(*i);
    if (const auto* d = std::get_if<double>(&v)) return *d;
    return std::nan("");
  };
  return a == b || as_number(a) == as_number(b);
}

}  // namespace

double simplest_number(double value, const std::function<bool(double)>& same) {
  for (int digits = 1; digits < 17; ++digits)
    if (const double simple = std::strtod(fmt::format("{:.{}g}", value, digits).c_str(), nullptr); same(simple)) return simple;
  return value;
}

double simplest_number(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) return value;
  return simplest_number(value, [&](double simple) { return static_cast<float>(simple) == narrow; });
}

std::string ConfigReader::name(ConfigKey key) const {
  if (!is_gguf()) return std::string(key.hf);
  if (key.gguf.empty()) return {};
  return fmt::format("{}.{}", metadata_.architecture(), key.gguf);
}

bool ConfigReader::has(ConfigKey key) const {
  const std::string full = name(key);
  return !full.empty() && metadata_.has(full);
}

bool ConfigReader::is_null(ConfigKey key) const { return metadata_.is_null(name(key)); }

Error ConfigReader::invalid(ConfigKey key, std::string_view problem) const {
  return corrupt_data(fmt::format("{}: {} {}", metadata_.origin(), name(key), problem));
}

Error ConfigReader::refused(ConfigKey key, std::string_view problem) const {
  return unsupported(fmt::format("{}: {} {}", metadata_.origin(), name(key), problem));
}

void ConfigReader::note(ConfigKey key, MetadataValue value) const {
  forget(key);
  if (!key.gguf.empty()) std::erase_if(notes_, [&](const auto& n) { return n.first.gguf == key.gguf; });  // the last word counts
  notes_.emplace_back(key, std::move(value));
}

void ConfigReader::forget(ConfigKey key) const {
  std::erase_if(notes_, [&](const auto& n) { return n.first.hf == key.hf && n.first.gguf == key.gguf; });
}

Result<int64_t> ConfigReader::integer(ConfigKey key, int64_t lo, int64_t hi) const {
  SLUICE_TRY(const int64_t value, metadata_.integer(name(key)));
  if (value < lo || value > hi) return invalid(key, fmt::format("is {}; it must be from {} to {}", value, lo, hi));
  note(key, value);
  return value;
}

Result<int64_t> ConfigReader::integer_or(ConfigKey key, int64_t otherwise, int64_t lo, int64_t hi) const {
  if (has(key)) return integer(key, lo, hi);
  note(key, otherwise);
  return otherwise;
}

Result<double> ConfigReader::number(ConfigKey key, double lo, double hi) const {
  SLUICE_TRY(const double value, metadata_.number(name(key)));
  if (!(value >= lo && value <= hi)) return invalid(key, fmt::format("is {}; it must be from {} to {}", value, lo, hi));
  note(key, value);
  return value;
}

Result<double> ConfigReader::number_or(ConfigKey key, double otherwise, double lo, double hi) const {
  if (has(key)) return number(key, lo, hi);
  note(key, otherwise);
  return otherwise;
}

Result<bool> ConfigReader::boolean_or(ConfigKey key, bool otherwise) const {
  bool value = otherwise;
  if (has(key)) {
    SLUICE_TRY(value, metadata_.boolean(name(key)));
  }
  note(key, value);
  return value;
}

Result<std::string> ConfigReader::string_or(ConfigKey key, std::string_view otherwise) const {
  std::string value(otherwise);
  if (has(key)) {
    SLUICE_TRY(value, metadata_.string(name(key)));
  }
  note(key, value);
  return value;
}

Result<std::vector<int64_t>> ConfigReader::integers(ConfigKey key, size_t count, int64_t lo, int64_t hi) const {
  const std::vector<int64_t>* all = metadata_.integers(name(key));
  if (all == nullptr) {
    SLUICE_TRY(const int64_t one, integer(key, lo, hi));
    return std::vector<int64_t>(count, one);
  }
  if (all->size() != count) return invalid(key, fmt::format("has {} values; it must have {}", all->size(), count));
  for (const int64_t value : *all)
    if (value < lo || value > hi) return invalid(key, fmt::format("has {}; its values must be from {} to {}", value, lo, hi));
  note(key, *all);
  return *all;
}

Result<std::vector<double>> ConfigReader::numbers(ConfigKey key, size_t count, double lo, double hi) const {
  const std::string full = name(key);
  if (metadata_.integers(full) == nullptr && metadata_.doubles(full) == nullptr) {
    SLUICE_TRY(const double one, number(key, lo, hi));
    return std::vector<double>(count, one);
  }
  SLUICE_TRY(std::vector<double> all, metadata_.numbers(full));
  if (all.size() != count) return invalid(key, fmt::format("has {} values; it must have {}", all.size(), count));
  for (const double value : all)
    if (!(value >= lo && value <= hi)) return invalid(key, fmt::format("has {}; its values must be from {} to {}", value, lo, hi));
  note(key, all);
  return all;
}

Status ConfigReader::only(ConfigKey key, const MetadataValue& value) const {
  if (!has(key)) return {};
  const MetadataValue& found = metadata_.values().find(name(key))->second;
  if (same(found, value)) return {};
  return refused(key, fmt::format("is {}; this model family is computed with {} only", text_of(found), text_of(value)));
}

}  // namespace sluice
