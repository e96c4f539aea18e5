#include "model/layers/decoder_model.h"

#include <algorithm>
#include <cmath>

#include "model/layers/pooling_head.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

// The parts of `segments` in rows [first, first + rows), counted from `first`.
void cut_segments(std::span<const AttendSegment> segments, int64_t first, int64_t rows,
                  std::vector<AttendSegment>& out) {
  out.clear();
  for (const AttendSegment& s : segments) {
    const int64_t lo = std::max<int64_t>(s.first_row, first);
    const int64_t hi = std::min<int64_t>(int64_t{s.first_row} + s.rows, first + rows);
    if (lo >= hi) continue;
    out.push_back({static_cast<int>(lo - first), static_cast<int>(hi - lo),
                   static_cast<int>(s.first_pos + lo - s.first_row), s.blocks});
  }
}

Status divide_by(const float* factors, std::string_view name, const Metadata& metadata, std::vector<float>& inv_freq) {
  for (size_t i = 0; factors != nullptr && i < inv_freq.size(); ++i) {
    if (!(factors[i] > 0 && std::isfinite(factors[i])))
      return corrupt_data(fmt::format("{}: tensor {}.weight has {} at {}; factors must be finite and above 0", metadata.origin(), name,
                                      factors[i], i));
    inv_freq[i] /= factors[i];
  }
  return {};
}

Status apply_rope_factors(Decoder& d, const Metadata& metadata) {
  if (d.config.rope == nullptr) return {};
  RopeConfig& rope = *d.config.rope;
  SLUICE_TRY_STATUS(divide_by(d.rope_factors, "rope_freqs", metadata, rope.inv_freq));
  if (d.short_factors == nullptr || d.long_factors == nullptr) return {};
  rope.short_freq = rope.long_freq = rope.inv_freq;
  SLUICE_TRY_STATUS(divide_by(d.short_factors, "rope_factors_short", metadata, rope.short_freq));
  SLUICE_TRY_STATUS(divide_by(d.long_factors, "rope_factors_long", metadata, rope.long_freq));
  rope.set_context(d.config.info.max_positions);
  return {};
}

// What each row of the head is divided by.
Status normalize_head(Decoder& d, const TensorTable& table, WeightStore& store) {
  if (!d.normalized_head) return {};
  const std::string key = table.has("output.weight") ? "output.weight" : "token_embd.weight";
  const TableRow& row = *std::ranges::find(table.rows(), key, &TableRow::key);
  SLUICE_TRY(const std::span<float> scales, store.values(row.shape[0]));
  std::vector<float> values(static_cast<size_t>(row.shape[1]));
  Buffer memory;
  for (int64_t v = 0; v < row.shape[0]; ++v) {
    SLUICE_TRY_STATUS(decode_row(store.source(), row.piece, v, row.shape[1], memory, values.data()));
    double sum = 0;
    for (const float x : values) sum += static_cast<double>(x) * x;
    scales[static_cast<size_t>(v)] = static_cast<float>(1 / std::max(std::sqrt(sum), 1e-12));
  }
  d.head_scales = scales;
  return {};
}

}  // namespace

