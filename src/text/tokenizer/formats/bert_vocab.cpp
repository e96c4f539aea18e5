// vocab.txt of BERT: a WordPiece token in each line, whose number is its id. How text is cleaned stands in
// tokenizer_config.json.

#include "base/mapped_file.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/ranked_tokens.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

std::string gguf_word_piece(std::string_view spelling, std::string_view prefix) {
  if (spelling.starts_with('[') && spelling.ends_with(']') && spelling.size() > 2) return std::string(spelling);
  if (!prefix.empty() && spelling.starts_with(prefix)) return std::string(spelling.substr(prefix.size()));
  return std::string(kMetaspace).append(spelling);
}

Result<GgufVocab> read_bert_vocab(const std::string& path, const TokenizerConfig& config) {
  SLUICE_TRY(const std::string raw, read_file(path));
  const std::string file = to_valid_utf8(raw);
  GgufVocab vocab;
  vocab.model = "bert";
  const std::pair<const char*, std::optional<TokenId>*> named[] = {{"[UNK]", &vocab.unk},
                                                                   {"[CLS]", &vocab.cls},
                                                                   {"[SEP]", &vocab.sep},
                                                                   {"[PAD]", &vocab.pad},
                                                                   {"[MASK]", &vocab.mask}};
  for (size_t at = 0; at < file.size();) {
    const size_t end = std::min(file.find('\n', at), file.size());
    std::string_view line = std::string_view(file).substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto id = static_cast<TokenId>(vocab.tokens.size());
    GgufTokenType type = GgufTokenType::normal;
    for (const auto& [text, special] : named)
      if (line == text) *special = id, type = GgufTokenType::control;
    SLUICE_TRY_STATUS(put_token(vocab, id, gguf_word_piece(line, "##"), type));
  }
  if (!vocab.unk) return corrupt_data(path + ": no [UNK], and words may be unknown");
  vocab.lowercase = config.lowercase.value_or(true);
  vocab.strip_accents = config.strip_accents.value_or(*vocab.lowercase);
  return vocab;
}

Result<std::unique_ptr<Tokenizer>> load_bert_vocab(const std::string& directory, const TokenizerConfig& config) {
  const std::string path = directory + "/vocab.txt";
  SLUICE_TRY(const GgufVocab vocab, read_bert_vocab(path, config));
  auto tokenizer = build_gguf_tokenizer(vocab, config);
  if (!tokenizer.ok()) return tokenizer.error().in(path);
  return tokenizer;
}

}  // namespace sluice
