// What a model's files say about texts that are read whole: sentence-transformers' modules, GGUF's keys, an architecture's name.

#include <algorithm>
#include <filesystem>

#include "base/mapped_file.h"
#include "model/encoder.h"
#include "weights/hf_config.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using FoundUse = Result<std::optional<TextUse>>;

constexpr size_t kFileLimitBytes = size_t{1} << 20;

constexpr Pooling kTypes[] = {Pooling::mean, Pooling::cls, Pooling::last};  // pooling_type of a GGUF, from 1 on
constexpr int64_t kScores = 4;
// Of which GGUF's own keys say nothing: elsewhere whoever asks decides.
constexpr const char *kNormalize = "sluice.embeddings.normalize", *kMaxTokens = "sluice.embeddings.max_tokens";

constexpr std::pair<std::string_view, Pooling> kModes[] = {
    {"cls_token", Pooling::cls}, {"mean_tokens", Pooling::mean}, {"lasttoken", Pooling::last}};

Result<Metadata> read_object(const std::string& path) {
  SLUICE_TRY(const std::string text, read_file(path, kFileLimitBytes));
  return flatten_json(text, path);
}

// {"pooling_mode_cls_token": true, ...}, of which one is true; newer files have {"pooling_mode": "cls"} too.
Result<Pooling> read_pooling(const std::string& path) {
  SLUICE_TRY(const Metadata config, read_object(path));
  constexpr std::string_view kMode = "pooling_mode_";
  std::optional<Pooling> found;
  for (const auto& [key, value] : config.values()) {
    if (!key.starts_with(kMode) || value != MetadataValue(true)) continue;
    const std::string_view mode = std::string_view(key).substr(kMode.size());
    const auto* const known = std::ranges::find(kModes, mode, &std::pair<std::string_view, Pooling>::first);
    if (known == std::end(kModes) || found)
      return unsupported(fmt::format("{}: {} is true; one of pooling_mode_cls_token, pooling_mode_mean_tokens and pooling_mode_lasttoken is right",
                                     path, key));
    found = known->second;
  }
  if (!found) return corrupt_data(fmt::format("{}: no pooling_mode_... is true", path));
  return *found;
}

FoundUse read_modules(const fs::path& directory) {
  const std::string path = (directory / "modules.json").string();
  SLUICE_TRY(const std::string text, read_file(path, kFileLimitBytes));
  SLUICE_TRY(const Metadata modules, flatten_json("{\"modules\":" + text + "}", path));
  TextUse use;
  use.normalize = false;
  bool pooled = false;
  for (int i = 0; modules.has(fmt::format("modules.{}.type", i)); ++i) {
    const std::string type = modules.string_or(fmt::format("modules.{}.type", i), "");
    const std::string name = type.substr(type.rfind('.') + 1);
    const fs::path folder = fs::path(modules.string_or(fmt::format("modules.{}.path", i), "")).relative_path();
    if (name == "Transformer" && i == 0) continue;
    if (name == "Pooling" && !pooled) {
      SLUICE_TRY(use.pooling, read_pooling((directory / folder / "config.json").string()));
      pooled = true;
    } else if (name == "Normalize" && pooled) {
      use.normalize = true;
    } else {
      return unsupported(fmt::format("{}: module {} is a {}; a Transformer, a Pooling and a Normalize are known, in this order", path, i, type));
    }
  }
  if (!pooled) return corrupt_data(fmt::format("{}: there is no Pooling module", path));
  for (const char* file : {"sentence_bert_config.json", "config_sentence_transformers.json"}) {
    const std::string beside = (directory / file).string();
    if (!file_exists(beside)) continue;
    SLUICE_TRY(const Metadata config, read_object(beside));
    if (config.has("max_seq_length")) {
      SLUICE_TRY(use.max_tokens, config.integer("max_seq_length"));
      if (use.max_tokens < 1) return corrupt_data(fmt::format("{}: max_seq_length is {}; it must be at least 1", beside, use.max_tokens));
    }
    use.default_prompt = config.string_or("default_prompt_name", "");
  }
  return std::optional(use);
}

