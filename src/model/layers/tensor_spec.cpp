#include "model/layers/tensor_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "base/log.h"

namespace sluice {
namespace {

using L = LayerWeights;
using D = DecoderWeights;

template <class Slot>
constexpr bool kPerLayer = std::is_same_v<Slot, PackedMatrix L::*> || std::is_same_v<Slot, const float * L::*>;
template <class Slot>
constexpr bool kIsVector = std::is_same_v<Slot, const float * L::*> || std::is_same_v<Slot, const float * D::*>;

bool per_layer(const TensorSlot& slot) {
  return std::visit([](auto s) { return kPerLayer<decltype(s)>; }, slot);
}
bool is_vector(const TensorSlot& slot) {
  return std::visit([](auto s) { return kIsVector<decltype(s)>; }, slot);
}

std::string name_of(std::string_view pattern, int layer) {
  const size_t at = pattern.find("{}");
  if (at == std::string_view::npos) return std::string(pattern);
  return fmt::format("{}{}{}", pattern.substr(0, at), layer, pattern.substr(at + 2));
}

// The layer that a tensor's name says it is of; nothing for the model's own.
std::optional<int64_t> layer_of(std::string_view name, MetadataKind kind) {
  const std::string_view prefix = kind == MetadataKind::gguf ? "blk." : "model.layers.";
  if (!name.starts_with(prefix)) return {};
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer);
  if (error == std::errc::result_out_of_range) return std::numeric_limits<int64_t>::max();
  return error == std::errc() && end != name.data() + name.size() && *end == '.' ? std::optional(layer) : std::nullopt;
}

bool any_layer_has(const TensorSource& source, std::string_view pattern, int layers) {
  for (int layer = 0; layer < layers; ++layer)
    if (source.find(name_of(pattern, layer)) != nullptr) return true;
  return false;
}

// A buffer that old checkpoints saved, and the head of a model whose head is its embedding.
bool is_harmless(std::string_view name, const DecoderConfig& config) {
  return name.ends_with("rotary_emb.inv_freq") || (name == "lm_head.weight" && config.head == Presence::absent);
}

// What the file holds beside these, and somebody might miss.
std::vector<const TensorInfo*> unread_tensors(std::span<const NamedTensor> tensors, const DecoderConfig& config,
                                              const TensorSource& source) {
  std::set<std::string_view> read;
  for (const NamedTensor& t : tensors) read.insert(t.name);
  std::vector<const TensorInfo*> unread;
  for (const TensorInfo& info : source.tensors())
    if (!read.contains(info.name) && !is_harmless(info.name, config)) unread.push_back(&info);
  return unread;
}

// What a matrix is in a decoder, under the name that a breakdown of its time gives it.
std::string_view role_of(const TensorSlot& slot) {
  static const std::pair<TensorSlot, std::string_view> kRoles[] = {
      {&L::q, "qkv"},         {&L::k, "qkv"},       {&L::v, "qkv"},     {&L::o, "o"},
      {&L::gate, "gate, up"}, {&L::up, "gate, up"}, {&L::down, "down"}, {&D::head, "head"}};
  for (const auto& [matrix, role] : kRoles)
    if (matrix == slot) return role;
  return "matmul";
}

Status check_factors(const float* factors, const DecoderConfig& config, const WeightStore& store) {
  for (int i = 0; factors != nullptr && i < config.info.head_dim / 2; ++i)
    if (!(factors[i] > 0 && std::isfinite(factors[i])))
      return corrupt_data(fmt::format("{}: tensor rope_freqs.weight has {} at {}; factors must be finite and above 0",
                                      store.source().metadata().origin(), factors[i], i));
  return {};
}

}  // namespace

void warn_of_unread(std::span<const NamedTensor> tensors, const DecoderConfig& config, const TensorSource& source) {
  const std::vector<const TensorInfo*> unread = unread_tensors(tensors, config, source);
  if (unread.empty()) return;
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(unread.size(), 5); ++i) list += (i == 0 ? "" : ", ") + unread[i]->name;
  log_warn("{}: {} tensor{} not used by the {} family: {}{}", source.metadata().origin(), unread.size(),
           unread.size() == 1 ? " is" : "s are", config.info.arch, list, unread.size() > 5 ? ", ..." : "");
}

