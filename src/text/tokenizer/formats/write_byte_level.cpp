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

}  // namespace

Result<std::string> byte_level_json(const VocabToWrite& what) {
  const GgufVocab& vocab = what.vocab;
  SLUICE_TRY(const PrePatterns pre, find_pre_patterns(vocab.pre.empty() ? "default" : vocab.pre));
  if (pre.spelling != PieceSpelling::bytes)
    return unsupported(fmt::format("a vocabulary over characters (pre-tokenizer '{}') is not written as a Hugging Face directory's", vocab.pre));
  // Tokens by text: of two with one text the added one is meant, and otherwise the first.
  std::unordered_set<std::string> texts;
  texts.reserve(vocab.tokens.size());
  std::vector<bool> is_added(vocab.tokens.size());
  for (const AddedToken& token : what.added) {
    texts.insert(token.content);
    is_added[static_cast<size_t>(token.id)] = true;
  }
  std::string body;
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
  Json document = tokenizer_frame(what);
  document["normalizer"] = pre.nfc ? Json{{"type", "NFC"}} : Json(nullptr);
  document["pre_tokenizer"] = pre_tokenizer_of(pre.patterns);
  if (document["post_processor"].is_null()) document["post_processor"] = byte_level(true);
  document["decoder"] = byte_level(true);
  const Json model = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                      {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", false}, {"ignore_merges", pre.ignore_merges}};
  return with_model(document, model, fmt::format("\"vocab\":{{{}}},\"merges\":[{}]", body, merges));
}

}  // namespace sluice