FoundUse read_gguf(const TensorSource& source) {
  const Metadata& metadata = source.metadata();
  const std::string arch = metadata.architecture(), key = arch + ".pooling_type";
  int64_t type = 0;
  if (metadata.has(key)) {
    SLUICE_TRY(type, metadata.integer(key));
  }
  TextUse use;
  if (source.find("cls.output.weight") != nullptr || type == kScores) {
    use.task = TextUse::Task::score;
    use.pooling = metadata.boolean_or(arch + ".attention.causal", true) ? Pooling::last : Pooling::cls;
    return std::optional(use);
  }
  if (type < 0 || type > kScores) return corrupt_data(fmt::format("{}: {} is {}; it must be from 0 to 4", metadata.origin(), key, type));
  if (type == 0) return std::optional<TextUse>();
  use.pooling = kTypes[type - 1];
  if (metadata.has(kNormalize)) {
    SLUICE_TRY(use.normalize, metadata.boolean(kNormalize));
  }
  if (metadata.has(kMaxTokens)) {
    SLUICE_TRY(use.max_tokens, metadata.integer(kMaxTokens));
  }
  if (use.max_tokens < 0) return corrupt_data(fmt::format("{}: {} is {}; it must be at least 0", metadata.origin(), kMaxTokens, use.max_tokens));
  return std::optional(use);
}

}  // namespace

std::vector<GgufKey> text_use_keys(const TextUse& use, const std::string& arch) {
  std::vector<GgufKey> keys;
  if (use.assumed) return keys;
  const bool scores = use.task == TextUse::Task::score;
  const auto type = std::ranges::find(kTypes, use.pooling) - std::begin(kTypes) + 1;
  keys.push_back(GgufKey::u32(arch + ".pooling_type", scores ? kScores : type));
  if (!scores && !use.normalize) keys.push_back(GgufKey::boolean(kNormalize, false));
  if (!scores && use.max_tokens > 0) keys.push_back(GgufKey::u32(kMaxTokens, use.max_tokens));
  return keys;
}

std::map<std::string, std::string> text_use_files(const TextUse& use, const ModelInfo& info) {
  std::map<std::string, std::string> files;
  if (use.assumed || use.task == TextUse::Task::score) return files;
  std::string modules;
  int count = 0;
  const auto add = [&](std::string_view kind) {
    const std::string path = count == 0 ? "" : fmt::format("{}_{}", count, kind);
    modules += fmt::format("{}\n  {{\"idx\": {}, \"name\": \"{}\", \"path\": \"{}\", \"type\": \"sentence_transformers.models.{}\"}}", count == 0 ? "" : ",", count,
                           count, path, kind);
    ++count;
  };
  add("Transformer");
  add("Pooling");
  if (use.normalize) add("Normalize");
  std::vector<ConfigEntry> pooling{{"word_embedding_dimension", info.hidden}};
  for (const auto& [name, mode] : kModes) pooling.push_back({fmt::format("pooling_mode_{}", name), mode == use.pooling});
  files["modules.json"] = "[" + modules + "\n]\n";
  files["1_Pooling/config.json"] = config_text(pooling);
  files["sentence_bert_config.json"] =
      config_text({{"max_seq_length", use.max_tokens > 0 ? use.max_tokens : info.max_positions}, {"do_lower_case", false}});
  return files;
}

std::string_view pooling_name(Pooling pooling) {
  constexpr std::string_view kNames[] = {"cls", "mean", "last"};
  return kNames[static_cast<size_t>(pooling)];
}

Result<std::optional<TextUse>> read_text_use(const TensorSource& source) {
  const Metadata& metadata = source.metadata();
  std::optional<TextUse> found;
  if (metadata.kind() == MetadataKind::gguf) {
    SLUICE_TRY(found, read_gguf(source));
  } else if (metadata.architecture().ends_with("ForSequenceClassification")) {
    found.emplace().task = TextUse::Task::score;
    found->pooling = Pooling::cls;
  } else if (const fs::path directory = fs::path(metadata.origin()).parent_path(); file_exists((directory / "modules.json").string())) {
    SLUICE_TRY(found, read_modules(directory));
  }
  if (found) return found;
  SLUICE_TRY(const bool generates, generates_text(source));
  if (!generates) found.emplace().assumed = true;  // the mean, normalized: what sentence-transformers makes of a bare encoder, and APIs expect
  return found;
}

}  // namespace sluice
