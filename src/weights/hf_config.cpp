#include "weights/hf_config.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "weights/json_walk.h"

namespace sluice {
namespace {

constexpr size_t kConfigLimitBytes = size_t{4} << 20;

// All leaves as one typed array; integers widen to doubles. Nothing where the kinds do not go together.
std::optional<MetadataValue> typed_array(std::vector<JsonLeaf>& leaves) {
  size_t integers = 0, numbers = 0, texts = 0;
  for (const auto& leaf : leaves) {
    integers += std::holds_alternative<int64_t>(leaf) || std::holds_alternative<bool>(leaf);
    numbers += std::holds_alternative<int64_t>(leaf) || std::holds_alternative<double>(leaf);
    texts += std::holds_alternative<std::string>(leaf);
  }
  if (texts == leaves.size()) {
    std::vector<std::string> values;
    for (auto& leaf : leaves) values.push_back(std::move(std::get<std::string>(leaf)));
    return values;
  }
  if (integers == leaves.size()) {
    std::vector<int64_t> values;
    for (const auto& leaf : leaves) {
      const bool* flag = std::get_if<bool>(&leaf);
      values.push_back(flag != nullptr ? *flag : std::get<int64_t>(leaf));
    }
    return values;
  }
  if (numbers == leaves.size()) {
    std::vector<double> values;
    for (const auto& leaf : leaves) {
      const auto* integer = std::get_if<int64_t>(&leaf);
      values.push_back(integer != nullptr ? static_cast<double>(*integer) : std::get<double>(leaf));
    }
    return values;
  }
  return {};
}

void set_scalar(Metadata& metadata, std::string key, JsonLeaf& leaf) {
  if (std::holds_alternative<JsonNull>(leaf)) metadata.set_null(std::move(key));
  else if (auto* flag = std::get_if<bool>(&leaf)) metadata.set(std::move(key), *flag);
  else if (auto* integer = std::get_if<int64_t>(&leaf)) metadata.set(std::move(key), *integer);
  else if (auto* number = std::get_if<double>(&leaf)) metadata.set(std::move(key), *number);
  else if (auto* text = std::get_if<std::string>(&leaf)) metadata.set(std::move(key), std::move(*text));
}

// Python writes infinity by a name that JSON does not have ("time_step_limit": [0.0, Infinity]). It becomes a null of the same
// length, so that errors still count bytes of the file.
std::string without_infinities(std::string text) {
  bool in_text = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (in_text && text[i] == '\\') ++i;
    else if (text[i] == '"') in_text = !in_text;
    else if (!in_text)
      for (const std::string_view name : {"-Infinity", "Infinity"})
        if (text.compare(i, name.size(), name) == 0) text.replace(i, name.size(), std::string("null     "), 0, name.size());
  }
  return text;
}

// The newest files have rope_parameters, for all layers or by their types; most have rope_theta, rope_local_base_freq (of layers
// with a window) and rope_scaling (of the others).
void unify_rope(Metadata& metadata) {
  const std::string from = "rope_parameters.", to = "rope_scaling.", full = "full_attention.", local = "sliding_attention.";
  std::vector<std::pair<std::string, MetadataValue>> copies;
  for (const auto& [key, value] : metadata.values())
    if (key.starts_with(from)) {
      std::string name = key.substr(from.size());
      if (name == local + "rope_theta") {
        copies.emplace_back("rope_local_base_freq", value);
        continue;
      }
      if (name == local + "rope_type" && value == MetadataValue(std::string("default"))) continue;
      if (name.starts_with(full)) name = name.substr(full.size());
      copies.emplace_back(name == "rope_theta" || name == "partial_rotary_factor" ? name : to + name, value);
    }
  for (auto& [key, value] : copies)
    if (!metadata.has(key)) metadata.set(std::move(key), std::move(value));
  if (!metadata.has(to + "rope_type") && metadata.has(to + "type"))
    metadata.set(to + "rope_type", metadata.string_or(to + "type", "default"));
}

// Models that read more than text keep the text model's settings in a part of their own.
void hoist_text(Metadata& metadata) {
  const std::string from = "text_config.";
  std::vector<std::pair<std::string, MetadataValue>> copies;
  for (const auto& [key, value] : metadata.values())
    if (key.starts_with(from)) copies.emplace_back(key.substr(from.size()), value);
  for (auto& [key, value] : copies)
    if (!metadata.has(key)) metadata.set(std::move(key), std::move(value));
  std::vector<std::string> nulls;
  for (const std::string& key : metadata.nulls())
    if (key.starts_with(from)) nulls.push_back(key.substr(from.size()));
  for (std::string& key : nulls)
    if (!metadata.has(key)) metadata.set_null(std::move(key));
}

}  // namespace

Result<Metadata> flatten_json(const std::string& text, const std::string& origin) {
  Metadata metadata(MetadataKind::huggingface, origin);
  std::string array_key;
  std::vector<JsonLeaf> array;
  auto end_array = [&] {
    if (array.empty()) return;
    if (auto value = typed_array(array); value && !metadata.has(array_key)) metadata.set(array_key, std::move(*value));
    array.clear();
  };
  SLUICE_TRY_STATUS(walk_json(without_infinities(text), origin, [&](std::span<const JsonStep> path, JsonLeaf& leaf) -> Status {
    const bool element = path.back().index >= 0;
    std::string key = json_path(element ? path.first(path.size() - 1) : path);
    if (!element || key != array_key) end_array();
    if (!element) {
      set_scalar(metadata, std::move(key), leaf);
    } else {
      array_key = std::move(key);
      array.push_back(std::move(leaf));
    }
    return {};
  }));
  end_array();
  return metadata;
}

Result<Metadata> load_config(const std::string& path) {
  SLUICE_TRY(const std::string text, read_file(path, kConfigLimitBytes));
  return parse_config(text, path);
}

Result<Metadata> parse_config(const std::string& text, const std::string& origin) {
  SLUICE_TRY(Metadata metadata, flatten_json(text, origin));
  hoist_text(metadata);
  unify_rope(metadata);
  return metadata;
}

std::string config_text(const std::vector<ConfigEntry>& entries) {
  nlohmann::json root = nlohmann::json::object();
  for (const ConfigEntry& entry : entries) {
    nlohmann::json* node = &root;
    size_t from = 0;
    for (size_t dot; (dot = entry.key.find('.', from)) != std::string::npos; from = dot + 1) node = &(*node)[entry.key.substr(from, dot - from)];
    nlohmann::json& leaf = (*node)[entry.key.substr(from)];
    if (entry.value) std::visit([&](const auto& value) { leaf = value; }, *entry.value);
    else leaf = nullptr;
  }
  return root.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<Metadata> load_generation_config(const std::string& path) {
  const std::filesystem::path directory =
      is_directory(path) ? std::filesystem::path(path) : std::filesystem::path(path).parent_path();
  const std::string file = (directory / "generation_config.json").string();
  if (!file_exists(file)) return Metadata(MetadataKind::huggingface, file);
  SLUICE_TRY(const std::string text, read_file(file, kConfigLimitBytes));
  return flatten_json(text, file);
}

}  // namespace sluice
