#include "apps/schema_flags.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/mapped_file.h"

namespace sluice {

void SchemaFlags::declare(OptionSet& o) {
  o.add("--prompt-schema", paths,
        "files, or folders of *.xml and *.pml, with schemas of modules whose KV is computed once and reused wherever a request names them in "
        "prompt_cache (Prompt Cache; approximate: modules do not see each other; docs/prompt-schema.md)");
  o.add("--enable-chunk-reuse", chunks,
        "let requests give chunks of text in prompt_cache, whose KV is reused at any place and in part computed anew (CacheBlend; approximate)");
}

Result<std::vector<PromptSchema>> SchemaFlags::read() const {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path, error))
      if (const std::string ending = entry.path().extension().string(); ending == ".xml" || ending == ".pml") found.push_back(entry.path().string());
    if (error) return invalid_argument(fmt::format("--prompt-schema {}: {}", path, error.message()), "--prompt-schema");
    if (found.empty()) return invalid_argument(fmt::format("--prompt-schema {}: the folder has no *.xml or *.pml", path), "--prompt-schema");
    std::ranges::sort(found);
    files.insert(files.end(), found.begin(), found.end());
  }
  std::vector<PromptSchema> schemas;
  std::map<std::string, std::string> origins;
  for (const std::string& file : files) {
    SLUICE_TRY(const std::string text, read_file(file, size_t{64} << 20));
    SLUICE_TRY(PromptSchema schema, parse_prompt_schema(text, file));
    if (const auto [it, fresh] = origins.emplace(schema.name, file); !fresh)
      return invalid_argument(fmt::format("{}: there is a schema {} in {} already", file, schema.name, it->second), "--prompt-schema");
    schemas.push_back(std::move(schema));
  }
  return schemas;
}

}  // namespace sluice
