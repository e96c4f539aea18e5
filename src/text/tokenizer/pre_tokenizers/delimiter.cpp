// CharDelimiterSplit: what stands between the occurrences of one character.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/pre_tokenizers/pieces.h"

namespace sluice {

Status parse_delimiter(const nlohmann::json& description, PreTokenizer& out) {
  if (out.byte_level) out.spell_bytes();
  SLUICE_TRY(const std::string delimiter, character_field(description, "delimiter"));
  out.add([delimiter](Pieces& pieces) {
    cut_pieces(pieces, SplitBehavior::removed, [&](std::string_view piece, std::vector<Span>& spans) {
      size_t from = 0;
      for (size_t hit; (hit = piece.find(delimiter, from)) != std::string_view::npos; from = hit + delimiter.size()) {
        if (hit > from) spans.push_back({from, hit, false});
        spans.push_back({hit, hit + delimiter.size(), true});
      }
      if (from < piece.size()) spans.push_back({from, piece.size(), false});
    });
  });
  out.drops_text = true;
  return {};
}

}  // namespace sluice
