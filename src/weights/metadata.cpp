#include "weights/metadata.h"

namespace sluice {
namespace {

const char* kind_of(const MetadataValue& value) {
  static constexpr const char* kNames[] = {"a boolean",        "an integer",         "a number",           "a string",
                                           "an integer array", "an array of numbers", "an array of strings"};
  return kNames[value.index()];
}

Error missing(const Metadata& data, std::string_view key, const char* wanted) {
  return not_found(fmt::format("{}: \"{}\" is missing ({} is wanted)", data.origin(), key, wanted));
}

Error mistyped(const Metadata& data, std::string_view key, const MetadataValue& value, const char* wanted) {
  return corrupt_data(fmt::format("{}: \"{}\" is {}, but {} is wanted", data.origin(), key, kind_of(value), wanted));
}

template <class T>
const T* get_if(const std::map<std::string, MetadataValue, std::less<>>& values, std::string_view key) {
  const auto at = values.find(key);
  return at == values.end() ? nullptr : std::get_if<T>(&at->second);
}

}  // namespace

void Metadata::set(std::string key, MetadataValue value) {
  nulls_.erase(key);
  values_[std::move(key)] = std::move(value);
}

void Metadata::remove_prefix(std::string_view prefix) {
  std::erase_if(values_, [&](const auto& entry) { return entry.first.starts_with(prefix); });
  std::erase_if(nulls_, [&](const std::string& key) { return key.starts_with(prefix); });
}

void Metadata::set_null(std::string key) {
  values_.erase(key);
  nulls_.insert(std::move(key));
}

std::string Metadata::architecture() const {
  if (kind_ == MetadataKind::gguf) return string_or("general.architecture", "");
  const auto* names = strings("architectures");
  return names == nullptr || names->empty() ? std::string() : names->front();
}

Result<int64_t> Metadata::integer(std::string_view key) const {
  const auto at = values_.find(key);
  if (at == values_.end()) return missing(*this, key, "an integer");
  if (const auto* value = std::get_if<int64_t>(&at->second)) return *value;
  return mistyped(*this, key, at->second, "an integer");
}

Result<double> Metadata::number(std::string_view key) const {
  const auto at = values_.find(key);
  if (at == values_.end()) return missing(*this, key, "a number");
  if (const auto* value = std::get_if<double>(&at->second)) return *value;
  if (const auto* value = std::get_if<int64_t>(&at->second)) return static_cast<double>(*value);
  return mistyped(*this, key, at->second, "a number");
}

Result<bool> Metadata::boolean(std::string_view key) const {
  const auto at = values_.find(key);
  if (at == values_.end()) return missing(*this, key, "a boolean");
  if (const auto* value = std::get_if<bool>(&at->second)) return *value;
  return mistyped(*this, key, at->second, "a boolean");
}

Result<std::string> Metadata::string(std::string_view key) const {
  const auto at = values_.find(key);
  if (at == values_.end()) return missing(*this, key, "a string");
  if (const auto* value = std::get_if<std::string>(&at->second)) return *value;
  return mistyped(*this, key, at->second, "a string");
}

Result<std::vector<double>> Metadata::numbers(std::string_view key) const {
  const auto at = values_.find(key);
  if (at == values_.end()) return missing(*this, key, "an array of numbers");
  if (const auto* value = std::get_if<std::vector<double>>(&at->second)) return *value;
  if (const auto* value = std::get_if<std::vector<int64_t>>(&at->second))
    return std::vector<double>(value->begin(), value->end());
  return mistyped(*this, key, at->second, "an array of numbers");
}

const std::vector<std::string>* Metadata::strings(std::string_view key) const {
  return get_if<std::vector<std::string>>(values_, key);
}
const std::vector<int64_t>* Metadata::integers(std::string_view key) const {
  return get_if<std::vector<int64_t>>(values_, key);
}
const std::vector<double>* Metadata::doubles(std::string_view key) const {
  return get_if<std::vector<double>>(values_, key);
}

int64_t Metadata::integer_or(std::string_view key, int64_t otherwise) const {
  const auto* value = get_if<int64_t>(values_, key);
  return value == nullptr ? otherwise : *value;
}

double Metadata::number_or(std::string_view key, double otherwise) const {
  if (const auto* value = get_if<double>(values_, key)) return *value;
  if (const auto* value = get_if<int64_t>(values_, key)) return static_cast<double>(*value);
  return otherwise;
}

bool Metadata::boolean_or(std::string_view key, bool otherwise) const {
  const auto* value = get_if<bool>(values_, key);
  return value == nullptr ? otherwise : *value;
}

std::string Metadata::string_or(std::string_view key, std::string_view otherwise) const {
  const auto* value = get_if<std::string>(values_, key);
  return value == nullptr ? std::string(otherwise) : *value;
}

}  // namespace sluice
