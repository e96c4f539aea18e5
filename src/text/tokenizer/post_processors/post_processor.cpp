#include "text/tokenizer/post_processors/post_processor.h"

#include "text/tokenizer/parts_catalog.h"

namespace sluice {
namespace {

constexpr PartKind<PostProcessor> kPostProcessorKinds[] = {
    {"BertProcessing", parse_bert_processing},
    {"ByteLevel", parse_byte_level_processing},
    {"RobertaProcessing", parse_roberta_processing},
    {"TemplateProcessing", parse_template_processing},
};

}  // namespace

Status put_around(PostProcessor around, PostProcessor& out) {
  if (around.prefix.empty() && around.suffix.empty()) return {};
  if (!out.prefix.empty() || !out.suffix.empty())
    return unsupported("adds tokens around those that another part of the Sequence has added");
  out = std::move(around);
  return {};
}

Result<TokenId> paired_id(const nlohmann::json& description, const char* key) {
  const nlohmann::json* pair = find_field(description, key);
  if (pair == nullptr || !pair->is_array() || pair->size() != 2 || !(*pair)[1].is_number_integer() || (*pair)[1] < 0 ||
      (*pair)[1] >= INT32_MAX)
    return corrupt_data(fmt::format("'{}' is not a token and its id", key));
  return (*pair)[1].get<TokenId>();
}

Result<PostProcessor> parse_post_processor(const nlohmann::json& description) {
  PostProcessor out;
  SLUICE_TRY_STATUS(parse_part<PostProcessor>(description, "post_processor", "processors", kPostProcessorKinds, out));
  return out;
}

}  // namespace sluice
