#pragma once
// The forward pass of a decoder: embedding, layers, final norm, head. Each row's logits are a function of its tokens
// and positions alone, so a batch may be cut anywhere: it is run in pieces of kPieceRows rows through one workspace,
// and the last layer computes, past its K and V, only the rows whose logits are wanted.

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/key_rotation.h"
#include "model/layers/decoder_layer.h"
#include "model/model.h"

namespace sluice {

inline constexpr int64_t kPieceRows = 512;

class DecoderModel : public Model {
 public:
  static Result<std::unique_ptr<Model>> create(DecoderConfig config, DecoderWeights weights, const Ops& ops);

  const ModelInfo& info() const override { return config_.info; }
  const KvSpec& kv() const override { return kv_; }
  void forward(const ForwardBatch& batch, std::span<const KvLayerView> layers, float* logits) override;
  void rotate_keys(std::span<const int32_t> by, int kv_heads, float* keys) const override;

 private:
  DecoderModel(DecoderConfig config, DecoderWeights weights, const Ops& ops, Workspace workspace);

  /// Rows [first, first + rows.count()) of the batch, which stand in the workspace; `wanted` count from `first`.
  void run_piece(std::span<const TokenId> tokens, const LayerRows& rows, std::span<const int32_t> wanted,
                 std::span<const KvLayerView> layers, LayerPolicy* policy, float* logits);
  /// The layer's KV with the rotation of its keys, where its format asks for that.
  KvLayerView with_rotation(KvLayerView kv);
  /// Moves the wanted rows of x and q to the front, and gives segments that cover just them.
  std::span<const AttendSegment> keep_rows(std::span<const AttendSegment> segments, std::span<const int32_t> wanted);

  DecoderConfig config_;
  DecoderWeights weights_;
  const Ops& ops_;
  Workspace workspace_;
  KvSpec kv_;
  std::optional<KeyRotation> key_rotation_;  // for the blocks of the last pass that asked
  std::vector<AttendSegment> piece_segments_, kept_segments_;  // of the piece being run; kept for their memory
  std::vector<int32_t> piece_wanted_;
};

/// A family, as its file in model/arch/ describes it.
struct DecoderFamily {
  Result<DecoderConfig> (*parse)(const ConfigReader&, const TensorSource&);
  std::vector<TensorSpec> (*tensors)(const DecoderConfig&);
};

/// A model file's settings and tensors, both checked.
struct ParsedDecoder {
  DecoderConfig config;
  std::vector<NamedTensor> tensors;
};
Result<ParsedDecoder> parse_decoder(const DecoderFamily& family, const TensorSource& source);

/// What ModelArch asks of a family, for all that are decoders.
Result<std::unique_ptr<Model>> build_decoder(const DecoderFamily& family, WeightStore& store, const Ops& ops);
Result<ModelPlan> plan_decoder(const DecoderFamily& family, const TensorSource& source);
Result<GgufPlan> convert_decoder(const DecoderFamily& family, std::shared_ptr<TensorSource> source,
                                 const GgufIdentity& identity);

/// A ModelArch whose functions are a DecoderFamily's.
template <const DecoderFamily& family>
ModelArch decoder_arch(std::string_view name, std::vector<std::string_view> hf_names,
                       std::vector<std::string_view> gguf_names) {
  return {name, std::move(hf_names), std::move(gguf_names),
          [](WeightStore& store, const Ops& ops) { return build_decoder(family, store, ops); },
          [](const TensorSource& source) { return plan_decoder(family, source); },
          [](std::shared_ptr<TensorSource> source, const GgufIdentity& identity) {
            return convert_decoder(family, std::move(source), identity);
          }};
}

}  // namespace sluice
