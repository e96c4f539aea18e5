// Tokenizers from the vocabulary of a GGUF file.

#include <cmath>

#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

Result<AroundText> around_llama(const GgufVocab&) { return AroundText{.bos = true}; }
Result<AroundText> around_bert(const GgufVocab&) { return AroundText{.bos = true, .sep = true, .one_end = true}; }
Result<AroundText> around_t5(const GgufVocab&) { return AroundText{.eos = true}; }
Result<AroundText> nothing_around(const GgufVocab&) { return AroundText{}; }

constexpr GgufModelKind kGgufModelKinds[] = {
    {"llama", around_llama, build_gguf_llama, true},   {"gpt2", around_gpt2, build_gguf_gpt2},
    {"gemma4", around_llama, build_gguf_gemma4, true}, {"bert", around_bert, build_gguf_bert},
    {"t5", around_t5, build_gguf_t5, true},            {"rwkv", nothing_around, build_gguf_rwkv},
    {"plamo2", nothing_around, build_gguf_plamo2},     {"whitespace", nothing_around, build_gguf_whitespace},
};

Result<const GgufModelKind*> find_kind(std::string_view name) {
  std::string known;
  for (const GgufModelKind& kind : kGgufModelKinds) {
    if (kind.name == name) return &kind;
    known.append(known.empty() ? "" : ", ").append(kind.name);
  }
  if (name == "none" || name == "no_vocab")
    return unsupported(fmt::format("tokenizer.ggml.model is '{}': the file has no vocabulary", name));
  return unsupported(fmt::format("tokenizer.ggml.model '{}' (supported: {})", name, known));
}

Status check_sizes(const GgufVocab& vocab) {
  const size_t n = vocab.tokens.size();
  if (n == 0) return corrupt_data("tokenizer.ggml.tokens is empty");
  if (n >= INT32_MAX) return corrupt_data(fmt::format("tokenizer.ggml.tokens has {} entries", n));
  if (!vocab.token_types.empty() && vocab.token_types.size() != n)
    return corrupt_data(
        fmt::format("tokenizer.ggml.token_type has {} entries, expected {}", vocab.token_types.size(), n));
  const std::pair<const char*, std::optional<TokenId>> ids[] = {
      {"bos", vocab.bos}, {"eos", vocab.eos},       {"unknown", vocab.unk}, {"padding", vocab.pad},
      {"eot", vocab.eot}, {"seperator", vocab.sep}, {"cls", vocab.cls},     {"mask", vocab.mask}};
  for (const auto& [name, id] : ids)
    if (id && (*id < 0 || static_cast<size_t>(*id) >= n))
      return corrupt_data(fmt::format("tokenizer.ggml.{}_token_id is {}, the vocabulary has {} tokens", name, *id, n));
  return {};
}

/// Control and user-defined tokens are found in text as they stand.
Status add_typed_tokens(const GgufVocab& vocab, bool after_normalizing, TokenizerParts& parts) {
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const GgufTokenType type = gguf_token_type(vocab, id);
    const bool special = type == GgufTokenType::control || type == GgufTokenType::unknown;
    if (!special && type != GgufTokenType::user_defined) continue;
    AddedToken token{.id = static_cast<TokenId>(id), .content = gguf_text(vocab, id), .special = special};
    if (token.content.empty()) continue;
    if (token.content.size() > kMaxAddedTokenBytes)
      return corrupt_data(fmt::format("token {} has {} bytes, at most {} allowed for its type", id,
                                      token.content.size(), kMaxAddedTokenBytes));
    token.normalized = after_normalizing && !token.special;
    parts.added.push_back(std::move(token));
  }
  return {};
}

}  // namespace

std::span<const GgufModelKind> gguf_model_kinds() { return kGgufModelKinds; }

GgufTokenType gguf_token_type(const GgufVocab& vocab, size_t id) {
  return vocab.token_types.empty() ? GgufTokenType::normal : static_cast<GgufTokenType>(vocab.token_types[id]);
}

std::string gguf_text(const GgufVocab& vocab, size_t id) { return to_valid_utf8(vocab.tokens[id]); }

std::optional<TokenId> gguf_unknown(const GgufVocab& vocab) {
  for (size_t id = 0; !vocab.unk && id < vocab.token_types.size(); ++id)
    if (gguf_token_type(vocab, id) == GgufTokenType::unknown) return static_cast<TokenId>(id);
  return vocab.unk;
}

Result<uint8_t> gguf_byte(const GgufVocab& vocab, size_t id) {
  const std::string text = gguf_text(vocab, id);
  const auto byte = spelled_byte(text);
  if (!byte)
    return corrupt_data(fmt::format("token {} is a byte but spelled '{}', expected <0x00> to <0xFF>", id, text));
  return *byte;
}

