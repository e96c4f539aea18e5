// A Hugging Face tokenizer as GGUF metadata, for converters: tokens by id, merges or scores, and the name of the
// pre-tokenizer.

#include <unordered_map>

#include "base/base64.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/json_model.h"
#include "text/tokenizer/formats/ranked_tokens.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;

/// The patterns that split text, in order; GGUF knows such lists by name only.
void collect_patterns(const json& node, int depth, std::vector<std::string>& out) {
  if (depth > 8 || !node.is_object()) return;
  const std::string type = node.value("type", "");
  if (type == "Sequence" && node.contains("pretokenizers") && node["pretokenizers"].is_array())
    for (const json& entry : node["pretokenizers"]) collect_patterns(entry, depth + 1, out);
  if (type == "Split" && node.contains("pattern") && node["pattern"].contains("Regex"))
    out.push_back(node["pattern"]["Regex"].get<std::string>());
  if (type == "Digits") out.emplace_back(R"(\p{N})");
  if (type == "ByteLevel" && node.value("use_regex", true)) out.emplace_back(kGpt2Pattern);
}

/// The normalizers and pre-tokenizers named so, anywhere in a part of the document.
const json* find_part(const json& node, std::string_view type) {
  if (node.is_object() && node.value("type", "") == type) return &node;
  if (node.is_structured())
    for (const json& below : node)
      if (const json* found = below.is_structured() ? find_part(below, type) : nullptr) return found;
  return nullptr;
}

Result<std::string> pre_name_of(const json& document) {
  std::vector<std::string> patterns;
  collect_patterns(document.value("pre_tokenizer", json()), 0, patterns);
  const bool nfc = find_part(document.value("normalizer", json()), "NFC") != nullptr;
  const bool ignore_merges = document["model"].value("ignore_merges", false);
  for (const bool as_file : {true, false})
    if (const auto name = gguf_pre_name(patterns, nfc, as_file ? ignore_merges : !ignore_merges); !name.empty())
      return std::string(name);
  if (const auto name = gguf_pre_name(patterns, !nfc, ignore_merges); !name.empty()) {
    log_warn("GGUF cannot say that text is {} NFC for the pre-tokenizer '{}': accents in two parts may differ",
             nfc ? "brought to" : "not brought to", name);
    return std::string(name);
  }
  std::string list;
  for (const std::string& p : patterns) list += "\n  " + p;
  return unsupported("GGUF has no name known here for a pre_tokenizer with these patterns:" + list);
}

Status put_added_tokens(const json& document, GgufVocab& vocab) {
  const json* added = find_field(document, "added_tokens");
  if (added == nullptr || !added->is_array()) return {};
  std::string odd;
  for (const json& entry : *added) {
    SLUICE_TRY(const int64_t id, int_field(entry, "id"));
    SLUICE_TRY(const AddedToken token, parse_added_token(entry, static_cast<TokenId>(id)));
    SLUICE_TRY_STATUS(put_token(vocab, id, token.content, token.special ? GgufTokenType::control : GgufTokenType::user_defined));
    // Of text in lower case a normalized token is found in "Foo" too.
    if (token.lstrip || token.rstrip || token.single_word || (token.normalized && !token.special && vocab.model == "bert"))
      odd += fmt::format("{}'{}'", odd.empty() ? "" : ", ", token.content);
  }
  if (!odd.empty()) log_warn("GGUF cannot say how these tokens are found in text (with the spaces beside them, as single words, in normalized text): {}", odd);
  return {};
}

/// The kinds of parts within it, in order.
void collect_kinds(const json& node, std::vector<std::string>& out) {
  if (!node.is_object()) return;
  const std::string type = node.value("type", "");
  if (type != "Sequence" && !type.empty()) out.push_back(type);
  for (const char* list : {"normalizers", "pretokenizers"})
    if (type == "Sequence" && node.contains(list) && node[list].is_array())
      for (const json& below : node[list]) collect_kinds(below, out);
}

/// A part may hold these kinds only: of another the GGUF would be another tokenizer.
Status check_kinds(const json& document, const char* part, const char* model, std::initializer_list<std::string_view> known) {
  std::vector<std::string> kinds;
  collect_kinds(document.value(part, json()), kinds);
  for (const std::string& kind : kinds)
    if (std::ranges::find(known, kind) == known.end())
      return unsupported(fmt::format("the {} has a part of type '{}', for which GGUF has no word with a {} model", part, kind, model));
  return {};
}

