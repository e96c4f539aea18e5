// ByteLevel: the pieces of GPT-2, as bytes.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pieces.h"
#include "text/tokenizer/pre_tokenizers/pre_patterns.h"

namespace sluice {
namespace {

PreTokenizer::Step add_prefix_space() {
  return [](Pieces& pieces) {
    Pieces out{{}, {}, pieces.from_start};
    for_each_piece(pieces, [&](std::string_view piece, size_t) {
      if (!piece.starts_with(' ')) out.text += ' ';
      out.text += piece;
      out.ends.push_back(out.text.size());
    });
    pieces = std::move(out);
  };
}

}  // namespace

Status parse_byte_level(const nlohmann::json& description, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  SLUICE_TRY(const bool prefix, bool_field(description, "add_prefix_space", true));
  SLUICE_TRY(const bool use_regex, bool_field(description, "use_regex", true));
  if (prefix) out.add(add_prefix_space());
  if (use_regex) {
    SLUICE_TRY(PreTokenizer::Step step, split_on_pattern(kGpt2Pattern, SplitBehavior::isolated));
    out.add(std::move(step));
  }
  out.byte_level = true;
  return {};
}

}  // namespace sluice
