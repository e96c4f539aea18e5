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

/// llama2.c's .bin (github.com/karpathy/llama2.c, export.py): version 0 (float32 with freq_cis tables), 1 (float32) and
/// 2 (Q8_0 groups). Its q and k rows are in interleaved rope order, which is GGUF llama's own. The file does not say
/// which activation the model was trained with; SwiGLU is assumed, as in llama2.c.
Result<GgufPlan> plan_llama2c(const std::string& path, const std::string& name, const GgufVocab& vocabulary,
                              const QuantRecipe& recipe);

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
