#include "model/layers/decoder_model.h"

#include <algorithm>
#include <cstring>

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

void gather_rows(float* values, int64_t width, std::span<const int32_t> wanted) {
  for (size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i] != static_cast<int32_t>(i))
      std::memcpy(values + static_cast<int64_t>(i) * width, values + wanted[i] * width,
                  static_cast<size_t>(width) * sizeof(float));
}

}  // namespace

Result<std::unique_ptr<Model>> DecoderModel::create(DecoderConfig config, DecoderWeights weights, const Ops& ops) {
  for (int i = 0; weights.rope_factors != nullptr && i < config.info.head_dim / 2; ++i)
    config.rope.inv_freq[static_cast<size_t>(i)] /= weights.rope_factors[i];
  SLUICE_TRY(Workspace workspace, Workspace::allocate(config.info, kPieceRows));
  return std::unique_ptr<Model>(new DecoderModel(std::move(config), std::move(weights), ops, std::move(workspace)));
}

DecoderModel::DecoderModel(DecoderConfig config, DecoderWeights weights, const Ops& ops, Workspace workspace)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      ops_(ops),
      workspace_(std::move(workspace)),
      kv_(decoder_kv(config_)) {
  piece_wanted_.reserve(kPieceRows);
  piece_segments_.reserve(kPieceRows);
  kept_segments_.reserve(kPieceRows);
}

void DecoderModel::forward(const ForwardBatch& batch, std::span<const KvLayerView> layers, float* logits) {
  CHECK(batch.positions.size() == batch.tokens.size() && batch.slots.size() == batch.tokens.size(),
        "{} tokens, {} positions, {} slots", batch.tokens.size(), batch.positions.size(), batch.slots.size());
  CHECK(layers.size() == weights_.layers.size(), "KV of {} layers for a model of {}", layers.size(),
        weights_.layers.size());
  for (const TokenId t : batch.tokens)
    CHECK(t >= 0 && t < config_.info.vocab_size, "token {} of {}", t, config_.info.vocab_size);

  const size_t total = batch.tokens.size();
  size_t next_wanted = 0;
  for (size_t first = 0; first < total; first += kPieceRows) {
    const size_t rows = std::min<size_t>(kPieceRows, total - first);
    cut_segments(batch.segments, static_cast<int64_t>(first), static_cast<int64_t>(rows), piece_segments_);
    piece_wanted_.clear();
    const size_t done = next_wanted;
    for (; next_wanted < batch.logit_rows.size() && static_cast<size_t>(batch.logit_rows[next_wanted]) < first + rows;
         ++next_wanted)
      piece_wanted_.push_back(batch.logit_rows[next_wanted] - static_cast<int32_t>(first));
    const LayerRows piece{batch.positions.subspan(first, rows), batch.slots.subspan(first, rows), piece_segments_};
    run_piece(batch.tokens.subspan(first, rows), piece, piece_wanted_, layers, batch.policy,
              logits + static_cast<int64_t>(done) * config_.info.vocab_size);
  }
  CHECK(next_wanted == batch.logit_rows.size(), "logit row {} of {} rows", batch.logit_rows[next_wanted], total);
}

KvLayerView DecoderModel::with_rotation(KvLayerView kv) {
  if (kv.format->block == nullptr || !kv.format->block->unrotated_keys) return kv;
  if (!key_rotation_ || key_rotation_->block_tokens != kv.block_tokens)
    key_rotation_.emplace(config_.rope.inv_freq, config_.rope.style, kv.block_tokens);
  kv.rotation = &*key_rotation_;
  return kv;
}

std::span<const AttendSegment> DecoderModel::keep_rows(std::span<const AttendSegment> segments,
                                                       std::span<const int32_t> wanted) {
  gather_rows(workspace_.x, config_.info.hidden, wanted);
  gather_rows(workspace_.q, size_of(Dim::q, config_.info), wanted);
  kept_segments_.clear();
  size_t s = 0;
  int previous = -2;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const int row = wanted[i];
    const size_t before = s;
    while (row >= segments[s].first_row + segments[s].rows) ++s;
    if (row == previous + 1 && s == before)
      ++kept_segments_.back().rows;
    else
      kept_segments_.push_back(
          {static_cast<int>(i), 1, segments[s].first_pos + row - segments[s].first_row, segments[s].blocks});
    previous = row;
  }
  return kept_segments_;
}