Status check_scores(const GgufVocab& vocab) {
  if (vocab.scores.size() != vocab.tokens.size())
    return corrupt_data(
        fmt::format("tokenizer.ggml.scores has {} entries, expected {}", vocab.scores.size(), vocab.tokens.size()));
  for (size_t id = 0; id < vocab.scores.size(); ++id)
    if (std::isnan(vocab.scores[id])) return corrupt_data(fmt::format("the score of token {} is not a number", id));
  return {};
}

Status add_sentencepiece_normalizer(const GgufSource& source, TokenizerParts& parts) {
  if (!source.vocab.character_map.empty()) {
    SLUICE_TRY(Normalizer::Step step, character_map(source.vocab.character_map, CharacterMapBy::longest_match));
    parts.normalizer.add(std::move(step), kDropsText);
  }
  const bool no_extra = source.vocab.remove_extra_whitespaces.value_or(false);
  if (no_extra) parts.normalizer.add(remove_extra_spaces(), kDropsText);
  const bool prefix = source.config.add_prefix_space.value_or(source.vocab.add_space_prefix.value_or(true));
  if (prefix) parts.normalizer.add(prepend_text(" ", !source.config.legacy.value_or(true)));
  parts.normalizer.add(replace_text(" ", kMetaspace));
  if (no_extra) parts.normalizer.add(drop_at_end(kMetaspace), kDropsText);
  parts.decoding.strip_first = prefix ? 1 : 0;
  return {};
}

Result<TokensAround> tokens_around(const GgufVocab& vocab) {
  SLUICE_TRY(const GgufModelKind* kind, find_kind(vocab.model));
  SLUICE_TRY(const AroundText usual, kind->around(vocab));
  TokensAround around;
  const auto put = [](std::vector<TokenId>& list, const std::optional<TokenId>& id, bool wanted) {
    if (wanted && id) list.push_back(*id);
  };
  put(around.prefix, vocab.bos ? vocab.bos : vocab.cls, vocab.add_bos.value_or(usual.bos));
  const bool eos = vocab.add_eos.value_or(usual.eos), sep = vocab.add_sep.value_or(usual.sep);
  if (usual.one_end) put(around.suffix, vocab.sep ? vocab.sep : vocab.eos, eos || sep);
  else put(around.suffix, vocab.eos, eos);
  around.pair = {usual.one_end || vocab.add_sep || (usual.sep && vocab.sep), around.suffix, usual.one_end ? 1 : 0};
  if (!usual.one_end) put(around.pair.between, vocab.sep, sep);
  return around;
}

Status build_gguf_parts(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  SLUICE_TRY(const GgufModelKind* kind, find_kind(vocab.model));
  SLUICE_TRY_STATUS(check_sizes(vocab));
  parts.tokens.resize(vocab.tokens.size());
  SLUICE_TRY_STATUS(add_typed_tokens(vocab, kind->user_defined_after_normalizing, parts));
  parts.bos = vocab.bos ? vocab.bos : vocab.cls;
  parts.eos = vocab.eos;
  parts.pad = vocab.pad;
  if (vocab.eot) parts.end_of_generation.push_back(*vocab.eot);
  SLUICE_TRY(TokensAround around, tokens_around(vocab));
  parts.prefix = std::move(around.prefix);
  parts.suffix = std::move(around.suffix);
  if (around.pair.said) parts.pair = std::move(around.pair);
  parts.chat_templates = vocab.chat_templates;
  const auto id_of = [&](const std::string& content) -> std::optional<TokenId> {
    for (size_t id = 0; id < vocab.tokens.size(); ++id)
      if (vocab.tokens[id] == content) return static_cast<TokenId>(id);
    return std::nullopt;
  };
  SLUICE_TRY_STATUS(apply_tokenizer_config(source.config, id_of, parts));
  SLUICE_TRY_STATUS(kind->build(source, parts));
  SLUICE_TRY_STATUS(finish_tokens(parts));
  const bool by_word = vocab.model == "t5" && !source.from_sentencepiece;  // spaces are spelled out later
  for (AddedToken& token : parts.added) {  // these meet normalized text, whose spaces are spelled out
    if (!kind->user_defined_after_normalizing || by_word || !token.normalized) continue;
    replace_text(" ", kMetaspace)(token.content, false);
    replace_text(kMetaspace, " ")(parts.tokens[static_cast<size_t>(token.id)].bytes, false);
  }
  return {};
}

Result<std::unique_ptr<Tokenizer>> build_gguf_tokenizer(const GgufVocab& vocab, const TokenizerConfig& config) {
  TokenizerParts parts;
  if (const Status built = build_gguf_parts({vocab, config}, parts); !built.ok()) return built.error().in("tokenizer");
  return std::make_unique<Tokenizer>(std::move(parts));
}

Result<std::unique_ptr<Tokenizer>> make_gguf_tokenizer(const GgufVocab& vocab) {
  return build_gguf_tokenizer(vocab, {});
}

}  // namespace sluice
