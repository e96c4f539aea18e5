// BertNormalizer: what BERT's encoder does to text first. Without control characters, white space as spaces, spaces
// around Chinese characters, no accents, lower case.

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/unicode_classes.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

/// Ideographs, in the ranges that BERT's encoder looks at.
bool is_chinese(uint32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

template <class F>
void rewrite(std::string& text, F&& f) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size(); at += utf8_length(static_cast<unsigned char>(text[at])))
    f(decode_utf8(text, at), out);
  text = std::move(out);
}

}  // namespace

Normalizer::Step bert_cleaning(BertCleaning what) {
  return [what, decompose = normal_form(NormalForm::nfd)](std::string& text, bool at_start) {
    if (what.clean_text || what.space_chinese) {
      rewrite(text, [&](uint32_t c, std::string& out) {
        if (what.clean_text && c != '\t' && c != '\n' && c != '\r' && (c == 0 || c == 0xfffd || is_other(c))) return;
        if (what.clean_text && is_white_space(c)) return out.push_back(' ');
        const bool spaced = what.space_chinese && is_chinese(c);
        if (spaced) out.push_back(' ');
        append_utf8(out, c);
        if (spaced) out.push_back(' ');
      });
    }
    if (what.strip_accents) {
      decompose(text, at_start);
      rewrite(text, [](uint32_t c, std::string& out) {
        if (!is_nonspacing_mark(c)) append_utf8(out, c);
      });
    }
    if (what.lowercase) rewrite(text, [](uint32_t c, std::string& out) { append_lowercase(out, c); });
  };
}

Status parse_bert_normalizer(const nlohmann::json& description, Normalizer& out) {
  BertCleaning what;
  SLUICE_TRY(what.clean_text, bool_field(description, "clean_text", true));
  SLUICE_TRY(what.space_chinese, bool_field(description, "handle_chinese_chars", true));
  SLUICE_TRY(what.lowercase, bool_field(description, "lowercase", true));
  SLUICE_TRY(what.strip_accents, bool_field(description, "strip_accents", what.lowercase));
  out.add(bert_cleaning(what), kDropsText);
  return {};
}

}  // namespace sluice
