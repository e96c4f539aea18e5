#include "text/tokenizer/json_fields.h"

namespace sluice {

using nlohmann::json;

Result<json> parse_json(std::string_view text, const std::string& where) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& e) {
    return corrupt_data(fmt::format("{}: not valid JSON at byte {}", where, e.byte));
  } catch (const json::exception& e) {
    return corrupt_data(fmt::format("{}: not valid JSON: {}", where, e.what()));
  }
}

const json* find_field(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<bool> bool_field(const json& object, const char* key, bool otherwise) {
  const json* field = find_field(object, key);
  if (field == nullptr) return otherwise;
  if (!field->is_boolean()) return corrupt_data(fmt::format("field '{}' is not true or false", key));
  return field->get<bool>();
}

Result<std::string> string_field(const json& object, const char* key) {
  const json* field = find_field(object, key);
  if (field == nullptr || !field->is_string()) return corrupt_data(fmt::format("field '{}' is not a string", key));
  return field->get<std::string>();
}

Result<int64_t> int_field(const json& object, const char* key) {
  const json* field = find_field(object, key);
  if (field == nullptr || !field->is_number_integer())
    return corrupt_data(fmt::format("field '{}' is not an integer", key));
  return field->get<int64_t>();
}

Result<std::string> type_of(const json& object, const char* where) {
  auto type = string_field(object, "type");
  if (!type.ok()) return type.error().in(where);
  return type;
}

}  // namespace sluice
