#pragma once
// A decoder: embedding, layers, final norm, head. Each row's logits are a function of its tokens and positions alone, so a
// batch may be cut anywhere: it is run in pieces of kPieceRows rows through one workspace, and the last layer computes, past
// what later rows read, only the rows whose logits are wanted.

#include <memory>
#include <span>
#include <vector>

#include "model/encoder.h"
#include "model/layers/decoder_config.h"
#include "model/layers/layer.h"
#include "model/layers/tensor_table.h"
#include "model/model.h"

namespace sluice {

inline constexpr int64_t kPieceRows = 512;

class PoolingHead;

/// What a family makes of a file: its settings, its parts, and how its tensors are called.
struct Decoder {
  DecoderConfig config;
  TensorNames names = llama_names();
  std::vector<DecoderLayer> layers;

  float embedding_scale = 1;
  int64_t learned_positions = 0;  // rows of a table of positions, added to the embedding; 0: none
  int64_t embedding_dim = 0;      // 0: hidden; otherwise it is projected to hidden, and back before the head (OPT 350M)
  int64_t token_types = 0;        // rows of a table of kinds of rows, added to the embedding; 0: none (BERT)
  NormLayer embedding_norm;
  NormLayer final_norm;
  Presence head_bias = Presence::absent;
  float logit_scale = 1;    // of the head's products
  float logit_softcap = 0;  // > 0: cap * tanh(logit / cap), after the scale
  bool normalized_head = false;  // the head's rows count as unit vectors (Baichuan 2)
  int ignored_layers = 0;   // past the last, which a file may hold for other uses (multi-token prediction)

  // The weights of these.
  TensorView embedding, positions, types;  // no data: the embedding is the head, which is tied to it
  const float *rope_factors = nullptr, *short_factors = nullptr, *long_factors = nullptr, *head_bias_values = nullptr;
  PackedMatrix head, project_in, project_out;
  std::span<const float> head_scales;  // [vocab]: of a normalized head

  /// All of its tensors, checked against the file; those of a head that is no language model's too, where there is one.
  Result<TensorTable> declare(const TensorSource& source, PoolingHead* pooling = nullptr);
  /// Loads what was declared, and prepares the layers.
  Status load(const TensorTable& table, WeightStore& store);
};

class DecoderModel : public Model {
 public:
  static Result<std::unique_ptr<DecoderModel>> create(Decoder decoder, const Ops& ops);

  const ModelInfo& info() const override { return decoder_.config.info; }
  const KvSpec& kv() const override { return kv_; }
  void forward(const ForwardBatch& batch, std::span<const KvLayerView> layers, float* logits) override;
  std::string set_context(int64_t tokens) override {
    return decoder_.config.rope != nullptr ? decoder_.config.rope->set_context(tokens) : std::string();
  }
  std::vector<std::span<const int64_t>> expert_rows() const override;
  void rotate_keys(int layer, std::span<const int32_t> by, int heads, float* keys) const override;

  // For encoders, whose texts are not cut (encoder_model.h).
  /// Makes room for so many rows at once.
  Status reserve(int64_t rows);
  /// Runs all rows in one piece: the last hidden states after the final norm, [outputs, hidden], until the next call. `kinds`: each row's
  /// token type; `wanted`: only these rows of the last layer, or null.
  const float* run_whole(std::span<const TokenId> tokens, std::span<const TokenId> kinds, const LayerRows& rows,
                         const std::vector<int32_t>* wanted, std::span<const KvLayerView> layers);

 private:
  DecoderModel(Decoder decoder, const Ops& ops, Workspace workspace);

  /// Rows [first, first + rows.count()) of the batch, which stand in the workspace; `wanted` count from `first`.
  void run_piece(std::span<const TokenId> tokens, const LayerRows& rows, const std::vector<int32_t>& wanted,
                 std::span<const KvLayerView> layers, LayerPolicy* policy, float* logits);
  void embed(std::span<const TokenId> tokens, std::span<const int32_t> positions, std::span<const TokenId> kinds = {});
  void head(int64_t rows, float* logits);

  Decoder decoder_;
  const Ops& ops_;
  Workspace workspace_;
  KvSpec kv_;
  std::vector<AttendSegment> piece_segments_, piece_page_segments_;  // of the piece being run; kept for their memory
  std::vector<int32_t> piece_wanted_;
  std::vector<TokenId> piece_positions_;
};

/// The groups of a decoder's mixers, in order: neighbours with the same kind of KV are one.
KvSpec decoder_kv(const Decoder& decoder);

/// A family, as its file in model/arch/ describes it.
using DecoderFamily = Result<Decoder>(const ConfigReader&, const TensorSource&);

/// What ModelArch asks of a family, for all that are decoders.
Result<std::unique_ptr<Model>> build_decoder(DecoderFamily* family, WeightStore& store, const Ops& ops);
Result<ModelPlan> plan_decoder(DecoderFamily* family, const TensorSource& source);
Result<GgufPlan> convert_decoder(DecoderFamily* family, std::shared_ptr<TensorSource> source, const GgufIdentity& identity);
Result<HuggingfaceForm> convert_decoder_to_huggingface(DecoderFamily* family, std::shared_ptr<TensorSource> source, DType type);

/// What was read by `reader` and declared in `table` as a GGUF, for families of either kind; `more`: keys beside the settings' own.
Result<GgufPlan> gguf_of(const Decoder& decoder, const TensorTable& table, const ConfigReader& reader, std::shared_ptr<TensorSource> source,
                         const GgufIdentity& identity, std::vector<GgufKey> more = {});
/// And as a Hugging Face directory.
Result<HuggingfaceForm> huggingface_of(const Decoder& decoder, const TensorTable& table, const ConfigReader& reader,
                                       std::shared_ptr<TensorSource> source, DType type);

/// A decoder read at its last token, for embeddings and scores (encoder_model.h).
Result<std::unique_ptr<Encoder>> build_decoder_encoder(DecoderFamily* family, WeightStore& store, const Ops& ops, const TextUse& use);
Result<EncoderInfo> plan_decoder_encoder(DecoderFamily* family, const TensorSource& source, const TextUse& use);

/// A ModelArch whose functions are a DecoderFamily's.
template <DecoderFamily* family>
ModelArch decoder_arch(std::string_view name, std::vector<std::string_view> hf_names,
                       std::vector<std::string_view> gguf_names) {
  return {name, std::move(hf_names), std::move(gguf_names),
          [](WeightStore& store, const Ops& ops) { return build_decoder(family, store, ops); },
          [](const TensorSource& source) { return plan_decoder(family, source); },
          [](std::shared_ptr<TensorSource> source, const GgufIdentity& identity) {
            return convert_decoder(family, std::move(source), identity);
          },
          [](const TensorSource& source, const TextUse& use) { return plan_decoder_encoder(family, source, use); },
          [](WeightStore& store, const Ops& ops, const TextUse& use) { return build_decoder_encoder(family, store, ops, use); },
          true,
          [](std::shared_ptr<TensorSource> source, DType type, const TextUse*) {
            return convert_decoder_to_huggingface(family, std::move(source), type);
          },
          [](const TensorSource& source) { return family(ConfigReader(source.metadata()), source); }};
}

}  // namespace sluice
