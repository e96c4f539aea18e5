// tokenizer.model: a protocol buffer, written field by field. Pieces come by id, with the scores that order their merges.

#include <algorithm>
#include <cstring>

#include "text/tokenizer/formats/huggingface_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

class Message {
 public:
  void number(uint32_t field, int64_t value) {
    varint(field << 3);
    varint(static_cast<uint64_t>(value));
  }
  void bytes(uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    text_ += value;
  }
  void real(uint32_t field, float value) {
    varint(field << 3 | 5);
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);  // little-endian, as are the machines we run on
    text_.append(raw, sizeof raw);
  }
  const std::string& text() const { return text_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

}  // namespace

Result<std::string> sentencepiece_model(const VocabToWrite& what) {
  const GgufVocab& vocab = what.vocab;
  const auto& [prefix, suffix, pair] = what.around;
  if (prefix.size() > size_t{holds(prefix, vocab.bos)} || suffix.size() > size_t{holds(suffix, vocab.eos)} || pair.between.size() > suffix.size())
    return unsupported("a vocabulary of model 'llama' with a classifier's token before texts or a separator between them is not written as a Hugging Face "
                       "directory's, which has words for BOS and EOS only");
  const size_t count = without_filling(vocab);
  Message model;
  bool bytes = false;
  for (size_t id = 0; id < count; ++id) {
    const GgufTokenType type = gguf_token_type(vocab, id);
    Message piece;
    piece.bytes(1, to_valid_utf8(vocab.tokens[id]));
    piece.real(2, id < vocab.scores.size() ? vocab.scores[id] : 0);
    piece.number(3, static_cast<int64_t>(type));
    model.bytes(1, piece.text());
    bytes |= type == GgufTokenType::byte;
  }
  constexpr int64_t kBpe = 2;
  Message trainer;
  trainer.number(3, kBpe);
  trainer.number(4, static_cast<int64_t>(count));
  trainer.number(35, bytes);
  const std::pair<uint32_t, std::optional<TokenId>> ids[] = {{40, vocab.unk}, {41, vocab.bos}, {42, vocab.eos}, {43, vocab.pad}};
  for (const auto& [field, id] : ids) trainer.number(field, id ? int64_t{*id} : -1);
  constexpr std::pair<uint32_t, size_t> kNames[] = {{45, 0}, {46, 1}, {47, 2}, {48, 3}};  // the pieces that these ids have
  for (const auto& [field, i] : kNames)
    if (const auto id = ids[i].second; id && static_cast<size_t>(*id) < count) trainer.bytes(field, to_valid_utf8(vocab.tokens[static_cast<size_t>(*id)]));
  model.bytes(2, trainer.text());
  Message normalizer;
  normalizer.bytes(1, "identity");
  if (!vocab.character_map.empty()) normalizer.bytes(2, vocab.character_map);
  normalizer.number(3, vocab.add_space_prefix.value_or(true));
  normalizer.number(4, vocab.remove_extra_whitespaces.value_or(false));
  normalizer.number(5, true);  // a space is spelled U+2581
  model.bytes(3, normalizer.text());
  return model.text();
}

}  // namespace sluice
