#pragma once
// Conversions to GGUF. Each gives a plan for write_gguf(); nothing is computed before that, and the plan keeps its
// sources mapped. Hugging Face models are converted by model/, which knows what they compute (plan_huggingface()).

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "weights/gguf_model_keys.h"
#include "weights/gguf_writer.h"
#include "weights/quant_recipe.h"
#include "weights/tensor_source.h"

namespace sluice {

/// What a llama2.c file does not say: how its model was trained.
enum class Llama2cVariant : uint8_t {
  llama,         // SwiGLU, as in llama2.c
  shifted_relu,  // inputs of both parts relu(norm(x) - 1), gates relu(. - 0.25) (github.com/hongyihuang/llama2.c)
  bitnet,        // ternary matrices in 2 bits, a byte's high bits first (github.com/HKUSTGZ-MICS-LYU/bitllama2.c)
  bitnet_lsb,    // the same from a byte's low bits up
};
struct Llama2cVariantName {
  std::string_view name, help;
  Llama2cVariant variant;
};
std::span<const Llama2cVariantName> llama2c_variants();

/// llama2.c's .bin (github.com/karpathy/llama2.c, export.py): version 0 (float32 with freq_cis tables), 1 (float32) and
/// 2 (Q8_0 groups). Its q and k rows are in interleaved rope order, which is GGUF llama's own.
Result<GgufPlan> plan_llama2c(const std::string& path, const std::string& name, const GgufVocab& vocabulary,
                              const QuantRecipe& recipe, Llama2cVariant variant = Llama2cVariant::llama);

/// bitllama2.c's: a header of version 1, the last norm, the embedding, and ternary matrices of 2 bits a value after one scale each.
/// The matrices stay as they are, whatever the recipe: TQ2_0 where its blocks divide their rows, F16 elsewhere, and the scales are
/// tensors.
Result<GgufPlan> plan_bitllama2(const std::string& path, const std::string& name, const GgufVocab& vocabulary,
                                const QuantRecipe& recipe, bool low_bits_first);

/// minGPT's state dict in JSON, as a GPT-2 of letters: its tokens are A, B, ...
Result<GgufPlan> plan_mingpt(const std::string& path, const std::string& name, const QuantRecipe& recipe);

/// rwkv.cpp's .bin of RWKV 5.2 or 7, of any of its types. `vocabulary` null: the tokens are the 256 bytes.
Result<GgufPlan> plan_rwkv(const std::string& path, const std::string& name, const GgufVocab* vocabulary, const QuantRecipe& recipe);

/// A GGUF or native pack with its matrices in other types, or, where `recipe` is null, as they are. Vectors and tensors
/// that have the wanted type already are copied.
Result<GgufPlan> plan_requantize(const std::string& path, const QuantRecipe* recipe);

/// The shape of a published model.
struct RandomShape {
  std::string_view name;
  std::string_view arch;
  int64_t hidden, ffn, layers, heads, kv_heads, head_dim, vocab, context;
  double rope_theta, norm_eps;
  bool tied_head;
  double llama3_factor;  // 0: no rope scaling
};
std::span<const RandomShape> random_shapes();

/// Random weights in the shape called `like` (an error lists the known ones), of standard deviation 1 / sqrt(k) so that
/// activations keep their size, with a synthetic byte-level vocabulary and ChatML. The same seed gives the same file.
Result<GgufPlan> plan_random(std::string_view like, uint64_t seed, const QuantRecipe& recipe);

}  // namespace sluice
