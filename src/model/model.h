#pragma once
// A model: a forward pass over a ragged batch of rows, and what it needs to know about itself.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/ids.h"
#include "base/result.h"
#include "kv/kv_spec.h"
#include "model/layer_policy.h"
#include "weights/gguf_model_keys.h"
#include "weights/gguf_writer.h"
#include "weights/hf_config.h"
#include "weights/metadata.h"
#include "weights/quant_recipe.h"
#include "weights/safetensors_writer.h"
#include "weights/weight_store.h"

namespace sluice {

/// Where the rows' KV is written, and what they see.
struct KvPlaces {
  std::span<const int64_t> slots;           // [rows]
  std::span<const AttendSegment> segments;  // cover all rows
};

/// Position is not slot: `positions` says by what a row is rotated, `slots` where its KV is written, and the segments count
/// slots: a row sees all of its table up to its own.
struct ForwardBatch {
  std::span<const TokenId> tokens;          // [rows]
  std::span<const int32_t> positions;       // [rows]
  std::span<const int64_t> slots;           // [rows]
  std::span<const AttendSegment> segments;  // cover all rows
  std::span<const int32_t> logit_rows;      // rows whose logits are wanted, ascending
  LayerPolicy* policy = nullptr;            // or nobody looks on
  KvPlaces pages = {};                      // slots and segments of layers whose KV is in pages, where there are any
};

/// The facts about a model that the rest of the system asks for.
struct ModelInfo {
  std::string arch;  // catalog name: "llama"
  int64_t vocab_size = 0;
  int64_t max_positions = 0;  // the context that the model was made for
  int layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  int64_t original_positions = 0;  // of longrope: contexts beyond it rotate otherwise; 0: there is one rotation
  bool windowed = false;  // some layer sees a window of positions only
  int64_t hidden = 0, ffn = 0;
  int experts = 0, experts_per_token = 0;  // of layers that are mixtures; 0: none is
  int64_t parameters = 0;
  size_t weight_bytes = 0;  // that every step reads: packed matrices and vectors, but no table of which steps touch single rows
  std::string head;         // the tensor that logits are products with, as the file calls it; empty: there is none
};

struct Model {
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual const KvSpec& kv() const = 0;
  /// Computes the batch, writing K and V of layer l into layers[l]; logits is [logit_rows.size(), vocab_size].
  virtual void forward(const ForwardBatch& batch, std::span<const KvLayerView> layers, float* logits) = 0;
  /// No sequence will be longer than that: what a family rotates by may depend on it (longrope). Before the first forward().
  /// Says what it chose, where there is a choice.
  virtual std::string set_context(int64_t /*tokens*/) { return {}; }
  /// Rows that each expert has computed since the start, [layers][experts]; empty for layers that have none.
  virtual std::vector<std::span<const int64_t>> expert_rows() const { return {}; }
  /// Rotates keys of a layer that are rotated already, [rows, heads, head_dim], by so many positions more, or fewer.
  virtual void rotate_keys(int layer, std::span<const int32_t> by, int heads, float* keys) const = 0;
};

/// What is known of a model before its weights are loaded.
struct ModelPlan {
  ModelInfo info;
  KvSpec kv;
};

struct Decoder;      // model/layers/decoder_model.h
struct Encoder;      // model/encoder.h
struct EncoderInfo;
struct TextUse;

/// What a GGUF says that its model does not: general.name, the vocabulary, and the types of its tensors.
struct GgufIdentity {
  const std::string& name;
  const GgufVocab& vocabulary;
  const QuantRecipe& recipe;
  const TextUse* use = nullptr;  // of texts that are read whole; null: it generates them
};

/// What a family makes of a GGUF for a Hugging Face directory.
struct HuggingfaceForm {
  std::string family;        // catalog name
  std::string architecture;  // empty: the family's first
  bool classifies = false;   // it is the ...ForSequenceClassification of that
  std::vector<ConfigEntry> settings;
  std::vector<GgufTensor> tensors;
  std::vector<std::string> read;  // the GGUF's keys that the model was made of
};

/// One architecture family: one file in model/arch/ and one line in its catalog.
struct ModelArch {
  std::string_view name;
  std::vector<std::string_view> hf_names;    // config.json "architectures"
  std::vector<std::string_view> gguf_names;  // general.architecture
  Result<std::unique_ptr<Model>> (*build)(WeightStore&, const Ops&);
  Result<ModelPlan> (*plan)(const TensorSource&);  // reads names and shapes only
  Result<GgufPlan> (*convert)(std::shared_ptr<TensorSource>, const GgufIdentity&);  // from Hugging Face
  // Of texts that are read whole, for embeddings and scores (model/encoder.h); null: the family is not used so.
  Result<EncoderInfo> (*plan_encoder)(const TensorSource&, const TextUse&) = nullptr;
  Result<std::unique_ptr<Encoder>> (*build_encoder)(WeightStore&, const Ops&, const TextUse&) = nullptr;
  bool generates = true;  // text; else build and plan are errors
  /// From GGUF; `use` as in GgufIdentity.
  Result<HuggingfaceForm> (*to_huggingface)(std::shared_ptr<TensorSource>, DType of_blocks, const TextUse* use) = nullptr;
  /// What it makes of the settings, before any tensor has to be there; null: it is no decoder.
  Result<Decoder> (*describe)(const TensorSource&) = nullptr;
};

/// Whether the family that the source's metadata names generates text.
Result<bool> generates_text(const TensorSource& source);

/// All families that this build knows (model/arch/catalog.cpp).
std::span<const ModelArch> model_catalog();

/// Finds the family that the source's metadata names, and what it makes of the file, without loading any weight.
Result<ModelPlan> plan_model(const TensorSource& source);

/// Finds the family that the source's metadata names and builds it; the error lists the known ones.
Result<std::unique_ptr<Model>> build_model(WeightStore& weights, const Ops& ops);

/// A Hugging Face source as a GGUF, for write_gguf(); the plan keeps the source mapped. The GGUF is made of the model
/// that build_model() makes of the source, from the same settings and tensors: what that refuses is refused here, and
/// so is a setting or a tensor that has no place in a GGUF. Llama's q and k rows are reordered from half to interleaved
/// rope pairs; llama3's rope scaling becomes rope_freqs.weight.
Result<GgufPlan> plan_huggingface(std::shared_ptr<TensorSource> source, const std::string& name,
                                  const GgufVocab& vocabulary, const QuantRecipe& recipe);

/// A GGUF source as a Hugging Face directory with its config.json, for write_huggingface(): the other way round, from the same
/// settings and tables. Float weights keep their bits, quantized ones are decoded to `type` (F32, F16 or BF16). What the plan,
/// read as a directory, would not say of the model is refused.
Result<HuggingfacePlan> plan_to_huggingface(std::shared_ptr<TensorSource> source, DType type);

}  // namespace sluice
