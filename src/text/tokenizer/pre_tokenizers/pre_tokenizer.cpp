#include "text/tokenizer/pre_tokenizers/pre_tokenizer.h"

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

constexpr PartKind<PreTokenizer> kPreTokenizerKinds[] = {
    {"BertPreTokenizer", parse_bert_pre_tokenizer},
    {"ByteLevel", parse_byte_level},
    {"CharDelimiterSplit", parse_delimiter},
    {"Digits", parse_digits},
    {"FixedLength", parse_fixed_length},
    {"Metaspace", parse_metaspace},
    {"Punctuation", parse_punctuation},
    {"Split", parse_split},
    {"UnicodeScripts", parse_unicode_scripts},
    {"Whitespace", parse_whitespace},
    {"WhitespaceSplit", parse_whitespace_split},
};

}  // namespace

Pieces PreTokenizer::apply(std::string text, bool at_start) const {
  Pieces pieces{std::move(text), {}, at_start};
  if (!pieces.text.empty()) pieces.ends.push_back(pieces.text.size());
  for (const Step& step : steps_) step(pieces);
  return pieces;
}

void PreTokenizer::spell_bytes() {
  byte_level = false;
  add([](Pieces& pieces) {
    Pieces out{{}, {}, pieces.from_start};
    for_each_piece(pieces, [&](std::string_view piece, size_t) {
      out.text += bytes_to_byte_level(piece);
      out.ends.push_back(out.text.size());
    });
    pieces = std::move(out);
  });
}

Result<PreTokenizer> byte_level_pre_tokenizer(std::span<const std::string_view> patterns) {
  PreTokenizer out;
  for (const std::string_view pattern : patterns) {
    SLUICE_TRY(PreTokenizer::Step step, split_on_pattern(pattern, SplitBehavior::isolated));
    out.add(std::move(step));
  }
  out.byte_level = true;
  return out;
}

Result<PreTokenizer> parse_pre_tokenizer(const nlohmann::json& description) {
  PreTokenizer out;
  SLUICE_TRY_STATUS(parse_part<PreTokenizer>(description, "pre_tokenizer", "pretokenizers", kPreTokenizerKinds, out));
  return out;
}

}  // namespace sluice
