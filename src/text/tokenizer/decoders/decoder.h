#pragma once
// How tokens become text again. A decoder of tokenizer.json works on the list of all tokens; what its kinds make of one
// depends on little more than whether it comes first or last, so that here each token has its texts from the start and
// text can be streamed.

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace sluice {

/// What is done to the text as a whole.
struct DecodeRules {
  std::string stripped = " ";               // one character
  size_t strip_first = 0, strip_last = 0;   // at most so many of it are dropped at the start, and at the end
  bool drops_repeats = false;               // a token that equals the one before it adds nothing
  std::unordered_map<TokenId, std::string> first;  // other text of tokens that come first
  std::unordered_map<TokenId, size_t> tail;        // bytes at the end of a token's text that are dropped where it is last
};

struct TokenPlace {
  bool first = false, last = false;
};

class TokenDecoder {
 public:
  /// Changes the text of one token.
  using Step = std::function<void(std::string& text, TokenPlace place)>;

  void add(Step step) { steps_.push_back(std::move(step)); }
  /// Puts the text of the token spelled so into `bytes`, and its other texts into `rules`.
  void decode(std::string_view spelling, TokenId id, std::string& bytes, DecodeRules& rules) const;

  bool place_matters = false;  // a step looks at the place of the token
  bool byte_level = false;     // tokens are spelled in the byte-level alphabet
  bool byte_fallback = false;  // <0x00> to <0xFF> are bytes, untouched by the steps behind
  size_t byte_fallback_at = 0;
  bool fused = false;          // what follows sees one text
  DecodeRules rules;
  size_t steps() const { return steps_.size(); }

 private:
  std::string text_of(std::string_view spelling, TokenPlace place) const;
  std::vector<Step> steps_;
};

/// The "decoder" of a tokenizer.json (an object or null, which joins tokens with spaces).
Result<TokenDecoder> parse_decoder(const nlohmann::json& description);

// One file each.
Status parse_suffix_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_byte_fallback_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_byte_level_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_ctc_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_fuse_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_metaspace_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_replace_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_strip_decoder(const nlohmann::json& description, TokenDecoder& out);
Status parse_word_piece_decoder(const nlohmann::json& description, TokenDecoder& out);

/// Takes away the spaces that English does not write, before punctuation and contractions (WordPiece and CTC).
void clean_up_spaces(std::string& text);
/// WordPiece's: pieces behind `prefix` go on where the one before ends, the others get a space; `cleanup` as above.
void add_word_piece_step(TokenDecoder& out, std::string prefix, bool cleanup);
/// Refuses a kind that sees single tokens, where they have been fused.
Status needs_tokens(const TokenDecoder& decoder);

}  // namespace sluice