void set_unknown(GgufVocab& vocab, std::optional<TokenId> id) {
  vocab.unk = id;
  if (id) vocab.token_types[static_cast<size_t>(*id)] = static_cast<int32_t>(GgufTokenType::unknown);
}

Status read_unigram(const json& document, GgufVocab& vocab) {
  const json& model = document["model"];
  vocab.model = "t5";
  SLUICE_TRY(const json* list, vocabulary_field(model));
  const bool byte_fallback = model.value("byte_fallback", false);
  for (size_t i = 0; i < list->size(); ++i) {
    const json& entry = (*list)[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      return corrupt_data(fmt::format("entry {} of 'vocab' is not [text, score]", i));
    const std::string text = entry[0].get<std::string>();
    const bool byte = byte_fallback && spelled_byte(text);
    SLUICE_TRY_STATUS(put_token(vocab, static_cast<int64_t>(i), text, byte ? GgufTokenType::byte : GgufTokenType::normal));
    vocab.scores.push_back(entry[1].get<float>());
  }
  if (find_field(model, "unk_id") != nullptr) {
    SLUICE_TRY(const int64_t unknown, int_field(model, "unk_id"));
    if (unknown < 0 || static_cast<size_t>(unknown) >= vocab.tokens.size())
      return corrupt_data(fmt::format("'unk_id' is {}, the vocabulary has {} tokens", unknown, vocab.tokens.size()));
    set_unknown(vocab, static_cast<TokenId>(unknown));
  }
  SLUICE_TRY_STATUS(put_added_tokens(document, vocab));
  if (vocab.unk) set_unknown(vocab, vocab.unk);
  vocab.scores.resize(vocab.tokens.size(), 0);
  SLUICE_TRY_STATUS(check_kinds(document, "normalizer", "Unigram", {"Precompiled", "Replace", "Strip"}));
  SLUICE_TRY_STATUS(check_kinds(document, "pre_tokenizer", "Unigram", {"WhitespaceSplit", "Metaspace"}));
  const json normalizer = document.value("normalizer", json()), splitter = document.value("pre_tokenizer", json());
  if (const json* map = find_part(normalizer, "Precompiled"); map != nullptr && map->contains("precompiled_charsmap")) {
    SLUICE_TRY(const std::string encoded, string_field(*map, "precompiled_charsmap"));
    const auto blob = from_base64(encoded);
    if (!blob) return corrupt_data("normalizer: 'precompiled_charsmap' is not base64");
    vocab.character_map = *blob;
  }
  const json* metaspace = find_part(splitter, "Metaspace");
  if (metaspace == nullptr) return unsupported("GGUF can hold a Unigram model with a Metaspace pre-tokenizer only");
  vocab.add_space_prefix = metaspace->value("prepend_scheme", "always") != "never" && metaspace->value("add_prefix_space", true);
  const json* squeeze = find_part(normalizer, "Replace");
  vocab.remove_extra_whitespaces = find_part(splitter, "WhitespaceSplit") != nullptr ||
                                   (squeeze != nullptr && squeeze->value("content", "x").find_first_not_of(" \u2581") == std::string::npos);
  if (*vocab.remove_extra_whitespaces && find_part(splitter, "WhitespaceSplit") == nullptr && find_part(normalizer, "Strip") == nullptr)
    log_warn("GGUF cannot say that runs of spaces become one and those at the end of a text stay: they are dropped there");
  return {};
}

Status read_word_piece(const json& document, GgufVocab& vocab) {
  const json& model = document["model"];
  vocab.model = "bert";
  SLUICE_TRY(const json* vocabulary, vocabulary_field(model));
  SLUICE_TRY(const SpelledTokens tokens, parse_vocabulary(*vocabulary));
  const std::string prefix = model.value("continuing_subword_prefix", "##");
  for (const auto& [text, id] : tokens)
    SLUICE_TRY_STATUS(put_token(vocab, id, gguf_word_piece(text, prefix), GgufTokenType::normal));
  SLUICE_TRY_STATUS(put_added_tokens(document, vocab));
  SLUICE_TRY(vocab.unk, unknown_token(model));
  const std::pair<const char*, std::optional<TokenId>*> named[] = {
      {"[CLS]", &vocab.cls}, {"[SEP]", &vocab.sep}, {"[MASK]", &vocab.mask}};
  for (const auto& [text, id] : named) *id = id_in_vocabulary(*vocabulary, text);
  const json normalizer = document.value("normalizer", json());
  const json* bert = find_part(normalizer, "BertNormalizer");
  if (bert == nullptr || find_part(document.value("pre_tokenizer", json()), "BertPreTokenizer") == nullptr)
    return unsupported("GGUF can hold a WordPiece model with BertNormalizer and BertPreTokenizer only");
  SLUICE_TRY_STATUS(check_kinds(document, "normalizer", "WordPiece", {"BertNormalizer"}));
  SLUICE_TRY_STATUS(check_kinds(document, "pre_tokenizer", "WordPiece", {"BertPreTokenizer"}));
  for (const char* unsaid : {"clean_text", "handle_chinese_chars"})
    if (!bert->value(unsaid, true)) return unsupported(fmt::format("BertNormalizer's {} is false, which a GGUF cannot say", unsaid));
  constexpr int64_t kLongestWord = 100;
  SLUICE_TRY(const int64_t longest, find_field(model, "max_input_chars_per_word") == nullptr ? Result<int64_t>(kLongestWord) : int_field(model, "max_input_chars_per_word"));
  if (longest != kLongestWord) return unsupported(fmt::format("max_input_chars_per_word is {}; a GGUF cannot say other than {}", longest, kLongestWord));
  vocab.lowercase = bert->value("lowercase", true);
  SLUICE_TRY(vocab.strip_accents, bool_field(*bert, "strip_accents", *vocab.lowercase));
  return {};
}

Status read_bpe(const json& document, GgufVocab& vocab) {
  const json* model = find_field(document, "model");
  const json* tokens = model == nullptr ? nullptr : find_field(*model, "vocab");
  if (tokens == nullptr || !tokens->is_object()) return corrupt_data("a BPE model without 'vocab'");
  const bool byte_fallback = model->value("byte_fallback", false);
  SLUICE_TRY(vocab.unk, unknown_token(*model));
  for (const auto& [text, id] : tokens->items()) {
    if (!id.is_number_integer()) return corrupt_data(fmt::format("the id of token '{}' is no whole number", text));
    const bool byte = byte_fallback && spelled_byte(text).has_value();
    SLUICE_TRY_STATUS(put_token(vocab, id.get<int64_t>(), text, byte ? GgufTokenType::byte : GgufTokenType::normal));
  }
  SLUICE_TRY_STATUS(put_added_tokens(document, vocab));
  SLUICE_TRY(const std::vector<MergeText> merges, json_merges(*model));
  if (!byte_fallback) {
    vocab.model = "gpt2";
    SLUICE_TRY(vocab.pre, pre_name_of(document));
    for (const auto& [left, right] : merges) vocab.merges.push_back(std::string(left).append(" ").append(right));
    return {};
  }
  // Sentencepiece's BPE as a list of ranked merges: the rank of the merge that makes a piece is its score.
  vocab.model = "llama";
  vocab.scores.assign(vocab.tokens.size(), -1e6f);
  std::unordered_map<std::string, size_t> rank;
  for (size_t i = 0; i < merges.size(); ++i) rank.emplace(std::string(merges[i].first).append(merges[i].second), i);
  for (size_t id = 0; id < vocab.tokens.size(); ++id)
    if (const auto it = rank.find(vocab.tokens[id]); it != rank.end()) vocab.scores[id] = -static_cast<float>(it->second);
  const std::string normalizer = document.value("normalizer", json()).dump(), splitter = document.value("pre_tokenizer", json()).dump();
  vocab.add_space_prefix = normalizer.find("Prepend") != std::string::npos ||
                           (splitter.find("Metaspace") != std::string::npos && splitter.find("\"never\"") == std::string::npos);
  return {};
}

/// Vocabularies of tiktoken go by a name of their own here.
Status name_for_gguf(const std::string& directory, GgufVocab& vocab) {
  SLUICE_TRY(const PrePatterns pre, find_pre_patterns(vocab.pre));
  if (pre.gguf_name.empty()) return {};
  vocab.pre = pre.gguf_name;
  log_warn("{}: GGUF's pre-tokenizer '{}' does not look pieces up as a whole: tokens that no merges make are not met there",
           directory, vocab.pre);
  return {};
}

/// BOS, EOS and the like, and the templates, as the loaded tokenizer understood its configuration.
void take_specials(const Tokenizer& tokenizer, const TokenizerConfig& config, GgufVocab& vocab) {
  const std::pair<const std::string*, std::optional<TokenId>*> of_encoders[] = {
      {&config.cls_token, &vocab.cls}, {&config.sep_token, &vocab.sep}, {&config.mask_token, &vocab.mask}};
  for (const auto& [text, id] : of_encoders)
    if (!*id && !text->empty()) *id = tokenizer.token_id(*text);
  vocab.bos = tokenizer.bos();
  vocab.eos = tokenizer.eos();
  vocab.pad = tokenizer.pad();
  if (vocab.model == "bert") {  // whose texts begin and end with these, by whichever name
    if (!vocab.bos) vocab.bos = vocab.cls;
    if (!vocab.eos) vocab.eos = vocab.sep;
  }
  const std::vector<TokenId> plain = tokenizer.encode("a", {.add_special = false}), whole = tokenizer.encode("a");
  vocab.add_bos = vocab.bos && !whole.empty() && whole.front() == *vocab.bos && whole.size() > plain.size();
  vocab.add_eos = vocab.eos && !whole.empty() && whole.back() == *vocab.eos && whole.size() > plain.size();
  for (const TokenId id : tokenizer.end_of_generation())
    if (vocab.eos && id != *vocab.eos) vocab.eot = id;
  // What stands between two texts: what ends the first, and a separator behind it where the model was trained so.
  if (vocab.model == "bert") {
    vocab.add_sep = false;
  } else if (const PairForm& pair = tokenizer.pair_form(); pair.said && !pair.between.empty()) {
    vocab.add_sep = *vocab.add_eos && pair.between.size() == 2 && pair.between.front() == vocab.eos;
    if (*vocab.add_sep) vocab.sep = pair.between.back();
  }
  vocab.chat_templates = tokenizer.chat_templates();
}

}  // namespace

