#include "text/tokenizer/models/word_level.h"

#include "text/tokenizer/step_count.h"

namespace sluice {

void WordLevelModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  tokenizer_steps += piece.size();
  if (const auto id = words_.find(piece)) return out.push_back(*id);
  if (unknown_) out.push_back(*unknown_);
}

}  // namespace sluice
