// A decoder of a GGUF as a Hugging Face directory: the settings as the model read them, and the tensors of its table in their other
// places.

#include <algorithm>
#include <map>

#include "model/layers/decoder_model.h"
#include "model/layers/huggingface_tensors.h"
#include "model/layers/rope_scaling_entries.h"

namespace sluice {
namespace {

// What add_rope_scaling() says of the whole; a family may have more there, under names of its own.
bool is_of_rope(std::string_view key) {
  constexpr std::string_view kScaling = "rope_scaling.";
  if (key == "original_max_position_embeddings") return true;
  if (!key.starts_with(kScaling)) return false;
  constexpr std::string_view kOwn[] = {"llama_4_scaling_beta"};
  return std::ranges::find(kOwn, key.substr(kScaling.size())) == std::end(kOwn);
}

// A GGUF's numbers are float32.
MetadataValue simplest(const MetadataValue& value) {
  if (const auto* d = std::get_if<double>(&value)) return simplest_number(*d);
  if (const auto* list = std::get_if<std::vector<double>>(&value)) {
    std::vector<double> out;
    for (const double d : *list) out.push_back(simplest_number(d));
    return out;
  }
  return value;
}

// Whether the file has biases of the parts that a setting speaks of: those of a state space's convolution or projections, of the MLP, of
// attention, or of both.
bool has_biases(const TensorTable& table, std::string_view setting) {
  const auto any = [&](std::string_view begin) {
    return std::ranges::any_of(table.rows(), [&](const TableRow& row) { return row.key.starts_with(begin) && row.key.ends_with(".bias"); });
  };
  if (setting.find("conv") != std::string_view::npos) return any("ssm_conv1d");
  const bool spaces = std::ranges::any_of(table.rows(), [](const TableRow& row) { return row.key.starts_with("ssm_out"); });
  if (setting == "mamba_proj_bias" || (setting == "use_bias" && spaces)) return any("ssm_in") || any("ssm_out");
  const bool mlp = setting.starts_with("mlp"), attention = setting.starts_with("attention") || setting.find("qkv") != std::string_view::npos;
  return std::ranges::any_of(table.rows(), [&](const TableRow& row) {
    return ((!attention && row.key.starts_with("ffn_")) || (!mlp && row.key.starts_with("attn_"))) && row.key.ends_with(".bias") && row.key.find("norm") == std::string::npos;
  });
}

std::string_view name_of_most(const std::vector<GgufTensor>& tensors) {
  std::map<DType, int64_t> values;
  for (const GgufTensor& tensor : tensors) values[tensor.dtype] += tensor.shape.elems();
  const DType most = std::ranges::max_element(values, {}, [](const auto& entry) { return entry.second; })->first;
  return most == DType::f16 ? "float16" : most == DType::bf16 ? "bfloat16" : "float32";
}

}  // namespace

Result<HuggingfaceForm> convert_decoder_to_huggingface(DecoderFamily* family, std::shared_ptr<TensorSource> source, DType type) {
  const ConfigReader reader(source->metadata());
  SLUICE_TRY(Decoder decoder, family(reader, *source));
  SLUICE_TRY(const TensorTable table, decoder.declare(*source));
  return huggingface_of(decoder, table, reader, std::move(source), type);
}

Result<HuggingfaceForm> huggingface_of(const Decoder& decoder, const TensorTable& table, const ConfigReader& reader,
                                       std::shared_ptr<TensorSource> source, DType type) {
  const Metadata& metadata = source->metadata();
  const DecoderConfig& config = decoder.config;
  table.warn_of_unread(config.info.arch);  // as whoever runs the file is told
  if (!reader.unsaid().empty())
    return unsupported(fmt::format("{}: {}, which a config.json of the {} family cannot say", metadata.origin(), reader.unsaid(), config.info.arch));

  HuggingfaceForm form;
  form.family = config.info.arch;
  form.architecture = std::string(config.hf_architecture);
  SLUICE_TRY(form.tensors, huggingface_tensors(source, table, config, type));
  for (const auto& [key, value] : reader.notes()) {
    if (!key.gguf.empty()) form.read.push_back(reader.name(key));
    if (!key.hf.empty() && !is_of_rope(key.hf)) form.settings.push_back({std::string(key.hf), simplest(value)});
  }
  for (const std::string_view key : reader.nulls()) form.settings.push_back({std::string(key), {}});
  for (const std::string_view key : reader.biases()) form.settings.push_back({std::string(key), has_biases(table, key)});
  if (config.rope != nullptr) {
    RopeFactors factors;
    SLUICE_TRY(factors.all, table_vector(*source, table, "rope_freqs.weight"));
    SLUICE_TRY(factors.within, table_vector(*source, table, "rope_factors_short.weight"));
    SLUICE_TRY(factors.beyond, table_vector(*source, table, "rope_factors_long.weight"));
    SLUICE_TRY_STATUS(add_rope_scaling(*config.rope, factors, metadata, form.settings));
  }
  form.settings.push_back({"tie_word_embeddings", !table.has("output.weight")});
  form.settings.push_back({"torch_dtype", std::string(name_of_most(form.tensors))});
  return form;
}

}  // namespace sluice
