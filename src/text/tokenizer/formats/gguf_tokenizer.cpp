// Tokenizers from the vocabulary of a GGUF file: "llama" (sentencepiece BPE) and "gpt2" (byte-level BPE).

#include <cmath>
#include <deque>

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr const char* kMetaspace = "\xe2\x96\x81";  // U+2581, a space in sentencepiece's spelling

GgufTokenType type_of_token(const GgufVocab& vocab, size_t id) {
  return vocab.token_types.empty() ? GgufTokenType::normal : static_cast<GgufTokenType>(vocab.token_types[id]);
}

Status check_sizes(const GgufVocab& vocab) {
  const size_t n = vocab.tokens.size();
  if (n == 0) return corrupt_data("tokenizer.ggml.tokens is empty");
  if (n >= INT32_MAX) return corrupt_data(fmt::format("tokenizer.ggml.tokens has {} entries", n));
  if (!vocab.token_types.empty() && vocab.token_types.size() != n)
    return corrupt_data(
        fmt::format("tokenizer.ggml.token_type has {} entries, expected {}", vocab.token_types.size(), n));
  const std::pair<const char*, std::optional<TokenId>> ids[] = {
      {"bos", vocab.bos}, {"eos", vocab.eos}, {"unknown", vocab.unk}, {"padding", vocab.pad}, {"eot", vocab.eot}};
  for (const auto& [name, id] : ids)
    if (id && (*id < 0 || static_cast<size_t>(*id) >= n))
      return corrupt_data(fmt::format("tokenizer.ggml.{}_token_id is {}, the vocabulary has {} tokens", name, *id, n));
  return {};
}

Status build_sentencepiece(const GgufVocab& vocab, const TokenizerConfig& config, TokenizerParts& parts) {
  if (vocab.scores.size() != vocab.tokens.size())
    return corrupt_data(
        fmt::format("tokenizer.ggml.scores has {} entries, expected {}", vocab.scores.size(), vocab.tokens.size()));
  BpeSpec spec;
  spec.unit = BpeSpec::Unit::character;
  spec.internal_from = static_cast<TokenId>(parts.tokens.size());
  spec.unknown = vocab.unk;
  spec.fuse_unknown = true;
  spec.forbidden = control_ids(parts.added);
  std::vector<std::pair<std::string, float>> scored;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string text = to_valid_utf8(vocab.tokens[id]);
    std::string& bytes = parts.tokens[id].bytes;
    bytes = text;
    switch (type_of_token(vocab, id)) {
      case GgufTokenType::normal:
      case GgufTokenType::unused:
        replace_text(kMetaspace, " ")(bytes, false);
        if (text.empty() || !spec.pieces.add(text, static_cast<TokenId>(id))) break;
        if (type_of_token(vocab, id) == GgufTokenType::unused) spec.unused.insert(static_cast<TokenId>(id));
        if (std::isnan(vocab.scores[id])) return corrupt_data(fmt::format("the score of token {} is not a number", id));
        scored.emplace_back(text, vocab.scores[id]);
        break;
      case GgufTokenType::byte: {
        const auto byte = spelled_byte(text);
        if (!byte)
          return corrupt_data(fmt::format("token {} is a byte but spelled '{}', expected <0x00> to <0xFF>", id, text));
        spec.byte_fallback[*byte] = static_cast<TokenId>(id);
        bytes.assign(1, static_cast<char>(*byte));
        break;
      }
      default:
        break;  // found as added tokens
    }
  }
  add_scored_merges(spec, scored);
  parts.model = std::make_unique<BpeModel>(std::move(spec));

  if (vocab.remove_extra_whitespaces.value_or(false)) parts.normalizer.add(remove_extra_spaces(), kDropsText);
  const bool prefix_space = config.add_prefix_space.value_or(vocab.add_space_prefix.value_or(true));
  if (prefix_space) parts.normalizer.add(prepend_text(" ", !config.legacy.value_or(true)));
  parts.normalizer.add(replace_text(" ", kMetaspace));
  if (vocab.remove_extra_whitespaces.value_or(false)) parts.normalizer.add(drop_at_end(kMetaspace), kDropsText);
  parts.decoding.strip_first = prefix_space ? 1 : 0;
  return {};
}

