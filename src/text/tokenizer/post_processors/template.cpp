// TemplateProcessing: the tokens that a template names before and behind the text.

#include "text/tokenizer/parts_catalog.h"
#include "text/tokenizer/post_processors/post_processor.h"

namespace sluice {
namespace {

using nlohmann::json;

Result<std::vector<TokenId>> template_ids(const json& processor, const std::string& name) {
  const json* specials = find_field(processor, "special_tokens");
  const json* token = specials == nullptr ? nullptr : find_field(*specials, name.c_str());
  const json* ids = token == nullptr ? nullptr : find_field(*token, "ids");
  if (ids == nullptr || !ids->is_array()) return corrupt_data(fmt::format("no ids for special token '{}'", name));
  std::vector<TokenId> out;
  for (const json& id : *ids) {
    if (!id.is_number_integer() || id < 0 || id >= INT32_MAX)
      return corrupt_data(fmt::format("an id of '{}' is not a token id", name));
    out.push_back(id.get<TokenId>());
  }
  return out;
}

}  // namespace

Status parse_template_processing(const json& description, PostProcessor& out) {
  const json* single = find_field(description, "single");
  if (single == nullptr || !single->is_array()) return corrupt_data("'single' is not a list");
  std::vector<TokenId> around[2];
  bool after_text = false;
  for (const json& item : *single) {
    if (find_field(item, "Sequence") != nullptr) {
      if (after_text) return unsupported("the text twice");
      after_text = true;
    } else if (const json* special = find_field(item, "SpecialToken"); special != nullptr) {
      SLUICE_TRY(const std::string name, string_field(*special, "id"));
      SLUICE_TRY(const std::vector<TokenId> ids, template_ids(description, name));
      auto& list = around[after_text ? 1 : 0];
      list.insert(list.end(), ids.begin(), ids.end());
    } else {
      return corrupt_data("an item is neither Sequence nor SpecialToken");
    }
  }
  if (!after_text) return corrupt_data("'single' has no Sequence");
  return put_around(std::move(around[0]), std::move(around[1]), out);
}

}  // namespace sluice