void DecoderModel::run_piece(std::span<const TokenId> tokens, const LayerRows& rows, std::span<const int32_t> wanted,
                             std::span<const KvLayerView> layers, LayerPolicy* policy, float* logits) {
  Workspace& w = workspace_;
  const ModelInfo& info = config_.info;
  if (weights_.embedding.data != nullptr)
    ops_.embed(weights_.embedding, tokens, w.x);
  else
    ops_.embed(weights_.head, tokens, w.x);
  int64_t count = rows.count();
  std::span<const AttendSegment> segments = rows.segments;
  if (policy != nullptr) policy->before_piece(segments);
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const DecoderLayer layer{ops_, config_, weights_.layers[l], config_.windows[l]};
    const int number = static_cast<int>(l);
    if (policy != nullptr) policy->before_layer(number);
    layer.project(w, rows, config_.rope.inv_freq);
    const KvLayerView kv = with_rotation(layers[l]);
    const LayerView view{number, w.x, w.q, w.k, w.v, info.heads, config_.attention_scale, rows.positions, rows.segments, kv};
    if (policy != nullptr && !policy->before_write(view)) {
      CHECK(wanted.empty(), "logits are wanted of a pass that ends in layer {}", l);
      policy->after_attention(number);
      return;
    }
    ops_.write_kv(w.k, w.v, rows.slots, kv);
    if (policy != nullptr) policy->before_attention(view);
    if (l + 1 == weights_.layers.size()) {
      if (wanted.empty()) {
        if (policy != nullptr) policy->after_attention(number);
        return;
      }
      segments = keep_rows(segments, wanted);
      count = static_cast<int64_t>(wanted.size());
    }
    layer.attend(w, segments, count, kv);
    if (policy != nullptr) policy->after_attention(number);
    layer.feed_forward(w, count);
  }
  const MatmulOut head{&weights_.head, nullptr, logits, info.vocab_size};
  ops_.matmul({w.x, count, info.hidden, config_.rms_norm(weights_.final_norm)}, {&head, 1});
}

void DecoderModel::rotate_keys(std::span<const int32_t> by, int kv_heads, float* keys) const {
  const int head_dim = config_.info.head_dim;
  ops_.rope(keys, by, config_.rope.inv_freq, 1, kv_heads, head_dim, head_dim, config_.rope.style);
}

Result<ParsedDecoder> parse_decoder(const DecoderFamily& family, const TensorSource& source) {
  const Metadata& metadata = source.metadata();
  SLUICE_TRY(DecoderConfig config, family.parse(ConfigReader(metadata), source));
  std::vector<NamedTensor> tensors = list_tensors(family.tensors(config), config, source, metadata.kind());
  // A configuration may claim thousands of layers; the file has to hold them before anything is made for them.
  SLUICE_TRY_STATUS(check_tensors(tensors, config, source));
  for (const NamedTensor& t : tensors) config.info.parameters += t.shape.elems();
  return ParsedDecoder{std::move(config), std::move(tensors)};
}

Result<std::unique_ptr<Model>> build_decoder(const DecoderFamily& family, WeightStore& store, const Ops& ops) {
  SLUICE_TRY(ParsedDecoder parsed, parse_decoder(family, store.source()));
  SLUICE_TRY(DecoderWeights weights, load_tensors(parsed.tensors, parsed.config, store));
  return DecoderModel::create(std::move(parsed.config), std::move(weights), ops);
}

Result<ModelPlan> plan_decoder(const DecoderFamily& family, const TensorSource& source) {
  SLUICE_TRY(ParsedDecoder parsed, parse_decoder(family, source));
  return ModelPlan{parsed.config.info, decoder_kv(parsed.config)};
}

}  // namespace sluice
