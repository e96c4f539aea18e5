// tokenizer.json of a Unigram vocabulary of sentencepiece: pieces by id, with their log-probabilities.

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/base64.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/huggingface_files.h"
#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

using Json = nlohmann::ordered_json;

Result<std::string> unigram_json(const VocabToWrite& what) {
  const GgufVocab& vocab = what.vocab;
  const size_t count = without_filling(vocab);
  double least = std::numeric_limits<double>::infinity();
  bool bytes = false, crosses = false;
  for (size_t id = 0; id < count; ++id) {
    const GgufTokenType type = gguf_token_type(vocab, id);
    if (!std::isfinite(vocab.scores[id])) return corrupt_data(fmt::format("the score of token {} is {}, which no tokenizer.json can say", id, vocab.scores[id]));
    if (type == GgufTokenType::unused && !is_filling(vocab, id))
      return unsupported(fmt::format("token {} ('{}') is unused, which a tokenizer.json's Unigram cannot say", id, gguf_text(vocab, id)));
    bytes |= type == GgufTokenType::byte;
    if (type != GgufTokenType::normal) continue;
    least = std::min(least, static_cast<double>(vocab.scores[id]));
    crosses |= crosses_words(gguf_text(vocab, id));
  }
  std::string body;
  for (size_t id = 0; id < count; ++id) {
    // The least of all is what an unknown character costs: tokens that are no pieces must not be less.
    const double score = std::max(static_cast<double>(vocab.scores[id]), least);
    // Pieces are counted, so that filling keeps its place; a space is in no text that the model sees.
    const std::string text = is_filling(vocab, id) ? " " + gguf_text(vocab, id) : gguf_text(vocab, id);
    body += fmt::format("{}\n[{},{}]", id == 0 ? "" : ",", Json(text).dump(), Json(score).dump());
  }
  Json document = tokenizer_frame(what);
  document["normalizer"] = nullptr;
  if (!vocab.character_map.empty()) document["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", to_base64(vocab.character_map)}};
  const Json metaspace = {{"type", "Metaspace"}, {"replacement", kMetaspace}, {"prepend_scheme", vocab.add_space_prefix.value_or(true) ? "always" : "never"},
                          {"split", !crosses}};
  Json splits = Json::array();
  if (vocab.remove_extra_whitespaces.value_or(false)) splits.push_back({{"type", "WhitespaceSplit"}});
  splits.push_back(metaspace);
  document["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", std::move(splits)}};
  document["decoder"] = bytes ? Json{{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, metaspace}}} : metaspace;
  const std::optional<TokenId> unknown = gguf_unknown(vocab);
  const Json model = {{"type", "Unigram"}, {"unk_id", unknown ? Json(*unknown) : Json(nullptr)}, {"byte_fallback", bytes}};
  return with_model(document, model, fmt::format("\"vocab\":[{}]", body));
}

}  // namespace sluice
