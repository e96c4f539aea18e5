#pragma once
// Text to tokens and back. One class; what differs between families are its parts (tokenizer_parts.h), which the
// loaders (load_tokenizer.h) read from the files of a model.
//
// Text from users never becomes a control token: special tokens, and added tokens in the shape of markup, are found in
// trusted text only, and no merge can produce them.

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace sluice {

struct DecodeRules;
struct TokenizerParts;

struct EncodeOptions {
  bool add_special = true;     // the tokens that the model wants around a text, such as BOS
  bool parse_special = false;  // the text is trusted: control tokens written in it are control tokens
};

struct DecodeOptions {
  bool skip_special = true;
  bool strip_leading_space = true;  // what is only there at the start of a text, as the space that sentencepiece puts
                                    // before it; not when continuing a text
};

/// How two texts are read as one: what stands between them, in place of what ends the first and begins the second, and the type of the
/// second one's tokens (1: BERT).
struct PairForm {
  bool said = false;  // by the files
  std::vector<TokenId> between;
  int second_type = 0;
};

/// A part of a rendered chat template: trusted where the template wrote it, not where the user did.
struct TextSegment {
  std::string text;
  bool trusted = false;
};

class Tokenizer {
 public:
  explicit Tokenizer(TokenizerParts parts);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Never fails: invalid UTF-8 is read as U+FFFD. All members are safe to call from many threads.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;
  /// Encodes the concatenation of the segments, with control tokens found in trusted text only. Where untrusted text
  /// holds none, the result is that of encode(whole text, parse_special): segment ends alone change nothing. A rendered
  /// template writes its BOS itself, so add_special is usually false here.
  std::vector<TokenId> encode_segments(std::span<const TextSegment> segments, bool add_special) const;

  /// The text of the tokens as valid UTF-8: sequences that are not are replaced by U+FFFD. Ids outside the vocabulary
  /// add nothing. Equal to the concatenation of what a Detokenizer emits.
  std::string decode(std::span<const TokenId> ids, DecodeOptions options = {}) const;
  /// The bytes that a token adds to a text when it is not the first; not always whole characters.
  std::string_view token_bytes(TokenId id) const;

  /// The most bytes of a text that one token can stand for; nothing where there is no such bound, since white space or
  /// unknown characters are dropped or run together.
  std::optional<size_t> longest_token_bytes() const;

  /// Ids are [0, vocab_size()); some may be holes, which have no bytes.
  int vocab_size() const;
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  std::optional<TokenId> pad() const;
  const PairForm& pair_form() const;
  /// Every token after which generation ends (end of turn, of text), ascending.
  const std::vector<TokenId>& end_of_generation() const;
  bool is_end_of_generation(TokenId id) const;
  /// Steers the model and is left out of decoded text.
  bool is_special(TokenId id) const;
  /// The token spelled exactly so: an added token's content, or a piece as the model spells it.
  std::optional<TokenId> token_id(std::string_view spelling) const;
  /// What decoding does to a text as a whole.
  const DecodeRules& decode_rules() const;

  /// Chat templates that came with the tokenizer, by name; the usual one is "default".
  const std::map<std::string, std::string>& chat_templates() const;

 private:
  void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& out) const;
  struct Matchers;
  std::unique_ptr<const TokenizerParts> parts_;
  std::unique_ptr<const Matchers> matchers_;
  std::optional<size_t> longest_token_bytes_;
  uint64_t serial_;  // no other tokenizer has it
};

}  // namespace sluice
