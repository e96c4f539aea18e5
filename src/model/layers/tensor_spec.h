#pragma once
// The tensors of a decoder, declared as a table: what each is called in either kind of file, its shape in terms of the
// configuration, and where the loaded weight goes.

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backend/ops.h"
#include "base/result.h"
#include "model/layers/decoder_config.h"
#include "weights/weight_store.h"

namespace sluice {

/// The weights of one layer. Null pointers are what a family does not have.
struct LayerWeights {
  const float* attention_norm = nullptr;
  PackedMatrix q, k, v, o;
  const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *o_bias = nullptr;
  const float *q_norm = nullptr, *k_norm = nullptr;
  const float* mlp_norm = nullptr;
  PackedMatrix gate, up, down;
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};

struct DecoderWeights {
  TensorView embedding;  // no data: the head, which is tied to it
  const float* rope_factors = nullptr;
  const float* final_norm = nullptr;
  PackedMatrix head;
  std::vector<LayerWeights> layers;
};

/// Sizes that stand in shapes.
enum class Dim : uint8_t { vocab, hidden, ffn, q, kv, head, rope_pairs };
int64_t size_of(Dim dim, const ModelInfo& info);

/// Where a tensor goes; this also says what it is. Matrices and tables may have any weight type, vectors (norms,
/// biases) are held as float32.
using TensorSlot =
    std::variant<PackedMatrix LayerWeights::*, const float * LayerWeights::*, PackedMatrix DecoderWeights::*,
                 const float * DecoderWeights::*, TensorView DecoderWeights::*>;

/// One row of the table. "{}" in a name stands for the layer. An empty name: this kind of file never has it.
struct TensorSpec {
  TensorSlot slot;
  std::string_view hf, gguf;
  Dim rows;
  Dim cols = Dim::vocab;  // of matrices and tables
  Presence presence = Presence::required;
};

/// The rows that all decoders share: embedding, norms, projections, gated MLP, head, GGUF's rope factors, and the
/// biases as far as the configuration has them.
std::vector<TensorSpec> decoder_tensors(const DecoderConfig& config);

/// One tensor of one model.
struct NamedTensor {
  TensorSlot slot;
  int layer = 0;
  std::string name, gguf_name;  // in this file; in a GGUF, empty where that never has it
  Shape shape;
};

/// The table written out for all layers. A row that a file may lack counts when any layer has it, and is then required
/// in all.
std::vector<NamedTensor> list_tensors(std::span<const TensorSpec> table, const DecoderConfig& config,
                                      const TensorSource& source, MetadataKind kind);

/// Fails when one of them is missing or has another shape, when the file holds a layer past the configuration's, and
/// when it holds another tensor within a layer.
Status check_tensors(std::span<const NamedTensor> tensors, const DecoderConfig& config, const TensorSource& source);

/// Warns, in one line, of tensors outside the layers that the model does not use.
void warn_of_unread(std::span<const NamedTensor> tensors, const DecoderConfig& config, const TensorSource& source);

/// Loads checked tensors, and warns of those that are not. A missing head is the embedding, which is then held once, packed.
Result<DecoderWeights> load_tensors(std::span<const NamedTensor> tensors, const DecoderConfig& config,
                                    WeightStore& store);

}  // namespace sluice