int64_t size_of(Dim dim, const ModelInfo& info) {
  switch (dim) {
    case Dim::vocab: return info.vocab_size;
    case Dim::hidden: return info.hidden;
    case Dim::ffn: return info.ffn;
    case Dim::q: return int64_t{info.heads} * info.head_dim;
    case Dim::kv: return int64_t{info.kv_heads} * info.head_dim;
    case Dim::head: return info.head_dim;
    case Dim::rope_pairs: return info.head_dim / 2;
  }
  return 0;
}

std::vector<TensorSpec> decoder_tensors(const DecoderConfig& c) {
  const Presence qkv = c.qkv_bias, mlp = c.mlp_bias;
  return {
      {&D::embedding, "model.embed_tokens.weight", "token_embd.weight", Dim::vocab, Dim::hidden},
      {&D::rope_factors, "", "rope_freqs.weight", Dim::rope_pairs, {}, Presence::if_present},
      {&L::attention_norm, "model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", Dim::hidden},
      {&L::q, "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", Dim::q, Dim::hidden},
      {&L::k, "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", Dim::kv, Dim::hidden},
      {&L::v, "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", Dim::kv, Dim::hidden},
      {&L::o, "model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", Dim::hidden, Dim::q},
      {&L::q_bias, "model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", Dim::q, {}, qkv},
      {&L::k_bias, "model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", Dim::kv, {}, qkv},
      {&L::v_bias, "model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", Dim::kv, {}, qkv},
      {&L::o_bias, "model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias", Dim::hidden, {}, c.output_bias},
      {&L::mlp_norm, "model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", Dim::hidden},
      {&L::gate, "model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", Dim::ffn, Dim::hidden},
      {&L::up, "model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", Dim::ffn, Dim::hidden},
      {&L::down, "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", Dim::hidden, Dim::ffn},
      {&L::gate_bias, "model.layers.{}.mlp.gate_proj.bias", "blk.{}.ffn_gate.bias", Dim::ffn, {}, mlp},
      {&L::up_bias, "model.layers.{}.mlp.up_proj.bias", "blk.{}.ffn_up.bias", Dim::ffn, {}, mlp},
      {&L::down_bias, "model.layers.{}.mlp.down_proj.bias", "blk.{}.ffn_down.bias", Dim::hidden, {}, mlp},
      {&D::final_norm, "model.norm.weight", "output_norm.weight", Dim::hidden},
      {&D::head, "lm_head.weight", "output.weight", Dim::vocab, Dim::hidden, c.head},
  };
}

std::vector<NamedTensor> list_tensors(std::span<const TensorSpec> table, const DecoderConfig& config,
                                      const TensorSource& source, MetadataKind kind) {
  std::vector<NamedTensor> out;
  for (const TensorSpec& spec : table) {
    const std::string_view pattern = kind == MetadataKind::gguf ? spec.gguf : spec.hf;
    if (spec.presence == Presence::absent || pattern.empty()) continue;
    const int count = per_layer(spec.slot) ? config.info.layers : 1;
    if (spec.presence == Presence::if_present && !any_layer_has(source, pattern, count)) continue;
    const int64_t rows = size_of(spec.rows, config.info);
    const Shape shape = is_vector(spec.slot) ? Shape{rows} : Shape{rows, size_of(spec.cols, config.info)};
    for (int layer = 0; layer < count; ++layer)
      out.push_back({spec.slot, layer, name_of(pattern, layer), name_of(spec.gguf, layer), shape});
  }
  return out;
}

