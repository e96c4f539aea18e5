#pragma once
// The pre-tokenizers that go by a name (tokenizer.ggml.pre of GGUF) instead of being described in the file.

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sluice {

/// The pattern of GPT-2, built into ByteLevel of tokenizer.json.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct PrePatterns {
  std::span<const std::string_view> patterns;  // each isolates its matches inside the pieces of those before it
  bool nfc = false;                            // the family normalizes its text first
  bool ignore_merges = false;  // a piece that is a token as a whole is that token, whatever the merges say
  bool add_bos = false;        // where the file does not say
};

/// The error lists the known names.
Result<PrePatterns> find_pre_patterns(std::string_view name);

}  // namespace sluice
