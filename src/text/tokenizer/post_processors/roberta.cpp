// RobertaProcessing: <s> text </s>, and <s> text </s></s> other </s>. What it does to offsets does not matter here.

#include "text/tokenizer/post_processors/post_processor.h"

namespace sluice {

Status parse_roberta_processing(const nlohmann::json& description, PostProcessor& out) {
  SLUICE_TRY(const TokenId cls, paired_id(description, "cls"));
  SLUICE_TRY(const TokenId sep, paired_id(description, "sep"));
  return put_around({{cls}, {sep}, {true, {sep, sep}, 0}}, out);
}

}  // namespace sluice
