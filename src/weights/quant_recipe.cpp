#include "weights/quant_recipe.h"

#include <charconv>

namespace sluice {
namespace {

constexpr QuantRecipe kRecipes[] = {
    {"f32", DType::f32, false, 0},        {"f16", DType::f16, false, 1},        {"bf16", DType::bf16, false, 32},
    {"q8_0", DType::q8_0, false, 7},      {"q4_0", DType::q4_0, false, 2},      {"q4_1", DType::q4_1, false, 3},
    {"q5_0", DType::q5_0, false, 8},      {"q5_1", DType::q5_1, false, 9},      {"q2_k", DType::q2_k, false, 21},
    {"q3_k", DType::q3_k, false, 11},     {"q4_k", DType::q4_k, false, 14},     {"q4_k_m", DType::q4_k, true, 15},
    {"q5_k", DType::q5_k, false, 16},     {"q5_k_m", DType::q5_k, true, 17},    {"q6_k", DType::q6_k, false, 18},
    {"iq4_nl", DType::iq4_nl, false, 25}, {"iq4_xs", DType::iq4_xs, false, 30}, {"mxfp4", DType::mxfp4, false, 38},
    {"tq1_0", DType::tq1_0, false, 36},   {"tq2_0", DType::tq2_0, false, 37},
    {"i8_g128", DType::i8_g128, false, 1024},  // llama.cpp's number where no type is known
};

// The first and last eighth of the layers, and every third between: llama.cpp's choice of layers worth more bits.
bool deserves_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

DType smaller_blocks(DType dtype) {
  switch (dtype) {
    case DType::q2_k: case DType::q3_k: case DType::iq4_xs: return DType::iq4_nl;
    case DType::tq1_0: case DType::tq2_0: return DType::q4_0;
    case DType::q4_k: return DType::q5_0;
    case DType::q5_k: return DType::q5_1;
    default: return DType::q8_0;
  }
}

bool precious(const RecipeModel& model, std::string_view name) {
  if (name == "output.weight") return true;
  if (name == "token_embd.weight") return model.tied_head;
  if (!name.starts_with("blk.") || !(name.ends_with(".attn_v.weight") || name.ends_with(".ffn_down.weight")))
    return false;
  int64_t layer = 0;
  std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return deserves_more_bits(layer, model.layers);
}

}  // namespace

std::span<const QuantRecipe> quant_recipes() { return kRecipes; }

Result<const QuantRecipe*> find_quant_recipe(std::string_view name) {
  std::string names, lower(name);  // llama.cpp writes Q4_K_M
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (const auto& recipe : kRecipes) {
    if (recipe.name == lower) return &recipe;
    names += (names.empty() ? "" : ", ") + std::string(recipe.name);
  }
  return invalid_argument(fmt::format("unknown weight type \"{}\"; known are {}", name, names), "type");
}

bool holds_matrices(std::string_view name, const Shape& shape) {
  constexpr int64_t kFewestColumns = 16;
  if (shape.rank < 2 || shape[shape.rank - 1] < kFewestColumns || name.ends_with("bias") || name.find("norm") != name.npos) return false;
  // Stacks of matrices are called by their part alone in some layouts; what is called so and is none is a vector for each head or channel.
  return shape.rank > 2 ? shape[shape.rank - 2] > 1 : name.ends_with("weight");
}

DType recipe_dtype(const QuantRecipe& recipe, const RecipeModel& model, std::string_view name, const Shape& shape) {
  // Tables that are added to the embedding are small, and llama.cpp reads them as floats.
  if (!holds_matrices(name, shape) || name == "position_embd.weight" || name == "token_types.weight") return DType::f32;
  DType dtype = recipe.mixture && precious(model, name) ? DType::q6_k : recipe.matrix;
  const int64_t cols = shape[shape.rank - 1];
  if (const int elems = dtype_info(dtype).block_elems; elems > 32 && cols % elems != 0) dtype = smaller_blocks(dtype);
  if (dtype_info(dtype).block_elems == 32 && cols % 32 != 0) dtype = DType::f16;
  return dtype;
}

}  // namespace sluice
