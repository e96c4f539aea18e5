// An encoder's settings and tensors in the other kind of file: a decoder's, with the classifier's, and what a GGUF says of texts.

#include <algorithm>

#include "model/layers/encoder_model.h"

namespace sluice {
namespace {

constexpr std::string_view kOneLabel = "LABEL_0";  // what transformers calls a class without a name

/// All tensors of what the family made of the file.
Result<TensorTable> declare(EncoderParts& parts, PoolingHead& head, const TensorSource& source, const TextUse* use) {
  parts.body.config.head = Presence::absent;
  head = PoolingHead(use != nullptr ? *use : TextUse{}, parts.classifier, parts.body.config.info.hidden);
  return parts.body.declare(source, &head);
}

bool scores(const TextUse* use) { return use != nullptr && use->task == TextUse::Task::score; }

}  // namespace

Result<GgufPlan> convert_encoder(EncoderFamily* family, std::shared_ptr<TensorSource> source, const GgufIdentity& identity) {
  const ConfigReader reader(source->metadata());
  SLUICE_TRY(EncoderParts parts, family(reader, *source));
  PoolingHead head;
  SLUICE_TRY(const TensorTable table, declare(parts, head, *source, identity.use));
  const std::string arch(parts.body.config.gguf.arch);
  std::vector<GgufKey> more{GgufKey::boolean(arch + ".attention.causal", parts.causal)};
  if (parts.body.token_types > 0) more.push_back(GgufKey::u32("tokenizer.ggml.token_type_count", parts.body.token_types));
  if (scores(identity.use))
    more.push_back(GgufKey::array(arch + ".classifier.output_labels", GgufType::string,
                                  std::vector<std::string>{source->metadata().string_or("id2label.0", kOneLabel)}));
  GgufVocab vocabulary = identity.vocabulary;
  if (!vocabulary.add_sep && parts.pair_separators > 1 && vocabulary.eos) vocabulary.sep = vocabulary.eos, vocabulary.add_sep = true;
  return gguf_of(parts.body, table, reader, std::move(source), {identity.name, vocabulary, identity.recipe, identity.use}, std::move(more));
}

Result<HuggingfaceForm> convert_encoder_to_huggingface(EncoderFamily* family, std::shared_ptr<TensorSource> source, DType type, const TextUse* use) {
  const Metadata& metadata = source->metadata();
  const ConfigReader reader(metadata);
  SLUICE_TRY(EncoderParts parts, family(reader, *source));
  PoolingHead head;
  SLUICE_TRY(const TensorTable table, declare(parts, head, *source, use));
  SLUICE_TRY(HuggingfaceForm form, huggingface_of(parts.body, table, reader, source, type));
  // What a config.json leaves out transformers has numbers of its own for, which need not be tokens of this vocabulary.
  constexpr std::pair<const char*, const char*> kTokens[] = {{"pad_token_id", "padding_token_id"}, {"bos_token_id", "bos_token_id"}, {"eos_token_id", "eos_token_id"},
                                                             {"cls_token_id", "cls_token_id"},     {"sep_token_id", "seperator_token_id"}};
  for (const auto& [name, key] : kTokens) {
    const int64_t id = metadata.integer_or(std::string("tokenizer.ggml.") + key, -1);
    const bool known = std::ranges::any_of(form.settings, [&](const ConfigEntry& entry) { return entry.key == name; });
    if (!known) form.settings.push_back({name, id >= 0 ? std::optional<MetadataValue>(id) : std::nullopt});
  }
  if (!scores(use)) return form;
  // transformers would make one up.
  if (parts.classifier.dense != Presence::absent && !table.has("cls.weight"))
    return unsupported(fmt::format("{}: the classifier has no cls.weight, and a Hugging Face directory of the {} family has it", metadata.origin(), form.family));
  form.classifies = true;
  const std::vector<std::string>* labels = metadata.strings(metadata.architecture() + ".classifier.output_labels");
  form.settings.push_back({"id2label.0", labels != nullptr && !labels->empty() ? labels->front() : std::string(kOneLabel)});
  return form;
}

}  // namespace sluice
