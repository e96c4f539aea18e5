#pragma once
// Base64 (RFC 4648), in which tokenizer files write bytes, and models in JSON their values.

#include <optional>
#include <string>
#include <string_view>

namespace sluice {

/// Nothing where the text has other characters, or ends inside a group.
std::optional<std::string> from_base64(std::string_view text);
std::string to_base64(std::string_view bytes);

}  // namespace sluice
