#pragma once
// Hugging Face's config.json and generation_config.json as Metadata.

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "weights/metadata.h"

namespace sluice {

/// Flattens a JSON object: nested keys are joined by dots, arrays of one kind of scalar become arrays, nulls are
/// noted as such, and so are Python's infinities. Arrays of objects are reached as "key.0.name". Arrays that mix kinds are left out.
Result<Metadata> flatten_json(const std::string& text, const std::string& origin);

/// config.json, with the spellings of different transformers releases brought to one: "rope_parameters" also appears as
/// "rope_theta" and "rope_scaling.*", and "rope_scaling.type" also as "rope_scaling.rope_type".
Result<Metadata> load_config(const std::string& path);
/// The same of a text that is to become such a file.
Result<Metadata> parse_config(const std::string& text, const std::string& origin);

/// A setting that is to be written: its keys from the root, joined by dots, and what it is; nothing: null.
struct ConfigEntry {
  std::string key;
  std::optional<MetadataValue> value;
};
/// A config.json of these, the last of equal keys, in order of their names.
std::string config_text(const std::vector<ConfigEntry>& entries);

/// The generation_config.json beside the model at `path` (a directory or a file in it); empty when there is none.
Result<Metadata> load_generation_config(const std::string& path);

}  // namespace sluice
