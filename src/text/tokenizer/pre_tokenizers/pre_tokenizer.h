#pragma once
// How text is cut into pieces inside which tokens merge.

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/regex.h"

namespace sluice {

/// Text cut at `ends`: piece i is [ends[i-1], ends[i]); the last end is the text's size. No piece is empty.
struct Pieces {
  std::string text;
  std::vector<size_t> ends;
  bool from_start = false;  // the first piece is the very beginning of the input
};

class PreTokenizer {
 public:
  /// Cuts, or rewrites, each piece that the steps before it left.
  using Step = std::function<void(Pieces& pieces)>;

  void add(Step step) { steps_.push_back(std::move(step)); }
  /// `text` must be valid UTF-8. `at_start`: it stands at the very beginning of the input.
  Pieces apply(std::string text, bool at_start) const;
  /// The pieces become bytes for a byte-level vocabulary: ByteLevel was the last of those described.
  bool byte_level = false;
  bool drops_text = false;  // a step leaves its matches, or what is between them, out
  /// Where `byte_level`: from here on the bytes are spelled in the byte-level alphabet.
  void spell_bytes();

 private:
  std::vector<Step> steps_;
};

/// What becomes of a match: a piece of its own, dropped, joined to a neighbour, or joined to matches beside it.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
PreTokenizer::Step split_on(Regex regex, SplitBehavior behavior, bool invert = false);
/// The same with the characters of a class as matches.
PreTokenizer::Step split_at_characters(bool (*in_class)(uint32_t), SplitBehavior behavior);
inline constexpr const char* kMetaspace = "\xe2\x96\x81";  // U+2581, a space in sentencepiece's spelling
/// Whether a piece has such a space behind something else: where none has, words can be encoded apart.
bool crosses_words(std::string_view piece);
/// Space becomes `replacement`, which is put before a piece, too, and begins pieces.
enum class PrependScheme { never, first, always };
PreTokenizer::Step metaspace(std::string replacement, PrependScheme scheme, bool split);
/// A piece begins at every `replacement` that follows something else.
PreTokenizer::Step cut_before(std::string replacement);
/// The split that a pattern of a tokenizer file asks for. Some are known by their text and need no regular expression.
Result<PreTokenizer::Step> split_on_pattern(std::string_view pattern, SplitBehavior behavior, bool invert = false);
/// A PreTokenizer for byte-level vocabularies that isolates the matches of each pattern in turn.
Result<PreTokenizer> byte_level_pre_tokenizer(std::span<const std::string_view> patterns);

/// The "pre_tokenizer" of a tokenizer.json (an object or null).
Result<PreTokenizer> parse_pre_tokenizer(const nlohmann::json& description);

// One file each.
Status parse_bert_pre_tokenizer(const nlohmann::json& description, PreTokenizer& out);
Status parse_byte_level(const nlohmann::json& description, PreTokenizer& out);
Status parse_delimiter(const nlohmann::json& description, PreTokenizer& out);
Status parse_digits(const nlohmann::json& description, PreTokenizer& out);
Status parse_fixed_length(const nlohmann::json& description, PreTokenizer& out);
Status parse_metaspace(const nlohmann::json& description, PreTokenizer& out);
Status parse_punctuation(const nlohmann::json& description, PreTokenizer& out);
Status parse_split(const nlohmann::json& description, PreTokenizer& out);
Status parse_unicode_scripts(const nlohmann::json& description, PreTokenizer& out);
Status parse_whitespace(const nlohmann::json& description, PreTokenizer& out);
Status parse_whitespace_split(const nlohmann::json& description, PreTokenizer& out);

Result<SplitBehavior> parse_behavior(const nlohmann::json& description);

}  // namespace sluice
