#include "model/layers/encoder_model.h"

#include <algorithm>
#include <numeric>

#include "base/log.h"

namespace sluice {
namespace {

constexpr int kScratchBlock = 16;  // tokens; a text begins at a block

// Bytes that a pass takes for each of its rows: the workspace, the scratch of a layer, and what products hold of the hidden values.
int64_t bytes_per_token(const Decoder& body) {
  WorkspaceWidths widths;
  int64_t kv = 0;
  for (const DecoderLayer& layer : body.layers) {
    widths = widths.max(layer.mixer->widths());
    const KvGroup group = layer.mixer->kv();
    kv = std::max(kv, 2 * int64_t{group.kv_heads} * group.head_dim);
  }
  const ModelInfo& info = body.config.info;
  const int64_t floats = 4 * info.hidden + widths.q + widths.k + widths.v + widths.attended + widths.extra + kv + 2 * info.ffn;
  return floats * static_cast<int64_t>(sizeof(float));
}

EncoderInfo describe(const EncoderParts& parts, const TextUse& use) {
  EncoderInfo info;
  info.model = parts.body.config.info;
  info.use = use;
  info.width = use.task == TextUse::Task::score ? 1 : info.model.hidden;
  info.max_tokens = use.max_tokens > 0 ? std::min(use.max_tokens, info.model.max_positions) : info.model.max_positions;
  info.causal = parts.causal;
  info.token_types = parts.body.token_types;
  info.pair_separators = parts.pair_separators;
  info.bytes_per_token = bytes_per_token(parts.body);
  return info;
}

// The family's parts, for this use of them.
Result<EncoderParts> read_parts(const DescribeEncoder& family, const TensorSource& source, const TextUse& use) {
  SLUICE_TRY(EncoderParts parts, family(ConfigReader(source.metadata()), source));
  for (const DecoderLayer& layer : parts.body.layers)
    if (layer.mixer == nullptr || layer.second_mixer != nullptr || layer.mixer->kv().kind == KvGroup::Kind::state || layer.mixer->kv().kind == KvGroup::Kind::latent)
      return unsupported(fmt::format("{}: texts are read by models whose layers all have keys and values; this one's have not",
                                     source.metadata().origin()));
  if (parts.body.embedding_dim > 0)
    return unsupported(fmt::format("{}: the embedding is narrower than the model, which is not built for texts that are read whole", source.metadata().origin()));
  if (!use.answers) parts.body.config.head = Presence::absent;
  return parts;
}

// The embedding of `yes` in the head less that of `no`.
std::vector<float> difference_of(const Decoder& body, const Ops& ops, const YesNo& answers) {
  const auto hidden = static_cast<size_t>(body.config.info.hidden);
  const TokenId ids[] = {answers.yes, answers.no};
  std::vector<float> rows(2 * hidden);
  if (body.head.data != nullptr) ops.embed(body.head, ids, rows.data());
  else ops.embed(body.embedding, ids, rows.data());
  for (size_t i = 0; i < hidden; ++i) rows[i] -= rows[hidden + i];
  rows.resize(hidden);
  return rows;
}

DescribeEncoder encoder_of(DecoderFamily* family) {
  return [family](const ConfigReader& config, const TensorSource& source) -> Result<EncoderParts> {
    EncoderParts parts;
    SLUICE_TRY(parts.body, family(config, source));
    parts.causal = true;
    parts.classifier = {.dense = Presence::absent, .dense_bias = Presence::absent, .pooling = Pooling::last};
    return parts;
  };
}

}  // namespace

EncoderModel::EncoderModel(std::unique_ptr<DecoderModel> body, PoolingHead head, EncoderInfo info, const Ops& ops)
    : body_(std::move(body)), head_(std::move(head)), info_(std::move(info)), ops_(ops) {
  body_->set_context(info_.max_tokens);
  for (const KvGroup& group : body_->kv().groups)
    for (int l = 0; l < group.layers; ++l) layers_.push_back({&kKvF32, kScratchBlock, group.kv_heads, group.head_dim});
}

Status EncoderModel::reserve(int64_t rows, int64_t blocks) {
  SLUICE_TRY_STATUS(body_->reserve(rows));
  size_t bytes = 0;
  for (const KvLayerView& layer : layers_) bytes = std::max(bytes, static_cast<size_t>(blocks) * layer.side_bytes());
  if (keys_.bytes() < bytes) {
    SLUICE_TRY(keys_, Buffer::allocate(bytes));
    SLUICE_TRY(values_, Buffer::allocate(bytes));
  }
  for (KvLayerView& layer : layers_) layer.k = keys_.data(), layer.v = values_.data();
  return {};
}

Result<const float*> EncoderModel::run(std::span<const EncoderText> texts, bool pooled) {
  tokens_.clear(), kinds_.clear(), positions_.clear(), wanted_.clear(), slots_.clear(), segments_.clear();
  int64_t blocks = 0, rows = 0;
  for (const EncoderText& text : texts) {
    const auto length = static_cast<int64_t>(text.tokens.size());
    CHECK(length > 0 && length <= info_.max_tokens, "a text of {} tokens for an encoder of {}", length, info_.max_tokens);
    segments_.push_back({static_cast<int>(rows), static_cast<int>(length), 0, nullptr});
    for (int64_t i = 0; i < length; ++i) {
      tokens_.push_back(text.tokens[static_cast<size_t>(i)]);
      kinds_.push_back(text.second >= 0 && i >= text.second && info_.token_types > 1 ? 1 : 0);
      positions_.push_back(static_cast<int32_t>(i));
      slots_.push_back(blocks * kScratchBlock + i);
    }
    rows += length;
    blocks += (length + kScratchBlock - 1) / kScratchBlock;
  }
  SLUICE_TRY_STATUS(reserve(rows, blocks));
  blocks_.resize(static_cast<size_t>(blocks) + 1);  // kernels look at the one after to fetch ahead
  std::iota(blocks_.begin(), blocks_.end(), BlockId{0});
  blocks_.back() = 0;
  for (AttendSegment& segment : segments_) segment.blocks = blocks_.data() + slots_[static_cast<size_t>(segment.first_row)] / kScratchBlock;
  // A row that sees what follows it needs its segment whole: all rows are computed.
  picked_ = pooled && info_.causal && head_.one_row();
  for (const AttendSegment& segment : segments_)
    if (picked_) wanted_.push_back(static_cast<int32_t>(head_.row_of(segment)));
  return body_->run_whole(tokens_, kinds_, {positions_, {slots_, segments_}}, picked_ ? &wanted_ : nullptr, layers_);
}

Status EncoderModel::encode(std::span<const EncoderText> texts, float* out) {
  if (texts.empty()) return {};
  SLUICE_TRY(const float* const hidden, run(texts, true));
  head_.apply(ops_, hidden, picked_, segments_, out);
  return {};
}

Status EncoderModel::hidden_states(std::span<const EncoderText> texts, float* out) {
  if (texts.empty()) return {};
  SLUICE_TRY(const float* const hidden, run(texts, false));
  std::copy(hidden, hidden + static_cast<int64_t>(tokens_.size()) * info_.model.hidden, out);
  return {};
}

Result<std::unique_ptr<Encoder>> build_encoder_model(const DescribeEncoder& family, WeightStore& store, const Ops& ops, const TextUse& use) {
  const TensorSource& source = store.source();
  SLUICE_TRY(EncoderParts parts, read_parts(family, source, use));
  PoolingHead head(use, parts.classifier, parts.body.config.info.hidden);
  SLUICE_TRY(TensorTable table, parts.body.declare(source, &head));
  if (table.has("cls.output.weight") && parts.classifier.dense == Presence::if_present && !table.has("cls.weight"))
    log_warn("{}: the classifier has no cls.weight: of a BERT, whose pooler llama.cpp's converter leaves out, the scores are not what it was trained to give",
             source.metadata().origin());
  EncoderInfo info = describe(parts, use);
  if (use.answers)
    for (const TokenId id : {use.answers->yes, use.answers->no})
      if (id < 0 || id >= info.model.vocab_size)
        return invalid_argument(fmt::format("{}: token {} is to be an answer; the model has {}", source.metadata().origin(), id, info.model.vocab_size));
  SLUICE_TRY_STATUS(parts.body.load(table, store));
  if (use.answers) head.set_answers(difference_of(parts.body, ops, *use.answers));
  SLUICE_TRY(auto body, DecoderModel::create(std::move(parts.body), ops));
  return std::unique_ptr<Encoder>(new EncoderModel(std::move(body), std::move(head), std::move(info), ops));
}

Result<EncoderInfo> plan_encoder_model(const DescribeEncoder& family, const TensorSource& source, const TextUse& use) {
  SLUICE_TRY(EncoderParts parts, read_parts(family, source, use));
  PoolingHead head(use, parts.classifier, parts.body.config.info.hidden);
  SLUICE_TRY([[maybe_unused]] const TensorTable table, parts.body.declare(source, &head));
  return describe(parts, use);
}

Result<std::unique_ptr<Encoder>> build_decoder_encoder(DecoderFamily* family, WeightStore& store, const Ops& ops, const TextUse& use) {
  return build_encoder_model(encoder_of(family), store, ops, use);
}

Result<EncoderInfo> plan_decoder_encoder(DecoderFamily* family, const TensorSource& source, const TextUse& use) {
  return plan_encoder_model(encoder_of(family), source, use);
}

Error reads_only(const Metadata& metadata) {
  return unsupported(fmt::format("{}: {} is an encoder, which reads texts and generates none; serve it for embeddings or reranking "
                                 "(sluice serve, then POST /v1/embeddings or /v1/rerank)",
                                 metadata.origin(), metadata.architecture()));
}

}  // namespace sluice
