#include "serve/openai/field_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace sluice {

std::optional<int64_t> integral_value(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t n = value.get<uint64_t>();
    if (n > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    return static_cast<int64_t>(n);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double d = value.get<double>();
  if (d != std::floor(d) || std::fabs(d) > 9e15) return std::nullopt;
  return static_cast<int64_t>(d);
}

void FieldReader::fail(Error error) {
  if (!error_) error_ = std::move(error);
}

void FieldReader::fail(const std::string& name, const Json& given, const std::string& want) {
  const std::string field = path_ + name;
  fail(invalid_argument(fmt::format("{} is {}; it must be {}", field, describe_json(given), want), field));
}

const Json* FieldReader::any(const char* name) {
  seen_.insert(name);
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool FieldReader::boolean(const char* name, bool& target) {
  const Json* value = any(name);
  if (value == nullptr) return false;
  if (!value->is_boolean()) return fail(name, *value, "true or false"), false;
  target = value->get<bool>();
  return true;
}

bool FieldReader::integer(const char* name, int64_t& target, int64_t low, int64_t high) {
  const Json* value = any(name);
  if (value == nullptr) return false;
  const auto n = integral_value(*value);
  if (!n || *n < low || *n > high) {
    // A bound that is only the type's is named where it is the one that the value exceeds.
    const double given = value->is_number() ? value->get<double>() : 0;
    const bool low_matters = (low != INT64_MIN && low != INT32_MIN) || given <= static_cast<double>(low);
    const bool high_matters = (high != INT64_MAX && high != INT32_MAX) || given >= static_cast<double>(high);
    const std::string want = high_matters  ? fmt::format("an integer from {} to {}", low, high)
                             : low_matters ? fmt::format("an integer of at least {}", low)
                                           : "an integer";
    return fail(name, *value, want), false;
  }
  target = *n;
  return true;
}

bool FieldReader::integer(const char* name, int& target, int64_t low, int64_t high) {
  int64_t wide = 0;
  if (!integer(name, wide, std::max<int64_t>(low, INT32_MIN), std::min<int64_t>(high, INT32_MAX))) return false;
  target = static_cast<int>(wide);
  return true;
}

bool FieldReader::number(const NumberLimits& limits, float& target) {
  const Json* value = any(limits.name);
  if (value == nullptr) return false;
  if (!value->is_number() || !limits.allow(value->get<double>()))
    return fail(limits.name, *value, limits.text()), false;
  target = value->get<float>();
  return true;
}

bool FieldReader::string(const char* name, std::string& target) {
  const Json* value = any(name);
  if (value == nullptr) return false;
  if (!value->is_string()) return fail(name, *value, "a string"), false;
  target = value->get<std::string>();
  return true;
}

bool FieldReader::strings(const char* name, std::vector<std::string>& target) {
  const Json* value = any(name);
  if (value == nullptr) return false;
  std::vector<std::string> found;
  if (value->is_string()) {
    found.push_back(value->get<std::string>());
  } else {
    if (!value->is_array()) return fail(name, *value, "a string or an array of strings"), false;
    for (size_t i = 0; i < value->size(); ++i) {
      if (!(*value)[i].is_string()) return fail(fmt::format("{}[{}]", name, i), (*value)[i], "a string"), false;
      found.push_back((*value)[i].get<std::string>());
    }
  }
  target = std::move(found);
  return true;
}

bool FieldReader::integers(const char* name, std::vector<int32_t>& target, int64_t low, int64_t high) {
  const Json* value = array(name, "an array of integers");
  if (value == nullptr) return false;
  std::vector<int32_t> found;
  found.reserve(value->size());
  for (size_t i = 0; i < value->size(); ++i) {
    const auto n = integral_value((*value)[i]);
    if (!n || *n < low || *n > high)
      return fail(fmt::format("{}[{}]", name, i), (*value)[i], fmt::format("an integer from {} to {}", low, high)),
             false;
    found.push_back(static_cast<int32_t>(*n));
  }
  target = std::move(found);
  return true;
}

const Json* FieldReader::array(const char* name, const char* want) {
  const Json* value = any(name);
  if (value == nullptr || value->is_array()) return value;
  fail(name, *value, want);
  return nullptr;
}

const Json* FieldReader::object(const char* name, const char* want) {
  const Json* value = any(name);
  if (value == nullptr || value->is_object()) return value;
  fail(name, *value, want);
  return nullptr;
}

void FieldReader::only(const char* name, const char* neutral, const char* why) {
  const Json* value = any(name);
  if (value == nullptr) return;
  const Json accepted = Json::parse(neutral);
  for (const Json& fine : accepted)
    if (fine == *value) return;
  const std::string field = path_ + name;
  std::string want;
  for (const Json& fine : accepted) want += (want.empty() ? "" : " or ") + dump_json(fine);
  fail(unsupported(fmt::format("{} is {}, but {}; leave it out{}", field, describe_json(*value), why,
                               want.empty() ? "" : " or set it to " + want),
                   field));
}

std::vector<std::string> FieldReader::unknown() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_.items())
    if (!seen_.contains(name)) names.push_back(path_ + name);
  return names;
}

}  // namespace sluice
