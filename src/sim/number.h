#pragma once
#include <charconv>
#include <string_view>

namespace sluice {

/// Reads all of `text` as a number, or returns false.
inline bool read_number(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace sluice
