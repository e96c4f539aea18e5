// rwkv_vocab_*.txt of RWKV World: lines of an id, a token as Python writes it ('...', "...", b'...'), and its bytes.

#include <charconv>
#include <filesystem>

#include "base/mapped_file.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/ranked_tokens.h"
#include "text/tokenizer/load_tokenizer.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

/// A literal of Python. In text an escaped \xNN is a character, in bytes it is a byte.
Result<std::string> read_literal(std::string_view literal) {
  const bool is_bytes = literal.starts_with('b');
  if (is_bytes) literal.remove_prefix(1);
  if (literal.size() < 2 || (literal[0] != '\'' && literal[0] != '"') || literal.back() != literal[0])
    return corrupt_data("not a quoted token");
  literal = literal.substr(1, literal.size() - 2);
  if (is_bytes) return unescape_rwkv(literal);
  std::string as_characters;  // \xNN as \u00NN
  for (size_t at = 0; at < literal.size(); ++at) {
    if (literal[at] != '\\' || at + 1 >= literal.size()) {
      as_characters.push_back(literal[at]);
    } else if (literal[++at] == 'x') {
      as_characters += "\\u00";
    } else {
      as_characters += {'\\', literal[at]};
    }
  }
  return unescape_rwkv(as_characters);
}

Status read_line(std::string_view line, GgufVocab& vocab) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return corrupt_data("not an id, a token and its size");
  int32_t id = 0;
  size_t size = 0;
  const auto number = [](std::string_view text, auto& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size();
  };
  if (!number(line.substr(0, first), id) || !number(line.substr(last + 1), size) || id <= 0)
    return corrupt_data("not an id, a token and its size");
  SLUICE_TRY(const std::string bytes, read_literal(line.substr(first + 1, last - first - 1)));
  if (bytes.size() != size) return corrupt_data(fmt::format("the token has {} bytes, not {}", bytes.size(), size));
  return put_token(vocab, id, escape_rwkv(bytes), GgufTokenType::normal);
}

}  // namespace

std::optional<std::string> rwkv_vocab_file(const std::string& directory) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(directory, none)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("rwkv_vocab") && name.ends_with(".txt")) return entry.path().string();
  }
  return std::nullopt;
}

Result<GgufVocab> read_rwkv_vocab(const std::string& path) {
  SLUICE_TRY(const std::string file, read_file(path));
  GgufVocab vocab;
  vocab.model = "rwkv";
  SLUICE_TRY_STATUS(put_token(vocab, 0, "<s>", GgufTokenType::control));
  for (size_t at = 0, line = 1; at < file.size(); ++line) {
    const size_t end = std::min(file.find('\n', at), file.size());
    const std::string_view text = std::string_view(file).substr(at, end - at);
    at = end + 1;
    if (text.empty()) continue;
    if (const Status read = read_line(text, vocab); !read.ok())
      return read.error().in(fmt::format("{}: line {}", path, line));
  }
  vocab.eos = 0;
  return vocab;
}

Result<std::unique_ptr<Tokenizer>> load_rwkv(const std::string& directory, const TokenizerConfig& config) {
  const std::string path = rwkv_vocab_file(directory).value_or(directory);
  SLUICE_TRY(const GgufVocab vocab, read_rwkv_vocab(path));
  auto tokenizer = build_gguf_tokenizer(vocab, config);
  if (!tokenizer.ok()) return tokenizer.error().in(path);
  return tokenizer;
}

}  // namespace sluice
