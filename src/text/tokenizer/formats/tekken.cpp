// tekken.json of Mistral: ranked tokens with the pattern that splits text. The first ids are the special tokens', and of
// the vocabulary as many tokens count as the configuration says.

#include "base/mapped_file.h"
#include "base/base64.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/ranked_tokens.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"

namespace sluice {
namespace {

using nlohmann::json;

/// What files of before version 7 leave out.
constexpr const char* kFirstSpecials[] = {
    "<unk>",          "<s>",     "</s>",  "[INST]",      "[/INST]",   "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]",     "<pad>",             "[IMG_BREAK]",
    "[IMG_END]",      "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"};

Status read_specials(const json& document, int64_t count, GgufVocab& vocab) {
  for (int64_t id = 0; id < count; ++id)
    SLUICE_TRY_STATUS(put_token(vocab, id, fmt::format("<SPECIAL_{}>", id), GgufTokenType::control));
  const json* listed = find_field(document, "special_tokens");
  if (listed == nullptr) {
    for (int64_t id = 0; id < std::min<int64_t>(count, std::size(kFirstSpecials)); ++id)
      vocab.tokens[static_cast<size_t>(id)] = kFirstSpecials[id];
  } else if (!listed->is_array()) {
    return corrupt_data("field 'special_tokens' is not a list");
  } else {
    for (const json& entry : *listed) {
      SLUICE_TRY(const int64_t rank, int_field(entry, "rank"));
      SLUICE_TRY(std::string text, string_field(entry, "token_str"));
      SLUICE_TRY(const bool control, bool_field(entry, "is_control", true));
      if (rank < 0 || rank >= count)
        return corrupt_data(fmt::format("special token '{}' has rank {}, there are {}", text, rank, count));
      vocab.tokens[static_cast<size_t>(rank)] = std::move(text);
      if (!control) vocab.token_types[static_cast<size_t>(rank)] = static_cast<int32_t>(GgufTokenType::user_defined);
    }
  }
  const std::pair<const char*, std::optional<TokenId>*> named[] = {
      {"<unk>", &vocab.unk}, {"<s>", &vocab.bos}, {"</s>", &vocab.eos}, {"<pad>", &vocab.pad}};
  for (const auto& [text, id] : named)
    for (int64_t i = 0; i < count; ++i)
      if (vocab.tokens[static_cast<size_t>(i)] == text) *id = static_cast<TokenId>(i);
  return {};
}

Result<GgufVocab> read(const json& document, std::string& pattern) {
  const json* config = find_field(document, "config");
  const json* listed = find_field(document, "vocab");
  if (config == nullptr || listed == nullptr || !listed->is_array())
    return corrupt_data("no 'config', or 'vocab' is not a list");
  SLUICE_TRY(pattern, string_field(*config, "pattern"));
  SLUICE_TRY(const int64_t size, int_field(*config, "default_vocab_size"));
  SLUICE_TRY(const int64_t specials, int_field(*config, "default_num_special_tokens"));
  const int64_t ranks = size - specials;
  if (specials < 0 || ranks < 0 || ranks > static_cast<int64_t>(listed->size()))
    return corrupt_data(fmt::format("{} tokens, {} of them special, do not fit 'vocab' of {}", size, specials, listed->size()));
  GgufVocab vocab;
  vocab.model = "gpt2";
  vocab.pre = "tekken";
  SLUICE_TRY_STATUS(read_specials(document, specials, vocab));
  RankedTokens ranked{.first_id = static_cast<TokenId>(specials)};
  ranked.tokens.resize(static_cast<size_t>(ranks));
  for (const json& entry : *listed) {
    SLUICE_TRY(const int64_t rank, int_field(entry, "rank"));
    if (rank < 0) return corrupt_data(fmt::format("a token has rank {}", rank));
    if (rank >= ranks) continue;
    SLUICE_TRY(const std::string encoded, string_field(entry, "token_bytes"));
    const auto bytes = from_base64(encoded);
    if (!bytes || bytes->empty()) return corrupt_data(fmt::format("the token of rank {} is not in base64", rank));
    ranked.tokens[static_cast<size_t>(rank)] = *bytes;
  }
  SLUICE_TRY_STATUS(add_ranked_tokens(ranked, vocab));
  vocab.add_bos = true;
  return vocab;
}

Result<GgufVocab> read_file_at(const std::string& path, std::string& pattern) {
  SLUICE_TRY(const std::string text, read_file(path));
  SLUICE_TRY(const json document, parse_json(text, path));
  auto vocab = read(document, pattern);
  if (!vocab.ok()) return vocab.error().in(path);
  return vocab;
}

}  // namespace

Result<GgufVocab> read_tekken_vocab(const std::string& path) {
  std::string pattern;
  SLUICE_TRY(GgufVocab vocab, read_file_at(path, pattern));
  const auto known = find_pre_patterns(vocab.pre);
  if (!known.ok() || known->patterns.size() != 1 || known->patterns[0] != pattern)
    return unsupported(fmt::format("{}: GGUF has no name known here for the pattern {}", path, pattern));
  return vocab;
}

Result<std::unique_ptr<Tokenizer>> load_tekken(const std::string& directory, const TokenizerConfig& config) {
  const std::string path = directory + "/tekken.json";
  std::string pattern;
  SLUICE_TRY(const GgufVocab vocab, read_file_at(path, pattern));
  TokenizerParts parts;
  if (const Status built = build_gguf_parts({vocab, config}, parts); !built.ok()) return built.error().in(path);
  const std::string_view patterns[] = {pattern};
  auto pre_tokenizer = byte_level_pre_tokenizer(patterns);
  if (!pre_tokenizer.ok()) return pre_tokenizer.error().in(path);
  parts.pre_tokenizer = std::move(pre_tokenizer).value();
  return std::make_unique<Tokenizer>(std::move(parts));
}

}  // namespace sluice
