#pragma once
// Typed reads of JSON fields with errors that name the field; no exception leaves this folder.

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice {

/// A parsed document; the error names `where` and the byte at which the text stops being JSON.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& where);

/// Field `key` of `object`, or `otherwise` where it is absent or null.
Result<bool> bool_field(const nlohmann::json& object, const char* key, bool otherwise);
Result<std::string> string_field(const nlohmann::json& object, const char* key);  // required
Result<int64_t> int_field(const nlohmann::json& object, const char* key);         // required
/// The field, or nullptr where it is absent or null.
const nlohmann::json* find_field(const nlohmann::json& object, const char* key);
/// The "type" of a component; the error says what `where` is.
Result<std::string> type_of(const nlohmann::json& object, const char* where);

}  // namespace sluice
