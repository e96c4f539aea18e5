// tokenizer.bin of llama2.c: int32 longest piece, then {float32 score, int32 length, bytes} to the end of the file.
// It holds a sentencepiece vocabulary without its types, with plain spaces and line ends around <s> and </s>.

#include <algorithm>
#include <cstring>

#include "base/mapped_file.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

Result<GgufVocab> read_vocab(const std::string& file) {
  size_t at = 0;
  const auto read32 = [&](auto& out) {
    static_assert(sizeof out == 4);
    if (file.size() - at < 4) return false;
    std::memcpy(&out, file.data() + at, 4);
    at += 4;
    return true;
  };
  int32_t longest = 0;
  if (!read32(longest) || longest <= 0)
    return corrupt_data(fmt::format("byte 0: the longest piece has {} bytes, expected more than 0", longest));
  GgufVocab vocab;
  vocab.model = "llama";
  while (at < file.size()) {
    const size_t start = at;
    float score = 0;
    int32_t length = 0;
    if (!read32(score) || !read32(length)) return corrupt_data(fmt::format("byte {}: ends inside a piece", start));
    if (length < 0 || length > longest || static_cast<size_t>(length) > file.size() - at)
      return corrupt_data(
          fmt::format("byte {}: piece {} has {} bytes, expected at most {} (the longest) or {} (the rest)", start,
                      vocab.tokens.size(), length, longest, file.size() - at));
    vocab.tokens.push_back(to_valid_utf8(std::string_view(file).substr(at, static_cast<size_t>(length))));
    vocab.scores.push_back(score);
    at += static_cast<size_t>(length);
  }
  if (vocab.tokens.size() < 3)
    return corrupt_data(fmt::format("{} pieces, expected at least <unk>, <s> and </s>", vocab.tokens.size()));
  vocab.tokens[0] = "<unk>";
  vocab.tokens[1] = "<s>";
  vocab.tokens[2] = "</s>";
  vocab.unk = 0;
  vocab.bos = 1;
  vocab.eos = 2;
  vocab.add_bos = true;
  vocab.add_eos = false;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    GgufTokenType type = GgufTokenType::normal;
    if (id < 3)
      type = id == 0 ? GgufTokenType::unknown : GgufTokenType::control;
    else if (spelled_byte(vocab.tokens[id]))
      type = GgufTokenType::byte;
    else
      replace_text(" ", kMetaspace)(vocab.tokens[id], false);
    vocab.token_types.push_back(static_cast<int32_t>(type));
  }
  return vocab;
}

}  // namespace

Result<GgufVocab> read_llama2c_vocab(const std::string& path) {
  SLUICE_TRY(const std::string file, read_file(path));
  auto vocab = read_vocab(file);
  if (!vocab.ok()) return vocab.error().in(path);
  return vocab;
}

Result<std::unique_ptr<Tokenizer>> load_llama2c(const std::string& directory, const TokenizerConfig& config) {
  SLUICE_TRY(const GgufVocab vocab, read_llama2c_vocab(directory + "/tokenizer.bin"));
  auto tokenizer = build_gguf_tokenizer(vocab, config);
  if (!tokenizer.ok()) return tokenizer.error().in(directory + "/tokenizer.bin");
  return tokenizer;
}

}  // namespace sluice
