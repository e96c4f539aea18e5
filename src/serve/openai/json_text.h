#pragma once
// JSON from clients, read strictly: valid UTF-8, no duplicate keys, bounded depth and size.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice {

using Json = nlohmann::ordered_json;  // keeps the order of keys, which a chat template may print

inline constexpr int kMaxJsonDepth = 64;
inline constexpr size_t kMaxJsonValues = size_t{1} << 21;

/// Never throws. The error says where the text is wrong.
Result<Json> parse_json(std::string_view text);
/// The same, of a text that must be an object: the body of a request.
Result<Json> parse_json_object(std::string_view text);
/// One line; invalid UTF-8, which only our own bugs could bring, becomes U+FFFD.
std::string dump_json(const Json& value);
/// A value as an error message shows it: shortened, with the name of its type.
std::string describe_json(const Json& value);

}  // namespace sluice
