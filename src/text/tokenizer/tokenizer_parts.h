#pragma once
// What a loader hands to Tokenizer.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/decoders/decoder.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/models/token_model.h"
#include "text/tokenizer/tokenizer.h"

namespace sluice {

struct TokenInfo {
  std::string bytes;     // what it adds to a text
  bool special = false;  // left out of decoded text
};

struct TokenizerParts {
  std::vector<TokenInfo> tokens;  // by id
  std::vector<AddedToken> added;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<const TokenModel> model;
  std::vector<TokenId> prefix, suffix;  // what add_special puts around a text
  PairForm pair;
  std::optional<TokenId> bos, eos, pad;
  std::vector<TokenId> end_of_generation;  // beside eos and the well-known ends of turns
  DecodeRules decoding;
  std::map<std::string, std::string> chat_templates;
};

/// Ids of the added tokens that no merge may produce.
std::unordered_set<TokenId> control_ids(const std::vector<AddedToken>& added);

/// Adds to a list of added tokens, which nobody else changes meanwhile. A file may have a hundred thousand of them.
class AddedTokenList {
 public:
  explicit AddedTokenList(std::vector<AddedToken>& tokens);

  /// Adds a token, or changes what is known of the one with its id, or else its content; one without content is left
  /// out. The error is for a content that is too long.
  Status add(AddedToken token);
  /// Null when there is none.
  AddedToken* find(const std::string& content);

 private:
  void index(size_t i);

  std::vector<AddedToken>& tokens_;
  std::unordered_map<TokenId, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
};

/// Gives every added token its place and text in parts.tokens, and completes end_of_generation. The error is for an id
/// so far beyond the vocabulary that it must be a lie. Loaders call it last.
Status finish_tokens(TokenizerParts& parts);

}  // namespace sluice
