// A decoder of a Hugging Face directory as a GGUF: the settings as the model understood them, and the tensors of its
// table under their other names.

#include <algorithm>
#include <cmath>

#include "model/layers/decoder_model.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

using L = LayerWeights;

Error cannot_say(const Metadata& metadata, std::string_view what) {
  return unsupported(fmt::format("{}: {}, which a GGUF cannot say", metadata.origin(), what));
}

// Linear and yarn have keys, llama3 a tensor (rope_factors()).
Status add_rope(const RopeSettings& rope, const Metadata& metadata, GgufHyperparameters& p) {
  p.rope_theta = rope.theta;
  if (rope.type == "default" || rope.type == "llama3") return {};
  if (rope.type != "linear" && rope.type != "yarn")
    return cannot_say(metadata, fmt::format("rope_scaling.rope_type is \"{}\"", rope.type));
  GgufRopeScaling scaling;
  scaling.type = rope.type;
  scaling.factor = rope.factor;
  if (rope.type == "yarn") {
    if (!rope.truncate) return cannot_say(metadata, "rope_scaling.truncate is false");
    if (rope.original_positions != std::floor(rope.original_positions) || rope.original_positions > UINT32_MAX)
      return cannot_say(metadata,
                        fmt::format("rope_scaling.original_max_position_embeddings is {}", rope.original_positions));
    scaling.original_context = static_cast<int64_t>(rope.original_positions);
    if (rope.magnitude != 1) scaling.attention_factor = rope.magnitude;
    scaling.beta_fast = rope.beta_fast;
    scaling.beta_slow = rope.beta_slow;
  }
  p.rope_scaling = scaling;
  return {};
}

Result<GgufHyperparameters> hyperparameters(const DecoderConfig& config, const Metadata& metadata) {
  const ModelInfo& info = config.info;
  GgufHyperparameters p;
  p.arch = config.gguf.arch;
  p.layers = info.layers;
  p.context = config.rope.settings.trained_positions;
  p.hidden = info.hidden;
  p.ffn = info.ffn;
  p.heads = info.heads;
  p.kv_heads = info.kv_heads;
  p.head_dim = info.head_dim;
  p.vocab = info.vocab_size;
  p.norm_eps = config.norm_eps;
  p.sliding_window = config.windows.front();
  for (size_t layer = 0; layer < config.windows.size(); ++layer)
    if (config.windows[layer] != config.windows.front())
      return cannot_say(metadata, fmt::format("attention sees {} positions in layer {} and {} in layer 0 (0: all)",
                                              config.windows[layer], layer, config.windows.front()));
  SLUICE_TRY_STATUS(add_rope(config.rope.settings, metadata, p));
  return p;
}

// Row r of a head in interleaved order (pairs 2i, 2i + 1) stands at i or i + d/2 in half order.
int64_t half_order_row(int64_t row, int64_t head_dim) {
  const int64_t r = row % head_dim;
  return row - r + r / 2 + r % 2 * (head_dim / 2);
}

// Whether its rows, or a vector's elements, are rotated in pairs.
bool is_rotated(const TensorSlot& slot) {
  for (PackedMatrix L::*m : {&L::q, &L::k})
    if (slot == TensorSlot(m)) return true;
  for (const float* L::*v : {&L::q_bias, &L::k_bias, &L::q_norm, &L::k_norm})
    if (slot == TensorSlot(v)) return true;
  return false;
}

// The tensor's rows as float32, from half to interleaved order when `permuted`.
std::function<void(int64_t, int64_t, float*)> rows_of(std::shared_ptr<TensorSource> source, const TensorInfo& info,
                                                      const WeightFormat* format, bool permuted, int64_t head_dim) {
  const int64_t width = info.shape.rank == 1 ? 1 : info.shape[1];
  const int64_t per_row = info.shape.rank == 1 ? info.shape[0] : 1;
  const auto* data = static_cast<const uint8_t*>(source->view(info).data);
  const size_t width_bytes = row_bytes(info.dtype, width);
  return [=, source = std::move(source)](int64_t first, int64_t rows, float* out) {
    if (!permuted) {
      format->decode(data + static_cast<size_t>(first * per_row) * width_bytes, out, rows * per_row * width);
      return;
    }
    for (int64_t r = 0; r < rows * per_row; ++r)
      format->decode(data + static_cast<size_t>(half_order_row(first * per_row + r, head_dim)) * width_bytes,
                     out + r * width, width);
  };
}

}  // namespace

Result<GgufPlan> convert_decoder(const DecoderFamily& family, std::shared_ptr<TensorSource> source,
                                 const GgufIdentity& identity) {
  const Metadata& metadata = source->metadata();
  SLUICE_TRY(ParsedDecoder parsed, parse_decoder(family, *source));
  const DecoderConfig& config = parsed.config;
  SLUICE_TRY(GgufHyperparameters p, hyperparameters(config, metadata));
  p.name = identity.name;
  warn_of_unread(parsed.tensors, config, *source);  // as whoever runs the directory is told

  // Layer by layer, as a forward pass reads them; what belongs to no layer stands first.
  const auto place = [](const NamedTensor& t) { return t.gguf_name.starts_with("blk.") ? t.layer : -1; };
  std::ranges::stable_sort(parsed.tensors, {}, place);
  const TensorSlot head = &DecoderWeights::head;
  const bool tied = std::ranges::none_of(parsed.tensors, [&](const NamedTensor& t) { return t.slot == head; });
  GgufPlan plan;
  if (const RopeSettings& rope = config.rope.settings; rope.type == "llama3") {
    GgufTensor factors;
    factors.name = "rope_freqs.weight";
    factors.shape = {p.head_dim / 2};
    factors.fill = [values = llama3_rope_factors(p.head_dim, rope.theta, rope.factor, rope.low_freq, rope.high_freq,
                                                 rope.original_positions)](int64_t, int64_t, float* out) {
      std::copy(values.begin(), values.end(), out);
    };
    plan.tensors.push_back(std::move(factors));
  }
  for (const NamedTensor& t : parsed.tensors) {
    const TensorInfo& info = *source->find(t.name);
    const WeightFormat* format = weight_format(info.dtype);
    if (format == nullptr || t.gguf_name.empty())
      return unsupported(fmt::format("{}: tensor {} of type {} has no place in a {} GGUF",
                                     source->files()[info.file_index], t.name, dtype_name(info.dtype), p.arch));
    GgufTensor tensor;
    tensor.name = t.gguf_name;
    tensor.shape = t.shape;
    tensor.dtype = recipe_dtype(identity.recipe, {p.layers, tied}, tensor.name, t.shape);
    const bool permuted = config.gguf.rope == RopeStyle::interleaved && is_rotated(t.slot);
    tensor.fill = rows_of(source, info, format, permuted, p.head_dim);
    plan.tensors.push_back(std::move(tensor));
  }
  auto keys = gguf_model_keys(p, identity.vocabulary, identity.recipe);
  if (!keys.ok()) return keys.error().in(metadata.origin());
  plan.keys = std::move(keys).value();
  return plan;
}

}  // namespace sluice
