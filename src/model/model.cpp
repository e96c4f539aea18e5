#include "model/model.h"

#include <algorithm>

#include "base/log.h"
#include "model/encoder.h"
#include "model/find_arch.h"

namespace sluice {

Result<const ModelArch*> find_arch(const Metadata& metadata) {
  const bool gguf = metadata.kind() == MetadataKind::gguf;
  const std::string name = metadata.architecture();
  std::string known;
  for (const ModelArch& arch : model_catalog()) {
    const auto& names = gguf ? arch.gguf_names : arch.hf_names;
    if (std::find(names.begin(), names.end(), name) != names.end()) return &arch;
    for (const std::string_view n : names) known += (known.empty() ? "" : ", ") + std::string(n);
  }
  const std::string key = gguf ? "general.architecture" : "architectures";
  if (name.empty()) return corrupt_data(fmt::format("{}: {} is missing; known are {}", metadata.origin(), key, known));
  return unsupported(fmt::format("{}: {} is \"{}\"; known are {}", metadata.origin(), key, name.substr(0, 100), known));
}

Result<std::unique_ptr<Model>> build_model(WeightStore& weights, const Ops& ops) {
  SLUICE_TRY(const ModelArch* arch, find_arch(weights.source().metadata()));
  auto model = arch->build(weights, ops);
  weights.loaded();
  return model;
}

Result<ModelPlan> plan_model(const TensorSource& source) {
  SLUICE_TRY(const ModelArch* arch, find_arch(source.metadata()));
  return arch->plan(source);
}

Result<bool> generates_text(const TensorSource& source) {
  SLUICE_TRY(const ModelArch* arch, find_arch(source.metadata()));
  return arch->generates;
}

Result<EncoderInfo> plan_encoder(const TensorSource& source, const TextUse& use) {
  SLUICE_TRY(const ModelArch* arch, find_arch(source.metadata()));
  if (arch->plan_encoder == nullptr) return unsupported(fmt::format("{}: the family {} is not read for embeddings", source.metadata().origin(), arch->name));
  return arch->plan_encoder(source, use);
}

Result<std::unique_ptr<Encoder>> build_encoder(WeightStore& weights, const Ops& ops, const TextUse& use) {
  const TensorSource& source = weights.source();
  SLUICE_TRY(const ModelArch* arch, find_arch(source.metadata()));
  if (arch->build_encoder == nullptr) return unsupported(fmt::format("{}: the family {} is not read for embeddings", source.metadata().origin(), arch->name));
  auto encoder = arch->build_encoder(weights, ops, use);
  weights.loaded();
  return encoder;
}

Result<GgufPlan> plan_huggingface(std::shared_ptr<TensorSource> source, const std::string& name,
                                  const GgufVocab& vocabulary, const QuantRecipe& recipe) {
  const Metadata& metadata = source->metadata();
  if (metadata.kind() != MetadataKind::huggingface)
    return invalid_argument(fmt::format("{}: not a Hugging Face model", metadata.origin()));
  SLUICE_TRY(const ModelArch* arch, find_arch(metadata));
  SLUICE_TRY(const std::optional<TextUse> use, read_text_use(*source));
  if (use && !use->default_prompt.empty())
    log_warn("{}: texts are put behind the prompt \"{}\" by default, which a GGUF cannot say", metadata.origin(), use->default_prompt);
  SLUICE_TRY(GgufPlan plan, arch->convert(std::move(source), {name, vocabulary, recipe, use ? &*use : nullptr}));
  if (use)
    for (GgufKey& key : text_use_keys(*use, std::get<std::string>(std::ranges::find(plan.keys, "general.architecture", &GgufKey::name)->value))) plan.keys.push_back(std::move(key));
  return plan;
}

}  // namespace sluice
