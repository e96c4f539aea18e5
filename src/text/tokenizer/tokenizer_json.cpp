// tokenizer.json of Hugging Face tokenizers, with BPE models.

#include <algorithm>

#include "base/mapped_file.h"
#include "text/tokenizer/byte_level_vocab.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;
constexpr int kMaxNesting = 8;

/// What a chain of decoders comes to.
struct Decoding {
  bool byte_level = false;
  bool byte_fallback = false;
  bool strip_leading_space = false;
  std::vector<std::pair<std::string, std::string>> replacements;
};

Status parse_decoder(const json& description, int depth, Decoding& out) {
  if (depth > kMaxNesting) return corrupt_data("decoder: nested too deeply");
  SLUICE_TRY(const std::string type, type_of(description, "decoder"));
  if (type == "Sequence") {
    const json* list = find_field(description, "decoders");
    if (list == nullptr || !list->is_array()) return corrupt_data("decoder Sequence: 'decoders' is not a list");
    for (const json& entry : *list) SLUICE_TRY_STATUS(parse_decoder(entry, depth + 1, out));
  } else if (type == "ByteLevel") {
    out.byte_level = true;
  } else if (type == "ByteFallback") {
    out.byte_fallback = true;
  } else if (type == "Replace") {
    const json* pattern = find_field(description, "pattern");
    if (pattern == nullptr || find_field(*pattern, "String") == nullptr)
      return unsupported("decoder Replace: only a String pattern is supported");
    SLUICE_TRY(std::string from, string_field(*pattern, "String"));
    SLUICE_TRY(std::string to, string_field(description, "content"));
    out.replacements.emplace_back(std::move(from), std::move(to));
  } else if (type == "Metaspace") {
    SLUICE_TRY(std::string replacement, string_field(description, "replacement"));
    out.replacements.emplace_back(std::move(replacement), " ");
    const json* scheme = find_field(description, "prepend_scheme");
    SLUICE_TRY(const bool prefix, bool_field(description, "add_prefix_space", true));
    out.strip_leading_space = scheme != nullptr ? *scheme != "never" : prefix;
  } else if (type == "Strip") {
    const json* content = find_field(description, "content");
    const json* start = find_field(description, "start");
    const json* stop = find_field(description, "stop");
    const bool usual = content != nullptr && *content == " " && start != nullptr && start->is_number_integer() &&
                       *start <= 1 && (stop == nullptr || *stop == 0);
    if (!usual) return unsupported("decoder Strip: only one leading space can be stripped");
    out.strip_leading_space = *start == 1;
  } else if (type != "Fuse") {
    return unsupported(
        fmt::format("decoder of type '{}' (known: Sequence, ByteLevel, ByteFallback, Replace, Metaspace, "
                    "Strip, Fuse)",
                    type));
  }
  return {};
}

Result<std::vector<TokenId>> template_ids(const json& processor, const std::string& name) {
  const json* specials = find_field(processor, "special_tokens");
  const json* token = specials == nullptr ? nullptr : find_field(*specials, name.c_str());
  const json* ids = token == nullptr ? nullptr : find_field(*token, "ids");
  if (ids == nullptr || !ids->is_array())
    return corrupt_data(fmt::format("post_processor TemplateProcessing: no ids for special token '{}'", name));
  std::vector<TokenId> out;
  for (const json& id : *ids) {
    if (!id.is_number_integer() || id < 0 || id >= INT32_MAX)
      return corrupt_data(fmt::format("post_processor TemplateProcessing: an id of '{}' is not a token id", name));
    out.push_back(id.get<TokenId>());
  }
  return out;
}