Result<TensorTable> Decoder::declare(const TensorSource& source, PoolingHead* pooling) {
  const ModelInfo& info = config.info;
  TensorTable table(names, source);
  const int64_t width = embedding_dim > 0 ? embedding_dim : info.hidden;
  table.table("token_embd.weight", &embedding, info.vocab_size, width);
  if (embedding_dim > 0) {
    table.matrix("embd_in.weight", &project_in, info.hidden, width, "embedding");
    table.matrix("embd_out.weight", &project_out, width, info.hidden, "head");
  }
  if (learned_positions > 0) table.table("position_embd.weight", &positions, learned_positions, info.hidden);
  if (token_types > 0) table.table("token_types.weight", &types, token_types, info.hidden);
  embedding_norm.declare(table);
  if (config.rope != nullptr)
    table.vector("rope_freqs.weight", &rope_factors, config.rope->rotary_dims() / 2, Presence::if_present);
  if (config.rope != nullptr) {
    const Presence listed = config.rope->factors_in_tensors ? Presence::required : Presence::if_present;
    table.vector("rope_factors_short.weight", &short_factors, config.rope->rotary_dims() / 2, listed);
    table.vector("rope_factors_long.weight", &long_factors, config.rope->rotary_dims() / 2, listed);
  }
  for (size_t l = 0; l < layers.size(); ++l) {
    table.at_layer(layers[l].block >= 0 ? layers[l].block : static_cast<int>(l));
    layers[l].declare(table);
    if (const auto& ffn = layers[l].ffn; ffn != nullptr && ffn->experts_per_row() > 0) {
      config.info.experts = static_cast<int>(ffn->expert_rows().size());
      config.info.experts_per_token = ffn->experts_per_row();
    }
  }
  table.at_layer(-1);
  final_norm.declare(table);
  table.matrix("output.weight", &head, info.vocab_size, width, "head", config.head);
  table.vector("output.bias", &head_bias_values, info.vocab_size, head_bias);
  if (config.head == Presence::absent) table.ignore("output.weight");
  if (pooling != nullptr) SLUICE_TRY_STATUS(pooling->declare(table, source));
  // A configuration may claim thousands of layers; the file has to hold them before anything is made for them.
  SLUICE_TRY_STATUS(table.check(info.layers, info.arch, ignored_layers));
  config.info.parameters = table.parameters();
  config.info.weight_bytes = table.loaded_bytes();
  if (const TableRow* own = table.find("output.weight")) {
    config.info.head = own->piece.name;
  } else if (pooling == nullptr) {  // the embedding, which is multiplied as well as looked up
    const TableRow& tied = *table.find("token_embd.weight");
    config.info.head = tied.piece.name;
    config.info.weight_bytes += table.packed_bytes(tied);
  }
  if (config.rope != nullptr && (!config.rope->short_freq.empty() || table.has("rope_factors_short.weight")))
    config.info.original_positions = static_cast<int64_t>(config.rope->settings.original_positions);
  return table;
}

Status Decoder::load(const TensorTable& table, WeightStore& store) {
  const Metadata& metadata = store.source().metadata();
  SLUICE_TRY_STATUS(table.load(store));
  SLUICE_TRY_STATUS(apply_rope_factors(*this, metadata));
  SLUICE_TRY_STATUS(normalize_head(*this, table, store));
  table.warn_of_unread(config.info.arch);
  for (DecoderLayer& layer : layers) SLUICE_TRY_STATUS(layer.prepare(store));
  return {};
}

KvSpec decoder_kv(const Decoder& decoder) {
  KvSpec spec;
  int layers = 0;
  const auto add = [&](KvGroup group) {
    group.first_layer = layers++, group.layers = 1;
    if (!spec.groups.empty()) {
      KvGroup& last = spec.groups.back();
      KvGroup same = last;
      same.first_layer = group.first_layer, same.layers = group.layers;
      if (same == group) {
        ++last.layers;
        return;
      }
    }
    spec.groups.push_back(group);
  };
  for (const DecoderLayer& layer : decoder.layers) {
    add(layer.mixer ? layer.mixer->kv() : KvGroup{KvGroup::Kind::full, 0, 1, 0, 0, 0});
    if (layer.second_mixer) add(layer.second_mixer->kv());
  }
  return spec;
}

namespace {

WorkspaceWidths widths_of(const Decoder& decoder) {
  WorkspaceWidths widths;
  for (const DecoderLayer& layer : decoder.layers)
    for (const auto* mixer : {&layer.mixer, &layer.second_mixer})
      if (*mixer) widths = widths.max((*mixer)->widths());
  return widths;
}

}  // namespace

Result<std::unique_ptr<DecoderModel>> DecoderModel::create(Decoder decoder, const Ops& ops) {
  SLUICE_TRY(Workspace workspace, Workspace::allocate(decoder.config.info.hidden, widths_of(decoder), kPieceRows));
  return std::unique_ptr<DecoderModel>(new DecoderModel(std::move(decoder), ops, std::move(workspace)));
}

DecoderModel::DecoderModel(Decoder decoder, const Ops& ops, Workspace workspace)
    : decoder_(std::move(decoder)), ops_(ops), workspace_(std::move(workspace)), kv_(decoder_kv(decoder_)) {
  piece_wanted_.reserve(kPieceRows);
  piece_segments_.reserve(kPieceRows);
  piece_page_segments_.reserve(kPieceRows);
}