Status build_byte_level(const GgufVocab& vocab, const PrePatterns& pre, TokenizerParts& parts) {
  std::deque<std::string> repaired;  // nearly all texts are valid, and are not copied
  const auto valid = [&](const std::string& text) -> std::string_view {
    return is_valid_utf8(text) ? std::string_view(text) : repaired.emplace_back(to_valid_utf8(text));
  };
  SpelledTokens spelled;
  spelled.reserve(vocab.tokens.size());
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string_view text = valid(vocab.tokens[id]);
    if (type_of_token(vocab, id) == GgufTokenType::normal)
      spelled.emplace_back(text, static_cast<TokenId>(id));
    else
      parts.tokens[id].bytes = text;
  }
  std::vector<MergeText> merges;
  merges.reserve(vocab.merges.size());
  for (const std::string& line : vocab.merges) {
    SLUICE_TRY(const MergeText merge, split_merge(valid(line), merges.size()));
    merges.push_back(merge);
  }
  SLUICE_TRY_STATUS(set_byte_level_bpe(parts, spelled, merges, pre.ignore_merges, vocab.unk));
  SLUICE_TRY(parts.pre_tokenizer, byte_level_pre_tokenizer(pre.patterns));
  if (pre.nfc) parts.normalizer.add(normal_form(NormalForm::nfc), kNormalFormShrinks);
  return {};
}

/// Control and user-defined tokens are found in text as they stand.
Status add_typed_tokens(const GgufVocab& vocab, bool sentencepiece, TokenizerParts& parts) {
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const GgufTokenType type = type_of_token(vocab, id);
    const bool special = type == GgufTokenType::control || type == GgufTokenType::unknown;
    if (!special && type != GgufTokenType::user_defined) continue;
    AddedToken token{.id = static_cast<TokenId>(id), .content = to_valid_utf8(vocab.tokens[id]), .special = special};
    if (token.content.empty()) continue;
    if (token.content.size() > kMaxAddedTokenBytes)
      return corrupt_data(fmt::format("token {} has {} bytes, at most {} allowed for its type", id,
                                      token.content.size(), kMaxAddedTokenBytes));
    token.normalized = sentencepiece && !token.special;
    parts.added.push_back(std::move(token));
  }
  return {};
}

Status build(const GgufVocab& vocab, const TokenizerConfig& config, TokenizerParts& parts) {
  const bool sentencepiece = vocab.model == "llama";
  if (!sentencepiece && vocab.model != "gpt2")
    return unsupported(fmt::format("tokenizer.ggml.model '{}' (supported: llama, gpt2)", vocab.model));
  SLUICE_TRY_STATUS(check_sizes(vocab));
  PrePatterns pre;
  if (!sentencepiece) {
    SLUICE_TRY(pre, find_pre_patterns(vocab.pre.empty() ? "default" : vocab.pre));
  }
  parts.tokens.resize(vocab.tokens.size());
  SLUICE_TRY_STATUS(add_typed_tokens(vocab, sentencepiece, parts));
  parts.bos = vocab.bos;
  parts.eos = vocab.eos;
  parts.pad = vocab.pad;
  if (vocab.eot) parts.end_of_generation.push_back(*vocab.eot);
  if (vocab.add_bos.value_or(sentencepiece || pre.add_bos) && vocab.bos) parts.prefix.push_back(*vocab.bos);
  if (vocab.add_eos.value_or(false) && vocab.eos) parts.suffix.push_back(*vocab.eos);
  parts.chat_templates = vocab.chat_templates;
  const auto id_of = [&](const std::string& content) -> std::optional<TokenId> {
    for (size_t id = 0; id < vocab.tokens.size(); ++id)
      if (vocab.tokens[id] == content) return static_cast<TokenId>(id);
    return std::nullopt;
  };
  SLUICE_TRY_STATUS(apply_tokenizer_config(config, id_of, parts));
  SLUICE_TRY_STATUS(sentencepiece ? build_sentencepiece(vocab, config, parts) : build_byte_level(vocab, pre, parts));
  SLUICE_TRY_STATUS(finish_tokens(parts));
  for (AddedToken& token : parts.added) {  // these meet normalized text, whose spaces are spelled out
    if (!sentencepiece || !token.normalized) continue;
    replace_text(" ", kMetaspace)(token.content, false);
    replace_text(kMetaspace, " ")(parts.tokens[static_cast<size_t>(token.id)].bytes, false);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> build_gguf_tokenizer(const GgufVocab& vocab, const TokenizerConfig& config) {
  TokenizerParts parts;
  if (const Status built = build(vocab, config, parts); !built.ok()) return built.error().in("tokenizer");
  return std::make_unique<Tokenizer>(std::move(parts));
}

Result<std::unique_ptr<Tokenizer>> make_gguf_tokenizer(const GgufVocab& vocab) {
  return build_gguf_tokenizer(vocab, {});
}

}  // namespace sluice
