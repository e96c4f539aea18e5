#pragma once
// An encoder of a decoder's parts: every text is a segment of one pass, run layer by layer over all of its rows. Keys and values
// stand in scratch memory that the layers use in turn.

#include <functional>
#include <memory>
#include <vector>

#include "model/encoder.h"
#include "model/layers/decoder_model.h"
#include "model/layers/pooling_head.h"

namespace sluice {

/// What an encoder's family makes of a file.
struct EncoderParts {
  Decoder body;
  ClassifierConfig classifier;
  bool causal = false;
  int pair_separators = 1;
};
using EncoderFamily = Result<EncoderParts>(const ConfigReader&, const TensorSource&);
using DescribeEncoder = std::function<EncoderFamily>;

class EncoderModel final : public Encoder {
 public:
  EncoderModel(std::unique_ptr<DecoderModel> body, PoolingHead head, EncoderInfo info, const Ops& ops);
  const EncoderInfo& info() const override { return info_; }
  Status encode(std::span<const EncoderText> texts, float* out) override;
  Status hidden_states(std::span<const EncoderText> texts, float* out) override;

 private:
  /// Runs the texts; `wanted`: only these rows of the last layer. The result is in the body's workspace.
  Result<const float*> run(std::span<const EncoderText> texts, bool pooled);
  Status reserve(int64_t rows, int64_t blocks);

  std::unique_ptr<DecoderModel> body_;
  PoolingHead head_;
  EncoderInfo info_;
  const Ops& ops_;
  Buffer keys_, values_;
  bool picked_ = false;  // the last run kept the pooled rows only
  // Of the pass being run; kept for their memory.
  std::vector<TokenId> tokens_, kinds_;
  std::vector<int32_t> positions_, wanted_;
  std::vector<int64_t> slots_;
  std::vector<BlockId> blocks_;
  std::vector<AttendSegment> segments_;
  std::vector<KvLayerView> layers_;
};

Result<std::unique_ptr<Encoder>> build_encoder_model(const DescribeEncoder& family, WeightStore& store, const Ops& ops, const TextUse& use);
Result<EncoderInfo> plan_encoder_model(const DescribeEncoder& family, const TensorSource& source, const TextUse& use);
/// From a Hugging Face directory, and from a GGUF to one (encoder_convert.cpp); no `use`: embeddings.
Result<GgufPlan> convert_encoder(EncoderFamily* family, std::shared_ptr<TensorSource> source, const GgufIdentity& identity);
Result<HuggingfaceForm> convert_encoder_to_huggingface(EncoderFamily* family, std::shared_ptr<TensorSource> source, DType type, const TextUse* use);

/// What generates no text, asked for that.
Error reads_only(const Metadata& metadata);

/// A ModelArch of a family of encoders.
template <EncoderFamily* family>
ModelArch encoder_arch(std::string_view name, std::vector<std::string_view> hf_names, std::vector<std::string_view> gguf_names) {
  ModelArch arch{name, std::move(hf_names), std::move(gguf_names),
                 [](WeightStore& store, const Ops&) -> Result<std::unique_ptr<Model>> { return reads_only(store.source().metadata()); },
                 [](const TensorSource& source) -> Result<ModelPlan> { return reads_only(source.metadata()); },
                 [](std::shared_ptr<TensorSource> source, const GgufIdentity& identity) {
                   return convert_encoder(family, std::move(source), identity);
                 }};
  arch.plan_encoder = [](const TensorSource& source, const TextUse& use) { return plan_encoder_model(family, source, use); };
  arch.build_encoder = [](WeightStore& store, const Ops& ops, const TextUse& use) { return build_encoder_model(family, store, ops, use); };
  arch.generates = false;
  arch.to_huggingface = [](std::shared_ptr<TensorSource> source, DType type, const TextUse* use) {
    return convert_encoder_to_huggingface(family, std::move(source), type, use);
  };
  return arch;
}

}  // namespace sluice
