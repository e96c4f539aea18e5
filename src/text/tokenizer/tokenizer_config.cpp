#include "text/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/mapped_file.h"
#include "text/tokenizer/json_fields.h"
#include "text/tokenizer/utf8.h"

namespace sluice {
namespace {

using nlohmann::json;
constexpr size_t kMaxTemplateBytes = 4 << 20;

/// A special token is written as a string or as an object with its flags.
std::string special_content(const json& document, const char* key) {
  const json* field = find_field(document, key);
  if (field != nullptr && field->is_object()) field = find_field(*field, "content");
  return field != nullptr && field->is_string() ? field->get<std::string>() : std::string();
}

Result<std::optional<bool>> optional_flag(const json& document, const char* key) {
  if (find_field(document, key) == nullptr) return std::optional<bool>();
  SLUICE_TRY(const bool value, bool_field(document, key, false));
  return std::optional<bool>(value);
}

Status read_templates(const json& document, TokenizerConfig& out) {
  const json* field = find_field(document, "chat_template");
  if (field == nullptr) return {};
  if (field->is_string()) {
    out.chat_templates["default"] = field->get<std::string>();
    return {};
  }
  if (!field->is_array()) return corrupt_data("field 'chat_template' is neither a string nor a list");
  for (const json& entry : *field) {
    SLUICE_TRY(const std::string name, string_field(entry, "name"));
    SLUICE_TRY(out.chat_templates[name], string_field(entry, "template"));
  }
  return {};
}

Status read_document(const json& document, TokenizerConfig& out) {
  if (!document.is_object()) return corrupt_data("not a JSON object");
  if (const json* name = find_field(document, "tokenizer_class"); name != nullptr && name->is_string())
    out.tokenizer_class = name->get<std::string>();
  if (const json* added = find_field(document, "added_tokens_decoder"); added != nullptr) {
    if (!added->is_object()) return corrupt_data("field 'added_tokens_decoder' is not an object");
    for (const auto& [key, entry] : added->items()) {
      TokenId id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size())
        return corrupt_data(fmt::format("added_tokens_decoder: key '{}' is not a token id", key));
      SLUICE_TRY(AddedToken token, parse_added_token(entry, id));
      out.added.push_back(std::move(token));
    }
  }
  out.bos_token = special_content(document, "bos_token");
  out.eos_token = special_content(document, "eos_token");
  out.pad_token = special_content(document, "pad_token");
  out.unk_token = special_content(document, "unk_token");
  out.cls_token = special_content(document, "cls_token");
  out.sep_token = special_content(document, "sep_token");
  out.mask_token = special_content(document, "mask_token");
  SLUICE_TRY(out.add_bos, optional_flag(document, "add_bos_token"));
  SLUICE_TRY(out.add_eos, optional_flag(document, "add_eos_token"));
  SLUICE_TRY(out.add_prefix_space, optional_flag(document, "add_prefix_space"));
  SLUICE_TRY(out.legacy, optional_flag(document, "legacy"));
  SLUICE_TRY(out.lowercase, optional_flag(document, "do_lower_case"));
  SLUICE_TRY(out.strip_accents, optional_flag(document, "strip_accents"));
  return read_templates(document, out);
}

/// eos_token_id is a number or a list of numbers.
void read_generation_ends(const json& document, TokenizerConfig& out) {
  const json* field = find_field(document, "eos_token_id");
  if (field == nullptr) return;
  const json list = field->is_array() ? *field : json::array({*field});
  for (const json& id : list)
    if (id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < INT32_MAX)
      out.end_of_generation.push_back(id.get<TokenId>());
}

}  // namespace

Result<AddedToken> parse_added_token(const json& entry, TokenId id) {
  AddedToken token;
  token.id = id;
  const auto with_place = [&](const Error& error) { return error.in(fmt::format("added token {}", id)); };
  auto content = string_field(entry, "content");
  if (!content.ok()) return with_place(content.error());
  token.content = std::move(content).value();
  const std::pair<const char*, bool AddedToken::*> flags[] = {{"special", &AddedToken::special},
                                                              {"lstrip", &AddedToken::lstrip},
                                                              {"rstrip", &AddedToken::rstrip},
                                                              {"single_word", &AddedToken::single_word},
                                                              {"normalized", &AddedToken::normalized}};
  for (const auto& [key, member] : flags) {
    const auto flag = bool_field(entry, key, false);
    if (!flag.ok()) return with_place(flag.error());
    token.*member = *flag;
  }
  return token;
}