Status check_tensors(std::span<const NamedTensor> tensors, const DecoderConfig& config, const TensorSource& source) {
  const Metadata& metadata = source.metadata();
  const NamedTensor* missing = nullptr;
  int others = -1;
  for (const NamedTensor& t : tensors) {
    const TensorInfo* info = source.find(t.name);
    if (info != nullptr && info->shape != t.shape)
      return corrupt_data(fmt::format("{}: tensor {} has shape {}, but the model's configuration asks for {}",
                                      source.files()[info->file_index], t.name, info->shape.text(), t.shape.text()));
    if (info != nullptr) continue;
    if (missing == nullptr) missing = &t;
    ++others;
  }
  if (missing != nullptr)
    return not_found(fmt::format("{}: tensor {} {} is missing{}", metadata.origin(), missing->name,
                                 missing->shape.text(), others > 0 ? fmt::format(", and {} more", others) : ""));
  // A file with more layers than its configuration counts would run as a model cut short.
  for (const TensorInfo& info : source.tensors()) {
    const auto layer = layer_of(info.name, metadata.kind());
    if (layer && *layer >= config.info.layers)
      return corrupt_data(fmt::format("{}: tensor {} is of layer {}, but {} is {}, so that the last is {}",
                                      source.files()[info.file_index], info.name, *layer,
                                      metadata.kind() == MetadataKind::gguf ? metadata.architecture() + ".block_count"
                                                                            : "num_hidden_layers",
                                      config.info.layers, config.info.layers - 1));
  }
  // One that stands in a layer and that nobody reads (a bias, a norm, a sink) is a part of what the layer computes:
  // without it the model would be another. What stands outside the layers (a second head, an image encoder) changes
  // nothing that is computed here, and is only reported.
  for (const TensorInfo* info : unread_tensors(tensors, config, source))
    if (layer_of(info->name, metadata.kind()))
      return unsupported(
          fmt::format("{}: tensor {} stands in a layer, but the {} family has no such tensor: without it "
                      "the layer would compute something else",
                      source.files()[info->file_index], info->name, config.info.arch));
  return {};
}

Result<DecoderWeights> load_tensors(std::span<const NamedTensor> tensors, const DecoderConfig& config,
                                    WeightStore& store) {
  DecoderWeights weights;
  weights.layers.resize(static_cast<size_t>(config.info.layers));
  const bool tied = std::ranges::none_of(tensors, [](const NamedTensor& t) { return t.slot == TensorSlot(&D::head); });
  for (const NamedTensor& t : tensors) {
    const std::span<const std::string> name(&t.name, 1);
    LayerWeights& layer = weights.layers[static_cast<size_t>(t.layer)];
    if (const auto* slot = std::get_if<PackedMatrix L::*>(&t.slot)) {
      SLUICE_TRY(layer.**slot, store.matrix(name, t.shape[0], t.shape[1]));
      (layer.**slot).role = role_of(t.slot);
    } else if (const auto* slot = std::get_if<const float * L::*>(&t.slot)) {
      SLUICE_TRY(const std::span<const float> values, store.vector(name, t.shape[0]));
      layer.** slot = values.data();
    } else if (const auto* slot = std::get_if<PackedMatrix D::*>(&t.slot)) {
      SLUICE_TRY(weights.**slot, store.matrix(name, t.shape[0], t.shape[1]));
      (weights.**slot).role = role_of(t.slot);
    } else if (const auto* slot = std::get_if<const float * D::*>(&t.slot)) {
      SLUICE_TRY(const std::span<const float> values, store.vector(name, t.shape[0]));
      weights.** slot = values.data();
    } else if (const auto* slot = std::get_if<TensorView D::*>(&t.slot)) {
      if (tied) {
        SLUICE_TRY(weights.head, store.matrix(name, t.shape[0], t.shape[1]));
        weights.head.role = role_of(&D::head);
      } else {
        SLUICE_TRY(weights.**slot, store.table(name, t.shape[0], t.shape[1]));
      }
    }
  }
  SLUICE_TRY_STATUS(check_factors(weights.rope_factors, config, store));
  warn_of_unread(tensors, config, store.source());
  return weights;
}

}  // namespace sluice