void DecoderModel::forward(const ForwardBatch& batch, std::span<const KvLayerView> layers, float* logits) {
  const ModelInfo& info = decoder_.config.info;
  CHECK(batch.positions.size() == batch.tokens.size() && batch.slots.size() == batch.tokens.size(),
        "{} tokens, {} positions, {} slots", batch.tokens.size(), batch.positions.size(), batch.slots.size());
  const size_t kv_layers = static_cast<size_t>(kv_.groups.back().first_layer + kv_.groups.back().layers);
  CHECK(batch.pages.slots.size() == (std::ranges::any_of(layers, &KvLayerView::in_pages) ? batch.tokens.size() : 0), "{} slots in pages", batch.pages.slots.size());
  CHECK(layers.size() == kv_layers, "KV of {} layers for a model of {}", layers.size(), kv_layers);
  for (const TokenId t : batch.tokens) CHECK(t >= 0 && t < info.vocab_size, "token {} of {}", t, info.vocab_size);

  const size_t total = batch.tokens.size();
  size_t next_wanted = 0;
  for (size_t first = 0; first < total; first += kPieceRows) {
    const size_t rows = std::min<size_t>(kPieceRows, total - first);
    const auto cut = [&](const KvPlaces& all, std::vector<AttendSegment>& segments) -> KvPlaces {
      if (all.slots.empty()) return {};
      cut_segments(all.segments, static_cast<int64_t>(first), static_cast<int64_t>(rows), segments);
      return {all.slots.subspan(first, rows), segments};
    };
    piece_wanted_.clear();
    const size_t done = next_wanted;
    for (; next_wanted < batch.logit_rows.size() && static_cast<size_t>(batch.logit_rows[next_wanted]) < first + rows;
         ++next_wanted)
      piece_wanted_.push_back(batch.logit_rows[next_wanted] - static_cast<int32_t>(first));
    const LayerRows piece{batch.positions.subspan(first, rows), cut({batch.slots, batch.segments}, piece_segments_), cut(batch.pages, piece_page_segments_)};
    run_piece(batch.tokens.subspan(first, rows), piece, piece_wanted_, layers, batch.policy,
              logits + static_cast<int64_t>(done) * info.vocab_size);
  }
  CHECK(next_wanted == batch.logit_rows.size(), "logit row {} of {} rows", batch.logit_rows[next_wanted], total);
}

void DecoderModel::embed(std::span<const TokenId> tokens, std::span<const int32_t> positions, std::span<const TokenId> kinds) {
  const Decoder& d = decoder_;
  const auto rows = static_cast<int64_t>(tokens.size()), hidden = d.config.info.hidden;
  float *const x = workspace_.x, *const to = d.embedding_dim > 0 ? workspace_.y : x;
  if (d.embedding.data != nullptr)
    ops_.embed(d.embedding, tokens, to);
  else
    ops_.embed(d.head, tokens, to);
  if (d.embedding_dim > 0) {
    const MatmulOut out{&d.project_in, nullptr, x, hidden};
    ops_.matmul({to, rows, d.embedding_dim}, {&out, 1});
  }
  if (d.embedding_scale != 1) ops_.scale(x, d.embedding_scale, rows * hidden);
  if (d.learned_positions > 0) {
    piece_positions_.clear();
    for (const int32_t p : positions) {
      CHECK(p < d.learned_positions, "position {} of {}", p, d.learned_positions);
      piece_positions_.push_back(p);
    }
    ops_.embed(d.positions, piece_positions_, workspace_.y);
    ops_.add_scaled(x, workspace_.y, 1, rows * hidden);
  }
  if (d.token_types > 0) {
    ops_.embed(d.types, kinds, workspace_.y);
    ops_.add_scaled(x, workspace_.y, 1, rows * hidden);
  }
  if (d.embedding_norm.present()) ops_.norm(x, d.embedding_norm.norm(), rows, hidden, x);
}

void DecoderModel::head(int64_t rows, float* logits) {
  const Decoder& d = decoder_;
  const ModelInfo& info = d.config.info;
  const MatmulOut head{&d.head, d.head_bias_values, logits, info.vocab_size};
  if (d.embedding_dim > 0) {
    const MatmulOut out{&d.project_out, nullptr, workspace_.y, d.embedding_dim};
    ops_.matmul({workspace_.x, rows, info.hidden, d.final_norm.norm()}, {&out, 1});
    ops_.matmul({workspace_.y, rows, d.embedding_dim}, {&head, 1});
  } else {
    ops_.matmul({workspace_.x, rows, info.hidden, d.final_norm.norm()}, {&head, 1});
  }
  for (int64_t r = 0; !d.head_scales.empty() && r < rows; ++r)
    for (int64_t v = 0; v < info.vocab_size; ++v) logits[r * info.vocab_size + v] *= d.head_scales[static_cast<size_t>(v)];
  if (d.logit_scale != 1) ops_.scale(logits, d.logit_scale, rows * info.vocab_size);
  if (d.logit_softcap > 0) ops_.softcap(logits, d.logit_softcap, rows * info.vocab_size);
}

