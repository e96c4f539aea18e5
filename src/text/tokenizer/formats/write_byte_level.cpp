// tokenizer.json of a byte-level BPE vocabulary. GGUF names its pre-tokenizer; here its patterns are written out.

#include <unordered_set>

#include "text/tokenizer/formats/byte_level_vocab.h"
#include "text/tokenizer/formats/huggingface_files.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

// GPT-2's pattern is built into ByteLevel, where it comes last.
Json pre_tokenizer_of(std::span<const std::string_view> patterns) {
  const bool built_in = !patterns.empty() && patterns.back() == kGpt2Pattern;
  if (built_in && patterns.size() == 1) return byte_level(true);
  Json steps = Json::array();
  for (const std::string_view pattern : patterns.first(patterns.size() - (built_in ? 1 : 0)))
    steps.push_back({{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  steps.push_back(byte_level(built_in));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

Json template_around(const GgufVocab& vocab, const TokensAround& tokens) {
  Json specials = Json::object();
  const auto item = [&](TokenId id, int sequence) -> Json {
    const std::string text = to_valid_utf8(vocab.tokens[static_cast<size_t>(id)]);
    specials[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    return {{"SpecialToken", {{"id", text}, {"type_id", sequence}}}};
  };
  const auto around = [&](const char* name, int sequence, Json& list) {
    for (const TokenId id : tokens.prefix) list.push_back(item(id, sequence));
    list.push_back({{"Sequence", {{"id", name}, {"type_id", sequence}}}});
    for (const TokenId id : tokens.suffix) list.push_back(item(id, sequence));
  };
  Json single = Json::array(), pair = Json::array();
  around("A", 0, single);
  around("A", 0, pair);
  around("B", 1, pair);
  return {{"type", "TemplateProcessing"}, {"single", std::move(single)}, {"pair", std::move(pair)}, {"special_tokens", std::move(specials)}};
}

}  // namespace

Result<std::string> byte_level_json(const GgufVocab& vocab, const std::vector<AddedToken>& added, const TokensAround& around) {
  SLUICE_TRY(const PrePatterns pre, find_pre_patterns(vocab.pre.empty() ? "default" : vocab.pre));
  // Tokens by text: of two with one text the added one is meant, and otherwise the first.
  Json tokens = Json::object();
  Json list = Json::array();
  std::unordered_set<std::string> texts;
  texts.reserve(vocab.tokens.size());
  for (const AddedToken& token : added) {
    list.push_back({{"id", token.id}, {"content", token.content}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                    {"normalized", false}, {"special", token.special}});
    texts.insert(token.content);
  }
  std::vector<bool> is_added(vocab.tokens.size());
  for (const AddedToken& token : added) is_added[static_cast<size_t>(token.id)] = true;
  std::string body;  // an ordered_json object would look every key up
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string text = to_valid_utf8(vocab.tokens[id]);
    if (is_filling(vocab, id) || (!is_added[id] && !texts.insert(text).second)) continue;
    body += fmt::format("{}\n{}:{}", body.empty() ? "" : ",", Json(text).dump(), id);
  }
  std::string merges;
  for (size_t i = 0; i < vocab.merges.size(); ++i) {
    const std::string line = to_valid_utf8(vocab.merges[i]);
    SLUICE_TRY(const MergeText merge, split_merge(line, i));
    merges += fmt::format("{}\n[{},{}]", i == 0 ? "" : ",", Json(merge.first).dump(), Json(merge.second).dump());
  }
  Json document = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", std::move(list)}};
  document["normalizer"] = pre.nfc ? Json{{"type", "NFC"}} : Json(nullptr);
  document["pre_tokenizer"] = pre_tokenizer_of(pre.patterns);
  document["post_processor"] = around.prefix.empty() && around.suffix.empty() ? byte_level(true) : template_around(vocab, around);
  document["decoder"] = byte_level(true);
  Json model = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false}, {"ignore_merges", pre.ignore_merges}};
  // The model comes last, and its vocabulary and merges, which are text already, last in it.
  std::string text = model.dump();
  text.pop_back();
  text += fmt::format(",\"vocab\":{{{}}},\"merges\":[{}]}}", body, merges);
  std::string head = document.dump();
  head.pop_back();
  return fmt::format("{},\"model\":{}}}\n", head, text);
}

}  // namespace sluice