Status parse_template(const json& description, TokenizerParts& parts) {
  const json* single = find_field(description, "single");
  if (single == nullptr || !single->is_array())
    return corrupt_data("post_processor TemplateProcessing: 'single' is not a list");
  bool after_text = false;
  for (const json& item : *single) {
    if (find_field(item, "Sequence") != nullptr) {
      if (after_text) return unsupported("post_processor TemplateProcessing: the text twice");
      after_text = true;
    } else if (const json* special = find_field(item, "SpecialToken"); special != nullptr) {
      SLUICE_TRY(const std::string name, string_field(*special, "id"));
      SLUICE_TRY(const std::vector<TokenId> ids, template_ids(description, name));
      auto& list = after_text ? parts.suffix : parts.prefix;
      list.insert(list.end(), ids.begin(), ids.end());
    } else {
      return corrupt_data("post_processor TemplateProcessing: an item is neither Sequence nor SpecialToken");
    }
  }
  if (!after_text) return corrupt_data("post_processor TemplateProcessing: 'single' has no Sequence");
  return {};
}

Status parse_post_processor(const json& description, int depth, TokenizerParts& parts) {
  if (description.is_null()) return {};
  if (depth > kMaxNesting) return corrupt_data("post_processor: nested too deeply");
  SLUICE_TRY(const std::string type, type_of(description, "post_processor"));
  if (type == "Sequence") {
    const json* list = find_field(description, "processors");
    if (list == nullptr || !list->is_array())
      return corrupt_data("post_processor Sequence: 'processors' is not a list");
    for (const json& entry : *list) SLUICE_TRY_STATUS(parse_post_processor(entry, depth + 1, parts));
    return {};
  }
  if (type == "TemplateProcessing") return parse_template(description, parts);
  if (type == "ByteLevel") return {};  // moves offsets only
  return unsupported(fmt::format("post_processor of type '{}' (known: Sequence, TemplateProcessing, ByteLevel)", type));
}

// The model holds the texts.
Result<std::vector<MergeText>> parse_merges(const json& model) {
  const json* list = find_field(model, "merges");
  if (list == nullptr || !list->is_array()) return corrupt_data("model: 'merges' is not a list");
  std::vector<MergeText> merges;
  merges.reserve(list->size());
  for (const json& entry : *list) {
    if (entry.is_string()) {
      SLUICE_TRY(const MergeText merge, split_merge(entry.get_ref<const std::string&>(), merges.size()));
      merges.push_back(merge);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merges.emplace_back(entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>());
    } else {
      return corrupt_data(fmt::format("model: merge {} is neither a string nor a pair of strings", merges.size()));
    }
  }
  return merges;
}

Status set_character_bpe(TokenizerParts& parts, const SpelledTokens& vocabulary, const Decoding& decoding,
                         std::span<const MergeText> merges, const json& model, std::optional<TokenId> unknown) {
  BpeSpec spec;
  spec.unit = BpeSpec::Unit::character;
  SLUICE_TRY(const bool byte_fallback, bool_field(model, "byte_fallback", false));
  SLUICE_TRY(spec.fuse_unknown, bool_field(model, "fuse_unk", false));
  SLUICE_TRY(spec.ignore_merges, bool_field(model, "ignore_merges", false));
  spec.unknown = unknown;
  spec.forbidden = control_ids(parts.added);
  for (const auto& [spelling, id] : vocabulary) {
    if (static_cast<size_t>(id) >= parts.tokens.size()) parts.tokens.resize(static_cast<size_t>(id) + 1);
    std::string text(spelling);
    const auto byte = spelled_byte(spelling);
    if (byte && byte_fallback) spec.byte_fallback[*byte] = id;
    if (byte && decoding.byte_fallback) {
      text.assign(1, static_cast<char>(*byte));
    } else {
      for (const auto& [from, to] : decoding.replacements) replace_text(from, to)(text, false);
    }
    parts.tokens[static_cast<size_t>(id)].bytes = std::move(text);
    spec.pieces.add(spelling, id);
  }
  SLUICE_TRY_STATUS(add_ranked_merges(spec, merges));
  parts.model = std::make_unique<BpeModel>(std::move(spec));
  return {};
}

