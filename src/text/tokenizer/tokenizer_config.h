#pragma once
// tokenizer_config.json and what stands beside it: special tokens, chat templates, the ends of generation.

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/tokenizer_parts.h"

namespace sluice {

struct TokenizerConfig {
  std::string tokenizer_class;  // may be empty
  std::vector<AddedToken> added;
  std::string bos_token, eos_token, pad_token, unk_token;  // contents; may be empty
  std::string cls_token, sep_token, mask_token;            // of encoders
  std::optional<bool> add_bos, add_eos, add_prefix_space, legacy;
  std::optional<bool> lowercase, strip_accents;  // of BERT
  std::vector<TokenId> end_of_generation;
  std::map<std::string, std::string> chat_templates;
};

/// Reads what there is in the directory; an absent file is no error.
Result<TokenizerConfig> read_tokenizer_config(const std::string& directory);

/// Merges the configuration into parts: its added tokens, BOS and EOS with what add_special does, templates and ends of
/// generation. Call it once parts have their own added tokens and prefix, and before the model is built, since that
/// must know every control token. `id_of` finds a token of the vocabulary proper by its spelling.
Status apply_tokenizer_config(const TokenizerConfig& config,
                              const std::function<std::optional<TokenId>(const std::string&)>& id_of,
                              TokenizerParts& parts);

/// An entry of added_tokens or added_tokens_decoder.
Result<AddedToken> parse_added_token(const nlohmann::json& entry, TokenId id);

}  // namespace sluice
