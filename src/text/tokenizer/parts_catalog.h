#pragma once
// How the parts of a tokenizer.json are looked up by their "type". Each room of this folder has a catalog: an array of
// these, one line for each kind, and one file for each kind that it names.

#include <span>
#include <string>
#include <string_view>

#include "text/tokenizer/json_fields.h"

namespace sluice {

/// A kind of part, which adds what its description says to `Out`.
template <class Out>
struct PartKind {
  std::string_view type;
  Status (*parse)(const nlohmann::json& description, Out& out);
};

/// Adds what `description` (an object, or null for nothing) says. A Sequence holds others in its list `sequence_key`.
/// `where` is the path to it in the document; errors begin with the path to the part at fault.
template <class Out>
Status parse_part(const nlohmann::json& description, const std::string& where, const char* sequence_key,
                  std::span<const PartKind<Out>> kinds, Out& out, int depth = 0) {
  if (description.is_null()) return {};
  if (depth > 8) return corrupt_data(where + ": nested too deeply");
  const auto type = string_field(description, "type");
  if (!type.ok()) return type.error().in(where);
  if (*type == "Sequence") {
    const nlohmann::json* list = find_field(description, sequence_key);
    if (list == nullptr || !list->is_array())
      return corrupt_data(fmt::format("{}: '{}' of the Sequence is not a list", where, sequence_key));
    for (size_t i = 0; i < list->size(); ++i)
      SLUICE_TRY_STATUS(parse_part((*list)[i], fmt::format("{}.{}[{}]", where, sequence_key, i), sequence_key, kinds,
                                   out, depth + 1));
    return {};
  }
  std::string known = "Sequence";
  for (const PartKind<Out>& kind : kinds) {
    if (kind.type == *type) {
      const Status parsed = kind.parse(description, out);
      return parsed.ok() ? parsed : Status(parsed.error().in(fmt::format("{} ({})", where, *type)));
    }
    known.append(", ").append(kind.type);
  }
  return unsupported(fmt::format("{} of type '{}' (known: {})", where, *type, known));
}

/// The text or the pattern of a field {"String": ...} or {"Regex": ...}; `what` says where it is wanted.
struct PatternField {
  std::string text;
  bool is_regex = false;
};
Result<PatternField> pattern_field(const nlohmann::json& object);
/// A field that holds one character, in UTF-8.
Result<std::string> character_field(const nlohmann::json& object, const char* key);

}  // namespace sluice
