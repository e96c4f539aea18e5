// A decoder of a Hugging Face directory as a GGUF: the settings as the model read them, and the tensors of its table in
// their other places.

#include <algorithm>
#include <cmath>
#include <map>

#include "model/layers/decoder_model.h"
#include "model/layers/rotated_rows.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

Error cannot_say(const Metadata& metadata, std::string_view what) {
  return unsupported(fmt::format("{}: {}, which a GGUF cannot say", metadata.origin(), what));
}

// Linear and yarn have keys, llama3 a tensor.
Status add_rope(const RopeSettings& rope, const Metadata& metadata, const std::string& arch, std::vector<GgufKey>& keys) {
  if (rope.type == "default" || rope.type == "llama3") return {};
  if (rope.type == "longrope" || rope.type == "su") {  // whose factors are tensors
    keys.push_back(GgufKey::f32(arch + ".rope.scaling.attn_factor", rope.magnitude));
    keys.push_back(GgufKey::u32(arch + ".rope.scaling.original_context_length", static_cast<int64_t>(rope.original_positions)));
    return {};
  }
  if (rope.type != "linear" && rope.type != "yarn")
    return cannot_say(metadata, fmt::format("rope_scaling.rope_type is \"{}\"", rope.type));
  GgufRopeScaling scaling;
  scaling.type = rope.type;
  scaling.factor = rope.factor;
  if (rope.type == "yarn") {
    if (rope.truncate != rope.truncate_unsaid)
      return cannot_say(metadata, fmt::format("rope_scaling.truncate is {}", rope.truncate));
    if (rope.original_positions != std::floor(rope.original_positions) || rope.original_positions > UINT32_MAX)
      return cannot_say(metadata,
                        fmt::format("rope_scaling.original_max_position_embeddings is {}", rope.original_positions));
    scaling.original_context = static_cast<int64_t>(rope.original_positions);
    if (rope.scores_scaled) {
      if (rope.mscale_all_dim != 0) keys.push_back(GgufKey::f32(arch + ".rope.scaling.yarn_log_multiplier", 0.1 * rope.mscale_all_dim));
    } else if (rope.magnitude != 1) {
      scaling.attention_factor = rope.magnitude;
    }
    scaling.beta_fast = rope.beta_fast;
    scaling.beta_slow = rope.beta_slow;
  }
  add_rope_scaling(keys, arch, scaling);
  return {};
}

GgufKey key_of(std::string name, const MetadataValue& value) {
  if (const auto* b = std::get_if<bool>(&value)) return GgufKey::boolean(std::move(name), *b);
  if (const auto* i = std::get_if<int64_t>(&value)) return GgufKey::u32(std::move(name), *i);
  if (const auto* d = std::get_if<double>(&value)) return GgufKey::f32(std::move(name), *d);
  if (const auto* s = std::get_if<std::string>(&value)) return GgufKey::text(std::move(name), *s);
  if (std::holds_alternative<std::vector<int64_t>>(value)) return GgufKey::array(std::move(name), GgufType::i32, value);
  if (std::holds_alternative<std::vector<double>>(value)) return GgufKey::array(std::move(name), GgufType::f32, value);
  return GgufKey::array(std::move(name), GgufType::string, value);
}

Result<std::vector<GgufKey>> own_keys(const Decoder& decoder, const ConfigReader& reader) {
  const Metadata& metadata = reader.metadata();
  const DecoderConfig& config = decoder.config;
  const std::string arch(config.gguf.arch);
  if (!reader.unsaid().empty()) return cannot_say(metadata, reader.unsaid());
  std::vector<GgufKey> keys;
  for (const auto& [key, value] : reader.notes()) {
    if (key.gguf.empty() || (key.gguf.starts_with("rope.scal") && key.gguf != "rope.scaling.finetuned")) continue;
    GgufKey own = key_of(fmt::format("{}.{}", arch, key.gguf), value);
    const auto known = std::ranges::find(keys, own.name, &GgufKey::name);
    if (known != keys.end()) *known = std::move(own);  // under two names of the other kind: what was read last
    else keys.push_back(std::move(own));
  }
  if (config.gguf.one_window)
    for (size_t layer = 0; layer < config.windows.size(); ++layer)
      if (config.windows[layer] != config.windows.front())
        return cannot_say(metadata, fmt::format("attention sees {} positions in layer {} and {} in layer 0 (0: all)",
                                                config.windows[layer], layer, config.windows.front()));
  if (config.rope != nullptr) SLUICE_TRY_STATUS(add_rope(config.rope->settings, metadata, arch, keys));
  return keys;
}