Status refuse_unsupported_model(const json& model) {
  const json* type = find_field(model, "type");  // old files leave it out
  if (type != nullptr && *type != "BPE")
    return unsupported(fmt::format("model of type {} (supported: BPE)", type->dump()));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json* field = find_field(model, key);
    if (field != nullptr && *field != "") return unsupported(fmt::format("model: '{}' is {}", key, field->dump()));
  }
  const json* dropout = find_field(model, "dropout");
  if (dropout != nullptr && (!dropout->is_number() || *dropout != 0))
    return unsupported("model: 'dropout' other than 0 makes tokens random");
  return {};
}

Status build(const json& document, const TokenizerConfig& config, TokenizerParts& parts) {
  const json* model = find_field(document, "model");
  if (model == nullptr || !model->is_object()) return corrupt_data("field 'model' is not an object");
  SLUICE_TRY_STATUS(refuse_unsupported_model(*model));
  const json* vocab = find_field(*model, "vocab");
  if (vocab == nullptr) return corrupt_data("model: no 'vocab'");
  SLUICE_TRY(const SpelledTokens vocabulary, parse_vocabulary(*vocab));
  SLUICE_TRY(const std::vector<MergeText> merges, parse_merges(*model));
  const auto part = [&](const char* key) { return document.value(key, json()); };
  SLUICE_TRY(parts.normalizer, parse_normalizer(part("normalizer")));
  SLUICE_TRY(parts.pre_tokenizer, parse_pre_tokenizer(part("pre_tokenizer")));
  SLUICE_TRY_STATUS(parse_post_processor(part("post_processor"), 0, parts));

  Decoding decoding;
  if (const json decoder = part("decoder"); !decoder.is_null()) {
    SLUICE_TRY_STATUS(parse_decoder(decoder, 0, decoding));
  } else if (!parts.pre_tokenizer.byte_level) {
    return unsupported("no 'decoder', and the pre_tokenizer is not ByteLevel");
  }
  parts.strip_leading_space = decoding.strip_leading_space;

  const json added = part("added_tokens");
  if (!added.is_null() && !added.is_array()) return corrupt_data("field 'added_tokens' is not a list");
  AddedTokenList list(parts.added);
  for (const json& entry : added) {
    SLUICE_TRY(const int64_t id, int_field(entry, "id"));
    if (id < 0 || id >= INT32_MAX) return corrupt_data(fmt::format("added_tokens: {} is not a token id", id));
    SLUICE_TRY(AddedToken token, parse_added_token(entry, static_cast<TokenId>(id)));
    SLUICE_TRY_STATUS(list.add(std::move(token)));
  }
  const auto id_of = [&](const std::string& content) -> std::optional<TokenId> {
    const auto it = vocab->find(content);
    if (it == vocab->end()) return std::nullopt;
    return it->get<TokenId>();
  };
  SLUICE_TRY_STATUS(apply_tokenizer_config(config, id_of, parts));

  std::optional<TokenId> unknown;
  if (const json* name = find_field(*model, "unk_token"); name != nullptr && name->is_string())
    unknown = id_of(name->get<std::string>());
  if (parts.pre_tokenizer.byte_level) {
    SLUICE_TRY(const bool ignore_merges, bool_field(*model, "ignore_merges", false));
    SLUICE_TRY_STATUS(set_byte_level_bpe(parts, vocabulary, merges, ignore_merges, unknown));
  } else {
    SLUICE_TRY_STATUS(set_character_bpe(parts, vocabulary, decoding, merges, *model, unknown));
  }
  // Where no configuration names them, BOS is what the template puts first, and EOS what it puts last.
  if (!parts.bos && !parts.prefix.empty()) parts.bos = parts.prefix.front();
  if (!parts.eos && !parts.suffix.empty()) parts.eos = parts.suffix.back();
  SLUICE_TRY_STATUS(finish_tokens(parts));
  for (const auto* list : {&parts.prefix, &parts.suffix})
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