void DecoderModel::run_piece(std::span<const TokenId> tokens, const LayerRows& rows, const std::vector<int32_t>& wanted,
                             std::span<const KvLayerView> layers, LayerPolicy* policy, float* logits) {
  embed(tokens, rows.positions);
  if (policy != nullptr) policy->before_piece(rows.blocks.segments);
  for (size_t l = 0, kv = 0; l < decoder_.layers.size(); ++l) {
    const bool last = l + 1 == decoder_.layers.size();
    const int first = static_cast<int>(kv), end = first + (decoder_.layers[l].second_mixer ? 2 : 1);  // its KV
    for (int n = first; policy != nullptr && n < end; ++n) policy->before_layer(n);
    const LayerPass pass{ops_, workspace_, rows, layers[kv], policy, first, last ? &wanted : nullptr};
    const bool goes_on = decoder_.layers[l].run(pass, decoder_.config.info.hidden);
    for (int n = first; policy != nullptr && n < end; ++n) policy->after_attention(n);
    kv = static_cast<size_t>(end);
    if (goes_on) continue;
    CHECK(wanted.empty(), "logits are wanted of a pass that ends in layer {}", l);
    return;
  }
  if (!wanted.empty()) head(static_cast<int64_t>(wanted.size()), logits);
}

Status DecoderModel::reserve(int64_t rows) {
  if (rows <= workspace_.rows) return {};
  SLUICE_TRY(workspace_, Workspace::allocate(decoder_.config.info.hidden, widths_of(decoder_), rows));
  return {};
}

const float* DecoderModel::run_whole(std::span<const TokenId> tokens, std::span<const TokenId> kinds, const LayerRows& rows,
                                     const std::vector<int32_t>* wanted, std::span<const KvLayerView> layers) {
  CHECK(rows.count() <= workspace_.rows, "{} rows in a workspace of {}", rows.count(), workspace_.rows);
  const int64_t hidden = decoder_.config.info.hidden;
  for (const TokenId t : tokens) CHECK(t >= 0 && t < decoder_.config.info.vocab_size, "token {} of {}", t, decoder_.config.info.vocab_size);
  embed(tokens, rows.positions, kinds);
  for (size_t l = 0; l < decoder_.layers.size(); ++l) {
    const bool last = l + 1 == decoder_.layers.size();
    const bool ran = decoder_.layers[l].run({ops_, workspace_, rows, layers[l], nullptr, static_cast<int>(l), last ? wanted : nullptr}, hidden);
    CHECK(ran, "layer {} ended the pass", l);
  }
  const int64_t outputs = wanted != nullptr ? static_cast<int64_t>(wanted->size()) : rows.count();
  if (decoder_.final_norm.present()) ops_.norm(workspace_.x, decoder_.final_norm.norm(), outputs, hidden, workspace_.x);
  return workspace_.x;
}

std::vector<std::span<const int64_t>> DecoderModel::expert_rows() const {
  std::vector<std::span<const int64_t>> rows;
  for (const DecoderLayer& layer : decoder_.layers) rows.push_back(layer.ffn ? layer.ffn->expert_rows() : std::span<const int64_t>());
  return rows;
}

void DecoderModel::rotate_keys(int layer, std::span<const int32_t> by, int heads, float* keys) const {
  if (const auto& mixer = decoder_.layers[static_cast<size_t>(layer)].mixer) mixer->rotate_keys(ops_, by, heads, keys);
}

Result<std::unique_ptr<Model>> build_decoder(DecoderFamily* family, WeightStore& store, const Ops& ops) {
  const TensorSource& source = store.source();
  SLUICE_TRY(Decoder decoder, family(ConfigReader(source.metadata()), source));
  SLUICE_TRY(TensorTable table, decoder.declare(source));
  if (!table.has("output.weight")) table.load_as_matrix("token_embd.weight", &decoder.head, "head");
  SLUICE_TRY_STATUS(decoder.load(table, store));
  SLUICE_TRY(std::unique_ptr<Model> model, DecoderModel::create(std::move(decoder), ops));
  return model;
}

Result<ModelPlan> plan_decoder(DecoderFamily* family, const TensorSource& source) {
  SLUICE_TRY(Decoder decoder, family(ConfigReader(source.metadata()), source));
  SLUICE_TRY(const TensorTable table, decoder.declare(source));
  return ModelPlan{decoder.config.info, decoder_kv(decoder)};
}

}  // namespace sluice
