#pragma once
// Which type each tensor of a converted model gets: `sluice convert --type`.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tensor/tensor_view.h"

namespace sluice {

struct QuantRecipe {
  std::string_view name;  // "q4_k_m"
  DType matrix;           // of matrices without a rule of their own
  bool mixture;           // the head, and half of the attn_v and ffn_down, in Q6_K, as llama.cpp's "_M" does
  int file_type;          // general.file_type
};

std::span<const QuantRecipe> quant_recipes();
/// An error lists the names.
Result<const QuantRecipe*> find_quant_recipe(std::string_view name);

/// What a recipe needs to know of the model.
struct RecipeModel {
  int64_t layers = 0;
  bool tied_head = false;  // no output.weight: token_embd.weight is the head too
};

/// Whether a tensor is multiplied, by its name in either layout: no vector, however many of them it holds (biases of experts, norms of heads), no kernel of
/// a convolution, and nothing that a recurrence keeps for its channels (A_log).
bool holds_matrices(std::string_view name, const Shape& shape);

/// The type of the tensor `name` (GGUF names). What holds no matrices is F32. Rows that a block does not divide fall back as in
/// llama.cpp: K-quants to a type of blocks of 32 with no fewer bits (Q4_K to Q5_0, Q6_K to Q8_0), and so I8_G128 to Q8_0; blocks
/// of 32 to F16.
DType recipe_dtype(const QuantRecipe& recipe, const RecipeModel& model, std::string_view name, const Shape& shape);

}  // namespace sluice