Result<TokenizerConfig> read_tokenizer_config(const std::string& directory) {
  TokenizerConfig out;
  if (const std::string path = directory + "/tokenizer_config.json"; file_exists(path)) {
    SLUICE_TRY(const std::string text, read_file(path));
    SLUICE_TRY(const json document, parse_json(text, path));
    if (const Status read = read_document(document, out); !read.ok()) return read.error().in(path);
  }
  // Where processors of text and images keep theirs; a template of the tokenizer's own comes before it.
  if (const std::string path = directory + "/chat_template.json";
      file_exists(path) && !out.chat_templates.contains("default")) {
    SLUICE_TRY(const std::string text, read_file(path, kMaxTemplateBytes));
    SLUICE_TRY(const json document, parse_json(text, path));
    if (const Status read = read_templates(document, out); !read.ok()) return read.error().in(path);
  }
  if (const std::string path = directory + "/chat_template.jinja"; file_exists(path)) {
    SLUICE_TRY(const std::string text, read_file(path, kMaxTemplateBytes));
    out.chat_templates["default"] = to_valid_utf8(text);
  }
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(directory + "/additional_chat_templates", none)) {
    if (entry.path().extension() != ".jinja") continue;
    SLUICE_TRY(const std::string text, read_file(entry.path().string(), kMaxTemplateBytes));
    out.chat_templates[entry.path().stem().string()] = to_valid_utf8(text);
  }
  if (const std::string path = directory + "/generation_config.json"; file_exists(path)) {
    SLUICE_TRY(const std::string text, read_file(path));
    SLUICE_TRY(const json document, parse_json(text, path));
    read_generation_ends(document, out);
  }
  return out;
}

Status apply_tokenizer_config(const TokenizerConfig& config,
                              const std::function<std::optional<TokenId>(const std::string&)>& id_of,
                              TokenizerParts& parts) {
  AddedTokenList added(parts.added);
  for (const AddedToken& token : config.added) SLUICE_TRY_STATUS(added.add(token));

  /// The named token becomes special, wherever the vocabulary keeps it.
  const auto resolve = [&](const std::string& content, std::optional<TokenId>& id) -> Status {
    if (content.empty()) return {};
    if (AddedToken* known = added.find(content)) {
      known->special = true;
      id = known->id;
    } else if ((id = id_of(content))) {
      SLUICE_TRY_STATUS(added.add({.id = *id, .content = content, .special = true}));
    }
    return {};
  };
  std::optional<TokenId> unknown;
  SLUICE_TRY_STATUS(resolve(config.bos_token, parts.bos));
  SLUICE_TRY_STATUS(resolve(config.eos_token, parts.eos));
  SLUICE_TRY_STATUS(resolve(config.pad_token, parts.pad));
  SLUICE_TRY_STATUS(resolve(config.unk_token, unknown));

  const auto set_present = [&](std::vector<TokenId>& list, std::optional<TokenId> id, std::optional<bool> wanted,
                               bool front) {
    if (!id || !wanted) return;
    const auto at = std::find(list.begin(), list.end(), *id);
    if (*wanted == (at == list.end())) parts.pair = {};  // which was said of other tokens
    if (*wanted && at == list.end()) list.insert(front ? list.begin() : list.end(), *id);
    if (!*wanted && at != list.end()) list.erase(at);
  };
  set_present(parts.prefix, parts.bos, config.add_bos, true);
  set_present(parts.suffix, parts.eos, config.add_eos, false);
  parts.end_of_generation.insert(parts.end_of_generation.end(), config.end_of_generation.begin(),
                                 config.end_of_generation.end());
  for (const auto& [name, text] : config.chat_templates) parts.chat_templates[name] = text;
  return {};
}

}  // namespace sluice
