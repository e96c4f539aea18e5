// TemplateProcessing: the tokens that a template names before and behind the text, and between two.

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

using Ids = std::vector<TokenId>;

/// The tokens before, between and behind so many texts, and the types of the texts.
struct Template {
  std::vector<Ids> tokens{1};
  std::vector<int> types;
  bool in_order = true;  // the texts: A before B
};

Result<Template> read_template(const json& description, const char* key) {
  const json* items = find_field(description, key);
  if (items == nullptr || !items->is_array()) return corrupt_data(fmt::format("'{}' is not a list", key));
  Template out;
  for (const json& item : *items) {
    if (const json* text = find_field(item, "Sequence"); text != nullptr) {
      SLUICE_TRY(const int64_t type, find_field(*text, "type_id") == nullptr ? Result<int64_t>(0) : int_field(*text, "type_id"));
      out.types.push_back(static_cast<int>(type));
      const json* id = find_field(*text, "id");
      out.in_order &= id != nullptr && *id == json(out.types.size() == 1 ? "A" : "B");
      out.tokens.emplace_back();
    } else if (const json* special = find_field(item, "SpecialToken"); special != nullptr) {
      SLUICE_TRY(const std::string name, string_field(*special, "id"));
      SLUICE_TRY(const Ids ids, template_ids(description, name));
      out.tokens.back().insert(out.tokens.back().end(), ids.begin(), ids.end());
    } else {
      return corrupt_data("an item is neither Sequence nor SpecialToken");
    }
  }
  return out;
}

/// The pair's, where it is the single text's with something between.
Result<PairForm> read_pair(const json& description, const Template& single) {
  if (find_field(description, "pair") == nullptr) return PairForm();
  SLUICE_TRY(const Template pair, read_template(description, "pair"));
  if (pair.types.size() != 2 || !pair.in_order || pair.types[0] != 0 || pair.tokens.front() != single.tokens.front() || pair.tokens.back() != single.tokens.back()) return PairForm();
  return PairForm{true, pair.tokens[1], pair.types[1]};
}

}  // namespace

Status parse_template_processing(const json& description, PostProcessor& out) {
  SLUICE_TRY(const Template single, read_template(description, "single"));
  if (single.types.size() > 1) return unsupported("the text twice");
  if (single.types.empty()) return corrupt_data("'single' has no Sequence");
  SLUICE_TRY(PairForm pair, read_pair(description, single));
  return put_around({single.tokens.front(), single.tokens.back(), std::move(pair)}, out);
}

}  // namespace sluice