/// A GGUF's tensor, which the rows of one weight or of several fill.
struct Filled {
  std::shared_ptr<TensorSource> source;
  std::vector<TableRow> weights;
  struct From { int32_t weight; int64_t row; };
  std::vector<From> rows;  // of the tensor
  int64_t cols = 1;

  void operator()(int64_t first, int64_t count, float* out) const {
    Buffer memory;
    for (int64_t r = 0; r < count; ++r) {
      const From& from = rows[static_cast<size_t>(first + r)];
      const TableRow& weight = weights[static_cast<size_t>(from.weight)];
      float* const to = out + r * cols;
      const Status decoded = decode_row(*source, weight.piece, from.row, cols, memory, to);
      CHECK(decoded.ok(), "{}", decoded.error().message);
      if (weight.piece.log_of_minus && !weight.in_gguf.log_of_minus)
        for (int64_t c = 0; c < cols; ++c) to[c] = -std::exp(to[c]);
      const float plus = weight.piece.plus - weight.in_gguf.plus;
      for (int64_t c = 0; plus != 0 && c < cols; ++c) to[c] += plus;
    }
  }
};

/// A weight whose columns are rows of a tensor in both kinds of file, and the same ones.
void add_as_it_stands(const TableRow& row, Filled& filled) {
  const WeightPiece &from = row.piece, &to = row.in_gguf;
  CHECK(from.transposed && from.shape == to.shape && from.rows.run == 0 && to.rows.run == 0 && from.rows.first == to.rows.first &&
            row.shape[0] == to.shape[1] && from.first_column == to.first_column,
        "{} stands otherwise in {} than in {}", row.key, to.name, from.name);
  for (int64_t r = to.first_column; r < to.first_column + row.shape[1]; ++r)
    filled.rows[static_cast<size_t>(r)] = {static_cast<int32_t>(filled.weights.size()), r};
  TableRow rows = row;
  rows.piece = {.name = from.name, .shape = from.shape};
  filled.weights.push_back(std::move(rows));
}

}  // namespace

Result<GgufPlan> convert_decoder(DecoderFamily* family, std::shared_ptr<TensorSource> source, const GgufIdentity& identity) {
  const ConfigReader reader(source->metadata());
  SLUICE_TRY(Decoder decoder, family(reader, *source));
  SLUICE_TRY(const TensorTable table, decoder.declare(*source));
  return gguf_of(decoder, table, reader, std::move(source), identity);
}

