// BertProcessing: [CLS] text [SEP], and [CLS] text [SEP] other [SEP], of which the other is of type 1.

#include "text/tokenizer/post_processors/post_processor.h"

namespace sluice {

Status parse_bert_processing(const nlohmann::json& description, PostProcessor& out) {
  SLUICE_TRY(const TokenId cls, paired_id(description, "cls"));
  SLUICE_TRY(const TokenId sep, paired_id(description, "sep"));
  return put_around({{cls}, {sep}, {true, {sep}, 1}}, out);
}

}  // namespace sluice
