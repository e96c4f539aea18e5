// tokenizer.json of a WordPiece vocabulary: pieces as BERT spells them, those that continue a word behind "##".

#include <unordered_set>

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/huggingface_files.h"
#include "text/tokenizer/models/word_piece.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

using Json = nlohmann::ordered_json;

Result<std::string> word_piece_json(const VocabToWrite& what) {
  const GgufVocab& vocab = what.vocab;
  const WordPieceSpec usual;
  std::vector<bool> is_added(vocab.tokens.size());
  std::unordered_set<std::string> texts;
  for (const AddedToken& token : what.added) {
    is_added[static_cast<size_t>(token.id)] = true;
    texts.insert(token.content);
  }
  const auto spelling = [&](size_t id) { return is_added[id] ? gguf_text(vocab, id) : word_piece_spelling(gguf_text(vocab, id), usual.prefix); };
  std::string body;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (is_filling(vocab, id)) continue;
    const std::string text = spelling(id);
    if (!is_added[id] && gguf_token_type(vocab, id) != GgufTokenType::normal)
      return unsupported(fmt::format("token {} ('{}') is unused or a byte, which a tokenizer.json's WordPiece cannot say", id, text));
    if (!is_added[id] && !texts.insert(text).second)
      return unsupported(fmt::format("tokens of a tokenizer.json's WordPiece are found by their texts, and '{}' is two (the second is {})", text, id));
    body += fmt::format("{}\n{}:{}", body.empty() ? "" : ",", Json(text).dump(), id);
  }
  const BertCleaning cleaning = gguf_bert_cleaning(vocab);
  Json document = tokenizer_frame(what);
  document["normalizer"] = {{"type", "BertNormalizer"}, {"clean_text", cleaning.clean_text}, {"handle_chinese_chars", cleaning.space_chinese},
                            {"strip_accents", cleaning.strip_accents}, {"lowercase", cleaning.lowercase}};
  document["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  document["decoder"] = {{"type", "WordPiece"}, {"prefix", usual.prefix}, {"cleanup", true}};
  const Json model = {{"type", "WordPiece"}, {"unk_token", spelling(static_cast<size_t>(*gguf_unknown(vocab)))}, {"continuing_subword_prefix", usual.prefix},
                      {"max_input_chars_per_word", usual.longest_word}};
  return with_model(document, model, fmt::format("\"vocab\":{{{}}}", body));
}

}  // namespace sluice
