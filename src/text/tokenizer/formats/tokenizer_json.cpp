// tokenizer.json of Hugging Face tokenizers.

#include <algorithm>

#include "base/mapped_file.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/json_model.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/post_processors/post_processor.h"

namespace sluice {
namespace {

using nlohmann::json;

Status read_added_tokens(const json& added, TokenizerParts& parts) {
  if (added.is_null()) return {};
  if (!added.is_array()) return corrupt_data("field 'added_tokens' is not a list");
  AddedTokenList list(parts.added);
  for (const json& entry : added) {
    SLUICE_TRY(const int64_t id, int_field(entry, "id"));
    if (id < 0 || id >= INT32_MAX) return corrupt_data(fmt::format("added_tokens: {} is not a token id", id));
    SLUICE_TRY(AddedToken token, parse_added_token(entry, static_cast<TokenId>(id)));
    SLUICE_TRY_STATUS(list.add(std::move(token)));
  }
  return {};
}

/// Gives every token its texts; an added one is decoded as it is matched.
void decode_tokens(const json& vocabulary, const TokenDecoder& decoder, TokenizerParts& parts) {
  parts.decoding = decoder.rules;
  const auto decode = [&](std::string_view spelling, TokenId id) {
    decoder.decode(spelling, id, parts.tokens[static_cast<size_t>(id)].bytes, parts.decoding);
  };
  // A model over bytes has spelled its tokens out already.
  if (!parts.pre_tokenizer.byte_level || !decoder.byte_level || decoder.steps() > 1) for_each_spelling(vocabulary, decode);
  for (const AddedToken& token : parts.added) {
    parts.decoding.first.erase(token.id);
    parts.decoding.tail.erase(token.id);
    decode(token.pattern.empty() ? token.content : token.pattern, token.id);
  }
}

Status build(const json& document, const TokenizerConfig& config, TokenizerParts& parts) {
  const json* model = find_field(document, "model");
  if (model == nullptr || !model->is_object()) return corrupt_data("field 'model' is not an object");
  SLUICE_TRY(const JsonModelKind* kind, json_model_kind(*model));
  const auto part = [&](const char* key) { return document.value(key, json()); };
  SLUICE_TRY(parts.normalizer, parse_normalizer(part("normalizer")));
  SLUICE_TRY(parts.pre_tokenizer, parse_pre_tokenizer(part("pre_tokenizer")));
  SLUICE_TRY(PostProcessor around, parse_post_processor(part("post_processor")));
  parts.prefix = std::move(around.prefix);
  parts.suffix = std::move(around.suffix);
  parts.pair = std::move(around.pair);
  // Old files of byte-level vocabularies leave the decoder out.
  json decoder_part = part("decoder");
  if (decoder_part.is_null() && parts.pre_tokenizer.byte_level) decoder_part = {{"type", "ByteLevel"}};
  SLUICE_TRY(const TokenDecoder decoder, parse_decoder(decoder_part));

  SLUICE_TRY_STATUS(read_added_tokens(part("added_tokens"), parts));
  const json* vocabulary = find_field(*model, "vocab");
  const auto id_of = [&](const std::string& content) {
    return vocabulary == nullptr ? std::nullopt : id_in_vocabulary(*vocabulary, content);
  };
  SLUICE_TRY_STATUS(apply_tokenizer_config(config, id_of, parts));
  for (AddedToken& token : parts.added)
    if (token.normalized && !is_control(token)) token.pattern = parts.normalizer.apply(token.content, true);

  if (const Status built = kind->build(*model, parts); !built.ok())
    return built.error().in(fmt::format("model ({})", kind->type));
  // Where no configuration names them, BOS is what the template puts first, and EOS what it puts last.
  if (!parts.bos && !parts.prefix.empty()) parts.bos = parts.prefix.front();
  if (!parts.eos && !parts.suffix.empty()) parts.eos = parts.suffix.back();
  SLUICE_TRY_STATUS(finish_tokens(parts));
  decode_tokens(*vocabulary, decoder, parts);
  for (const auto* list : {&parts.prefix, &parts.suffix, &parts.pair.between})
    for (const TokenId id : *list)
      if (static_cast<size_t>(id) >= parts.tokens.size())
        return corrupt_data(
            fmt::format("post_processor: token {} is outside the vocabulary of {}", id, parts.tokens.size()));
  return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_tokenizer_json(const std::string& directory, const TokenizerConfig& config) {
  const std::string path = directory + "/tokenizer.json";
  SLUICE_TRY(const std::string text, read_file(path));
  SLUICE_TRY(const json document, parse_json(text, path));
  if (!document.is_object()) return corrupt_data(path + ": not a JSON object");
  TokenizerParts parts;
  if (const Status built = build(document, config, parts); !built.ok()) return built.error().in(path);
  return std::make_unique<Tokenizer>(std::move(parts));
}

}  // namespace sluice
