// "rwkv": the longest token that fits, over bytes.

#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/models/longest_match.h"
#include "text/tokenizer/utf8.h"

namespace sluice {

Result<std::string> unescape_rwkv(std::string_view spelling) {
  std::string bytes;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  for (size_t at = 0; at < spelling.size(); ++at) {
    if (spelling[at] != '\\') {
      bytes.push_back(spelling[at]);
      continue;
    }
    const std::string_view rest = spelling.substr(at + 1);
    const size_t digits = rest.starts_with('x') ? 2 : rest.starts_with('u') ? 4 : rest.starts_with('U') ? 8 : 0;
    if (rest.empty() || rest.size() < 1 + digits)
      return corrupt_data(fmt::format("'{}' ends inside an escape", to_valid_utf8(spelling)));
    uint32_t value = 0;
    for (size_t i = 1; i <= digits; ++i) {
      const int d = digit(rest[i]);
      if (d < 0) return corrupt_data(fmt::format("'{}' has '{}' for a hexadecimal digit", to_valid_utf8(spelling), rest[i]));
      value = value * 16 + static_cast<uint32_t>(d);
    }
    at += 1 + digits;
    if (digits == 2)
      bytes.push_back(static_cast<char>(value));
    else if (digits > 2)
      append_utf8(bytes, value);
    else
      bytes.push_back(rest[0] == 'n' ? '\n' : rest[0] == 't' ? '\t' : rest[0] == 'r' ? '\r' : rest[0]);
  }
  return bytes;
}

std::string escape_rwkv(std::string_view bytes) {
  std::string out;
  const bool single = bytes.find('\'') != std::string_view::npos && bytes.find('"') != std::string_view::npos;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\' || (c == '\'' && single))
      out += {'\\', c};
    else if (c == '\n' || c == '\t' || c == '\r')
      out += {'\\', c == '\n' ? 'n' : c == '\t' ? 't' : 'r'};
    else if (byte < 0x20 || byte >= 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out.push_back(c);
  }
  return out;
}

Status build_gguf_rwkv(const GgufSource& source, TokenizerParts& parts) {
  const GgufVocab& vocab = source.vocab;
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (gguf_token_type(vocab, id) != GgufTokenType::normal) {
      parts.tokens[id].bytes = gguf_text(vocab, id);
      continue;
    }
    auto bytes = unescape_rwkv(vocab.tokens[id]);
    if (!bytes.ok()) return bytes.error().in(fmt::format("token {}", id));
    parts.tokens[id].bytes = *bytes;
    tokens.emplace_back(std::move(bytes).value(), static_cast<TokenId>(id));
  }
  parts.model = std::make_unique<LongestMatchModel>(tokens, vocab.unk);
  return {};
}

}  // namespace sluice