Result<GgufPlan> gguf_of(const Decoder& decoder, const TensorTable& table, const ConfigReader& reader, std::shared_ptr<TensorSource> source,
                         const GgufIdentity& identity, std::vector<GgufKey> more) {
  const Metadata& metadata = source->metadata();
  const DecoderConfig& config = decoder.config;
  if (config.gguf.arch.empty())
    return unsupported(fmt::format("{}: there is no GGUF form of the {} family", metadata.origin(), config.info.arch));
  if (decoder.normalized_head) return cannot_say(metadata, "the head's rows count as unit vectors");
  const ModelInfo& info = config.info;
  SLUICE_TRY(std::vector<GgufKey> own, own_keys(decoder, reader));
  own.insert(own.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  table.warn_of_unread(info.arch);  // as whoever runs the directory is told

  GgufPlan plan;
  const RopeSettings rope = config.rope != nullptr ? config.rope->settings : RopeSettings{};
  const auto add_factors = [&](const char* name, const std::vector<float>& values) {
    GgufTensor factors;
    factors.name = name;
    factors.shape = {static_cast<int64_t>(values.size())};
    factors.fill = [values](int64_t, int64_t, float* out) { std::copy(values.begin(), values.end(), out); };
    plan.tensors.push_back(std::move(factors));
  };
  if (!rope.short_factors.empty()) {
    add_factors("rope_factors_long.weight", rope.long_factors);
    add_factors("rope_factors_short.weight", rope.short_factors);
  }
  if (rope.type == "llama3")
    add_factors("rope_freqs.weight", llama3_rope_factors(config.rope->rotary_dims(), rope.theta, rope.factor, rope.low_freq, rope.high_freq,
                                                         rope.original_positions));
  // What belongs to no layer stands first, then layer by layer, as a forward pass reads them.
  std::vector<TableRow> rows(table.rows().begin(), table.rows().end());
  std::ranges::stable_sort(rows, {}, &TableRow::layer);
  std::vector<std::string> order;
  std::map<std::string, Filled> tensors;
  for (const TableRow& row : rows) {
    const TensorInfo& stored = *source->find(row.piece.name);
    if (weight_format(stored.dtype) == nullptr || row.in_gguf.name.empty())
      return unsupported(fmt::format("{}: tensor {} of type {} has no place in a {} GGUF", source->files()[stored.file_index],
                                     row.piece.name, dtype_name(stored.dtype), config.gguf.arch));
    auto [at, is_new] = tensors.try_emplace(row.in_gguf.name);
    Filled& filled = at->second;
    const Shape& shape = row.in_gguf.shape;
    const bool matrix = row.shape.rank == 2;
    if (is_new) {
      order.push_back(row.in_gguf.name);
      filled.source = source;
      filled.cols = matrix ? shape[shape.rank - 1] : 1;
      filled.rows.resize(static_cast<size_t>(shape.elems() / filled.cols), {-1, 0});
    }
    if (row.in_gguf.transposed) {
      add_as_it_stands(row, filled);
      continue;
    }
    const bool permuted = config.gguf.rope == RopeStyle::interleaved && config.rope != nullptr &&
                          config.rope->style == RopeStyle::half && is_rotated(row.key);
    const int64_t in_stack = shape.rank == (matrix ? 3 : 2) ? row.in_gguf.of_stack * shape[1] : 0;
    for (int64_t r = 0; r < row.shape[0]; ++r)
      filled.rows[static_cast<size_t>(in_stack + row.in_gguf.rows(r))] = {
          static_cast<int32_t>(filled.weights.size()), permuted ? half_order_row(r, info.head_dim, config.rope->rotary_dims()) : r};
    filled.weights.push_back(row);
  }
  const bool tied = !table.has("output.weight");
  for (const std::string& name : order) {
    Filled& filled = tensors.at(name);
    const Shape shape = filled.weights.front().in_gguf.shape;
    for (const Filled::From& from : filled.rows) CHECK(from.weight >= 0, "a row of {} comes from nowhere", name);
    GgufTensor tensor;
    tensor.name = name;
    tensor.shape = shape;
    const bool vector = filled.cols == 1 && filled.weights.front().shape.rank == 1;
    // Vectors keep their values, however many dimensions the tensor has.
    tensor.dtype = vector ? DType::f32 : recipe_dtype(identity.recipe, {info.layers, tied}, name, shape);
    // Ternary values stay so: no other type is smaller, and F16 and F32 gain nothing.
    if (source->find(filled.weights.front().piece.name)->dtype == DType::tq2_0) tensor.dtype = DType::tq2_0;
    const int64_t per_row = vector ? shape[shape.rank - 1] : 1;
    tensor.fill = [filled = std::move(filled), per_row](int64_t first, int64_t count, float* out) {
      filled(first * per_row, count * per_row, out);
    };
    plan.tensors.push_back(std::move(tensor));
  }
  auto keys = gguf_model_keys(std::string(config.gguf.arch), identity.name, std::move(own), info.vocab_size, identity.vocabulary,
                              identity.recipe);
  if (!keys.ok()) return keys.error().in(metadata.origin());
  plan.keys = std::move(keys).value();
  return plan;
}

}  // namespace sluice
