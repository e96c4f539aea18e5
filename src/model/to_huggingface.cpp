// A GGUF as a Hugging Face directory. The plan is read back as if it were one, and has to say what the GGUF says: a setting that a
// family's config.json has no way to say is found by that.

#include <algorithm>
#include <cctype>

#include "model/encoder.h"
#include "model/find_arch.h"
#include "model/model.h"
#include "weights/hf_config.h"
#include "weights/weight_piece.h"

namespace sluice {
namespace {

/// transformers' model_type of an architecture: its name in small letters without what it is for, but for these.
std::string model_type_of(std::string_view architecture) {
  static constexpr std::pair<std::string_view, std::string_view> kOthers[] = {
      {"Qwen2MoeForCausalLM", "qwen2_moe"},      {"Qwen3MoeForCausalLM", "qwen3_moe"},   {"Gemma3ForCausalLM", "gemma3_text"},
      {"GptOssForCausalLM", "gpt_oss"},          {"DeepseekV2ForCausalLM", "deepseek_v2"}, {"DeepseekV3ForCausalLM", "deepseek_v3"},
      {"Llama4ForCausalLM", "llama4_text"},      {"GPT2LMHeadModel", "gpt2"},            {"GPTBigCodeForCausalLM", "gpt_bigcode"},
      {"GPTNeoXForCausalLM", "gpt_neox"},        {"ChatGLMModel", "chatglm"},
      {"FalconMambaForCausalLM", "falcon_mamba"}, {"FalconH1ForCausalLM", "falcon_h1"},    {"NemotronHForCausalLM", "nemotron_h"},
      {"Qwen3NextForCausalLM", "qwen3_next"}};
  for (const auto& [name, type] : kOthers)
    if (name == architecture) return std::string(type);
  if (architecture.starts_with("XLMRoberta")) return "xlm-roberta";
  std::string type(architecture.substr(0, std::min(architecture.find("For"), architecture.rfind("Model"))));
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return type;
}

/// The directory before it is written: names, types and shapes.
class PlannedSource final : public TensorSource {
 public:
  PlannedSource(Metadata metadata, const std::vector<GgufTensor>& tensors) : metadata_(std::move(metadata)) {
    for (const GgufTensor& t : tensors) {
      by_name_.emplace(t.name, infos_.size());
      infos_.push_back({t.name, t.dtype, t.shape, 0, 0, row_bytes(t.dtype, t.shape.elems())});
    }
  }
  const Metadata& metadata() const override { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* find(std::string_view name) const override {
    const auto at = by_name_.find(name);
    return at == by_name_.end() ? nullptr : &infos_[at->second];
  }
  TensorView view(const TensorInfo&) const override { return {}; }  // not written yet
  void release(const TensorInfo&) const override {}
  std::vector<std::string> files() const override { return {metadata_.origin()}; }

 private:
  Metadata metadata_;
  std::vector<TensorInfo> infos_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

bool same(const MetadataValue& a, const MetadataValue& b) {
  const auto as_number = [](const MetadataValue& v) -> std::optional<float> {
    if (const auto* i = std::get_if<int64_t>(&v)) return static_cast<float>(*i);
    if (const auto* d = std::get_if<double>(&v)) return static_cast<float>(*d);
    return {};
  };
  const auto x = as_number(a), y = as_number(b);
  return x && y ? *x == *y : a == b;
}

Error cannot_say(const Metadata& gguf, std::string_view what) {
  return unsupported(fmt::format("{}: {}, which a config.json of its family cannot say", gguf.origin(), what));
}

/// Whether the two classes of a causal reranker are rows of its head, as llama.cpp's converter makes them of Qwen3-Reranker: without
/// them it is the model that they were taken from, which is asked for its answers.
Result<bool> classes_are_answers(const TensorSource& source) {
  const Metadata& metadata = source.metadata();
  const std::vector<std::string>*const labels = metadata.strings(metadata.architecture() + ".classifier.output_labels"), *const tokens = metadata.strings("tokenizer.ggml.tokens");
  const TensorInfo* const classes = source.find("cls.output.weight");
  const TensorInfo* head = source.find("output.weight");
  if (head == nullptr) head = source.find("token_embd.weight");
  if (labels == nullptr || tokens == nullptr || classes == nullptr || head == nullptr || source.find("cls.output.bias") != nullptr) return false;
  if (classes->shape.rank != 2 || head->shape.rank != 2 || classes->shape[0] != static_cast<int64_t>(labels->size()) || classes->shape[1] != head->shape[1]) return false;
  const int64_t width = head->shape[1];
  std::vector<float> row(static_cast<size_t>(width)), of_head(row.size());
  for (size_t i = 0; i < labels->size(); ++i) {
    const int64_t id = std::ranges::find(*tokens, (*labels)[i]) - tokens->begin();
    if (id >= std::min(head->shape[0], static_cast<int64_t>(tokens->size()))) return false;
    Buffer memory;
    SLUICE_TRY_STATUS(decode_row(source, {.name = classes->name, .shape = classes->shape}, static_cast<int64_t>(i), width, memory, row.data()));
    SLUICE_TRY_STATUS(decode_row(source, {.name = head->name, .shape = head->shape}, id, width, memory, of_head.data()));
    if (row != of_head) return false;
  }
  return true;
}

/// What a file is, of a family of either kind.
Result<ModelPlan> facts_of(const TensorSource& source, const TextUse* use) {
  SLUICE_TRY(const bool generates, generates_text(source));
  if (generates) return plan_model(source);
  SLUICE_TRY(EncoderInfo info, plan_encoder(source, use != nullptr ? *use : TextUse{}));
  return ModelPlan{std::move(info.model), {}};
}

/// Whether the settings that come back are those of the file.
Status compare(const Metadata& gguf, const HuggingfaceForm& form, const GgufPlan& back, const ModelPlan& is, const ModelPlan& becomes) {
  std::map<std::string_view, const MetadataValue*> said;
  for (const GgufKey& key : back.keys) said[key.name] = &key.value;
  for (const std::string& key : form.read) {
    const auto at = gguf.values().find(key);
    if (at == gguf.values().end()) continue;
    const auto again = said.find(key);
    if (again != said.end() && !same(*again->second, at->second)) return cannot_say(gguf, fmt::format("{} is another", key));
  }
  const ModelInfo &a = is.info, &b = becomes.info;
  const std::pair<std::string_view, bool> facts[] = {{"its vocabulary", a.vocab_size == b.vocab_size},
                                                     {"its width", a.hidden == b.hidden && a.ffn == b.ffn},
                                                     {"its layers", a.layers == b.layers},
                                                     {"its positions", a.max_positions == b.max_positions},
                                                     {"its heads", a.heads == b.heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim},
                                                     {"its windows of attention", a.windowed == b.windowed},
                                                     {"what it caches", is.kv.groups == becomes.kv.groups}};
  for (const auto& [what, equal] : facts)
    if (!equal) return cannot_say(gguf, what);
  return {};
}

}  // namespace

Result<HuggingfacePlan> plan_to_huggingface(std::shared_ptr<TensorSource> source, DType type) {
  const Metadata& gguf = source->metadata();
  if (gguf.kind() != MetadataKind::gguf) return invalid_argument(fmt::format("{}: not a GGUF", gguf.origin()));
  SLUICE_TRY(const ModelArch* arch, find_arch(gguf));
  if (arch->to_huggingface == nullptr)
    return unsupported(fmt::format("{}: models of the {} family are not written as Hugging Face directories", gguf.origin(), arch->name));
  SLUICE_TRY(std::optional<TextUse> found, read_text_use(*source));
  if (arch->generates && found && found->task == TextUse::Task::score) {
    SLUICE_TRY(const bool answers, classes_are_answers(*source));
    if (!answers)
      return unsupported(fmt::format("{}: a causal model with a classifier is not written as a Hugging Face directory, unless its classes are the rows of its head "
                                     "for the tokens that they are called by (Qwen3-Reranker)", gguf.origin()));
    found.reset();
  }
  const TextUse* const use = found ? &*found : nullptr;
  SLUICE_TRY(const ModelPlan is, facts_of(*source, use));
  SLUICE_TRY(HuggingfaceForm form, arch->to_huggingface(source, type, use));
  if (form.architecture.empty()) {
    const auto catalog = model_catalog();
    const auto family = std::ranges::find(catalog, form.family, &ModelArch::name);
    CHECK(family != catalog.end(), "{} is no family", form.family);
    if (family->hf_names.empty())
      return unsupported(fmt::format("{}: the {} family has no form as a Hugging Face directory", gguf.origin(), family->name));
    form.architecture = std::string(family->hf_names.front());
  }
  if (form.classifies) form.architecture = form.architecture.substr(0, form.architecture.rfind("Model")) + "ForSequenceClassification";
  form.settings.push_back({"architectures", std::vector<std::string>{form.architecture}});
  form.settings.push_back({"model_type", model_type_of(form.architecture)});

  HuggingfacePlan plan;
  plan.files["config.json"] = config_text(form.settings);
  SLUICE_TRY(Metadata metadata, parse_config(plan.files["config.json"], gguf.origin() + ": as config.json"));
  const auto planned = std::make_shared<PlannedSource>(std::move(metadata), form.tensors);
  SLUICE_TRY(const QuantRecipe* recipe, find_quant_recipe("f32"));
  SLUICE_TRY(const ModelArch* again, find_arch(planned->metadata()));
  SLUICE_TRY(const GgufPlan back, again->convert(planned, {"", {}, *recipe, use}));
  SLUICE_TRY(const ModelPlan becomes, facts_of(*planned, use));
  SLUICE_TRY_STATUS(compare(gguf, form, back, is, becomes));
  if (use != nullptr) plan.files.merge(text_use_files(*use, is.info));
  plan.tensors = std::move(form.tensors);
  return plan;
}

}  // namespace sluice
