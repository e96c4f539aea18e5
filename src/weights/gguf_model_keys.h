#pragma once
// What a GGUF says about a dense Llama-like model and its vocabulary, as structs that the converters fill.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/gguf_vocab.h"
#include "weights/gguf.h"
#include "weights/metadata.h"
#include "weights/quant_recipe.h"

namespace sluice {

/// How positions past the trained context are reached ("rope.scaling.*"); llama3's scaling is a tensor instead.
struct GgufRopeScaling {
  std::string type;  // "linear" or "yarn"
  double factor = 1;
  int64_t original_context = 0;  // 0: not said
  std::optional<double> attention_factor, beta_fast, beta_slow;
};

struct GgufHyperparameters {
  std::string arch;  // "llama", "qwen2", "qwen3"
  std::string name;
  int64_t layers = 0, context = 0, hidden = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  double norm_eps = 1e-5, rope_theta = 10000;
};

/// The vocabulary in a GGUF's metadata. An error names the file and the key.
Result<GgufVocab> read_gguf_vocab(const Metadata& metadata);

/// general.*, the architecture's own keys and tokenizer.*. A vocabulary shorter than the embedding is filled up with
/// unused tokens; a longer one is an error.
Result<std::vector<GgufKey>> gguf_model_keys(const GgufHyperparameters& model, const GgufVocab& vocabulary,
                                             const QuantRecipe& recipe);

/// The same for an architecture whose own keys ("qwen3.block_count") are given, and whose embedding has so many rows.
Result<std::vector<GgufKey>> gguf_model_keys(const std::string& arch, const std::string& name, std::vector<GgufKey> own, int64_t rows,
                                             const GgufVocab& vocabulary, const QuantRecipe& recipe);
/// The keys of a rope scaling.
void add_rope_scaling(std::vector<GgufKey>& keys, const std::string& arch, const GgufRopeScaling& rope);

/// The divisors of llama3's rope frequencies, [head_dim / 2], which GGUF stores as rope_freqs.weight. (transformers,
/// modeling_rope_utils.py: _compute_llama3_parameters.)
std::vector<float> llama3_rope_factors(int64_t head_dim, double theta, double factor, double low_freq_factor,
                                       double high_freq_factor, double original_context);

}  // namespace sluice
