// rwkv_vocab_*.txt of an RWKV World vocabulary, byte for byte as RWKV's authors have it.

#include "text/printable.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/formats/huggingface_files.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

/// As repr() of Python writes it: a str where the bytes are text, and else bytes.
std::string literal_of(std::string_view bytes) {
  const bool doubled = bytes.find('\'') != std::string_view::npos && bytes.find('"') == std::string_view::npos;
  const char* const quote = doubled ? "\"" : "'";
  if (!is_valid_utf8(bytes)) return fmt::format("b{}{}{}", quote, escape_rwkv(bytes), quote);
  std::string out = quote;
  for (size_t at = 0; at < bytes.size(); at += utf8_length(static_cast<unsigned char>(bytes[at]))) {
    const uint32_t c = decode_utf8(bytes, at);
    if (c == static_cast<unsigned char>(*quote)) out += {'\\', *quote};
    else if (c < 0x80) out += escape_rwkv(bytes.substr(at, 1));
    else if (is_printable(c)) append_utf8(out, c);
    else if (c < 0x100) out += fmt::format("\\x{:02x}", c);
    else if (c < 0x10000) out += fmt::format("\\u{:04x}", c);
    else out += fmt::format("\\U{:08x}", c);
  }
  return out + quote;
}

/// The file has neither token 0 nor types: whoever reads it knows the one and takes all others as text.
Status check_specials(const GgufVocab& vocab) {
  const auto refused = [](std::string_view what) { return unsupported(fmt::format("{}, which a rwkv_vocab_*.txt cannot say", what)); };
  if (gguf_token_type(vocab, 0) != GgufTokenType::control || vocab.tokens[0] != "<s>")
    return refused(fmt::format("token 0 is '{}' of type {}, not the control token '<s>'", gguf_text(vocab, 0), static_cast<int>(gguf_token_type(vocab, 0))));
  if (vocab.eos != 0) return refused(vocab.eos ? fmt::format("token {} ends texts, not token 0", *vocab.eos) : "no token ends texts");
  for (const auto& [name, id] : {std::pair{"bos", vocab.bos}, {"pad", vocab.pad}, {"unknown", vocab.unk}})
    if (id && *id != 0) return refused(fmt::format("the {} token is {}, not 0", name, *id));
  for (size_t id = 1; id < vocab.tokens.size(); ++id)
    if (gguf_token_type(vocab, id) != GgufTokenType::normal && !is_filling(vocab, id))
      return refused(fmt::format("token {}, '{}', is of type {}", id, gguf_text(vocab, id), static_cast<int>(gguf_token_type(vocab, id))));
  return {};
}

}  // namespace

Result<std::string> rwkv_vocab_text(const VocabToWrite& what) {
  const GgufVocab& vocab = what.vocab;
  SLUICE_TRY_STATUS(check_specials(vocab));
  std::string out;
  for (size_t id = 1; id < vocab.tokens.size(); ++id) {
    if (is_filling(vocab, id)) continue;
    SLUICE_TRY(const std::string bytes, unescape_rwkv(vocab.tokens[id]));
    out += fmt::format("{} {} {}\n", id, literal_of(bytes), bytes.size());
  }
  return out;
}

}  // namespace sluice
