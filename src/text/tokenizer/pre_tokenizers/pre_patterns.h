#pragma once
// The pre-tokenizers that go by a name (tokenizer.ggml.pre of GGUF) instead of being described in the file.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

/// The pattern of GPT-2, built into ByteLevel of tokenizer.json.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// How pieces are spelled: in the byte-level alphabet; as they are, spaces as U+2581; or as they are, without white space.
enum class PieceSpelling { bytes, marked_spaces, words };

struct PrePatterns {
  std::span<const std::string_view> patterns;  // each isolates its matches inside the pieces of those before it
  bool nfc = false;                            // the family normalizes its text first
  bool ignore_merges = false;                  // a piece that is a token is that token
  bool add_bos = false;                        // BOS before a text, where the file does not say
  bool add_sep = false;                        // and the separator between two
  std::string_view gguf_name = {};             // what GGUF calls it, where that is another name
  PieceSpelling spelling = PieceSpelling::bytes;
};

/// The error lists the names that are known.
Result<PrePatterns> find_pre_patterns(std::string_view name);
/// All of them.
std::vector<std::string_view> pre_pattern_names();
/// GGUF's name for text that is split at these patterns, in order; empty where it has none.
std::string_view gguf_pre_name(std::span<const std::string> patterns, bool nfc, bool ignore_merges);

}  // namespace sluice
