// BertProcessing: [CLS] text [SEP].

#include "text/tokenizer/post_processors/post_processor.h"

namespace sluice {

Status parse_bert_processing(const nlohmann::json& description, PostProcessor& out) {
  SLUICE_TRY(const TokenId cls, paired_id(description, "cls"));
  SLUICE_TRY(const TokenId sep, paired_id(description, "sep"));
  return put_around({cls}, {sep}, out);
}

}  // namespace sluice