Result<GgufVocab> read_tokenizer_json_vocab(const std::string& path) {
  SLUICE_TRY(const std::string text, read_file(path));
  SLUICE_TRY(const json document, parse_json(text, path));
  GgufVocab vocab;
  const auto read = [&]() -> Status {
    const json* model = find_field(document, "model");
    if (model == nullptr) return corrupt_data("no 'model'");
    SLUICE_TRY(const JsonModelKind* kind, json_model_kind(*model));
    if (kind->type == "BPE") return read_bpe(document, vocab);
    if (kind->type == "Unigram") return read_unigram(document, vocab);
    if (kind->type == "WordPiece") return read_word_piece(document, vocab);
    return unsupported(fmt::format("GGUF has no form for a {} model", kind->type));
  };
  if (const Status done = read(); !done.ok()) return done.error().in(path);
  return vocab;
}

Result<GgufVocab> read_huggingface_vocab(const std::string& directory) {
  SLUICE_TRY(const auto tokenizer, load_tokenizer_directory(directory));
  SLUICE_TRY(const TokenizerConfig config, read_tokenizer_config(directory));
  // A model of sentencepiece says more than what was made of it.
  const std::string model = directory + "/tokenizer.model";
  SLUICE_TRY(const TokenizerFormat* format, find_tokenizer_format(directory));
  const bool sentencepiece = format->name == "Hugging Face tokenizers" && file_exists(model) && !tiktoken_file(directory);
  SLUICE_TRY(GgufVocab vocab, sentencepiece ? read_sentencepiece_vocab(model) : format->as_gguf(directory, config));
  take_specials(*tokenizer, config, vocab);
  if (vocab.model == "gpt2") SLUICE_TRY_STATUS(name_for_gguf(directory, vocab));
  return vocab;
}

}  // namespace sluice
