#include <algorithm>

#include "base/mapped_file.h"
#include "weights/convert.h"
#include "weights/llama2c_file.h"

namespace sluice {
namespace {

// A kind of tensor: one per model or one per layer. `name` is GGUF's, below "blk.N." for a layer's.
struct TensorKind {
  const char* name;
  Shape shape;
  bool per_layer;
};

void add_constant(GgufPlan& plan, std::string name, int64_t n, float value) {
  GgufTensor tensor;
  tensor.name = std::move(name);
  tensor.shape = {n};
  tensor.fill = [n, value](int64_t, int64_t, float* out) { std::fill_n(out, n, value); };
  plan.tensors.push_back(std::move(tensor));
}

}  // namespace

std::span<const Llama2cVariantName> llama2c_variants() {
  static constexpr Llama2cVariantName kAll[] = {
      {"llama", "SwiGLU; taken unless another is named", Llama2cVariant::llama},
      {"shifted-relu", "of hongyihuang/llama2.c", Llama2cVariant::shifted_relu},
      {"bitnet", "bitllama2.c, high bits first", Llama2cVariant::bitnet},
      {"bitnet-lsb", "bitllama2.c, low bits first, as its RISC-V model", Llama2cVariant::bitnet_lsb}};
  return kAll;
}

Result<GgufPlan> plan_llama2c(const std::string& path, const std::string& name, const GgufVocab& vocabulary,
                              const QuantRecipe& recipe, Llama2cVariant variant) {
  if (variant == Llama2cVariant::bitnet || variant == Llama2cVariant::bitnet_lsb)
    return plan_bitllama2(path, name, vocabulary, recipe, variant == Llama2cVariant::bitnet_lsb);
  SLUICE_TRY(const std::shared_ptr<MappedFile> file, MappedFile::open(path));
  size_t data_at = 0;
  SLUICE_TRY(const Llama2cHeader h, read_llama2c_header(*file, data_at));

  const TensorKind embedding{"token_embd.weight", {h.vocab, h.dim}, false}, head{"output.weight", {h.vocab, h.dim}, false};
  const TensorKind attn_norm{"attn_norm.weight", {h.dim}, true}, ffn_norm{"ffn_norm.weight", {h.dim}, true};
  const TensorKind norm{"output_norm.weight", {h.dim}, false};
  const TensorKind wq{"attn_q.weight", {h.dim, h.dim}, true}, wk{"attn_k.weight", {h.kv_dim(), h.dim}, true};
  const TensorKind wv{"attn_v.weight", {h.kv_dim(), h.dim}, true}, wo{"attn_output.weight", {h.dim, h.dim}, true};
  const TensorKind w1{"ffn_gate.weight", {h.ffn, h.dim}, true}, w2{"ffn_down.weight", {h.dim, h.ffn}, true};
  const TensorKind w3{"ffn_up.weight", {h.ffn, h.dim}, true};
  std::vector<TensorKind> order;  // as export.py writes them
  if (h.version == 0) order = {embedding, attn_norm, wq, wk, wv, wo, ffn_norm, w1, w2, w3, norm};
  else order = {attn_norm, ffn_norm, norm, embedding, wq, wk, wv, wo, w1, w2, w3};

  GgufPlan plan;
  const RecipeModel model{h.layers, h.tied};
  Llama2cReader in(*file, data_at);
  auto add = [&](const TensorKind& kind) -> Status {
    for (int64_t layer = 0; layer < (kind.per_layer ? h.layers : 1); ++layer) {
      const bool grouped = h.version == 2 && kind.shape.rank == 2;
      SLUICE_TRY(const Llama2cValues values, grouped ? in.groups(kind.shape.elems(), h.group, kind.name)
                                              : in.floats(kind.shape.elems(), kind.name));
      GgufTensor tensor;
      tensor.name = kind.per_layer ? fmt::format("blk.{}.{}", layer, kind.name) : kind.name;
      tensor.shape = kind.shape;
      tensor.dtype = recipe_dtype(recipe, model, tensor.name, kind.shape);
      const int64_t cols = kind.shape[kind.shape.rank - 1];
      tensor.fill = [file, values, cols](int64_t first, int64_t rows, float* out) {
        values.read(first * cols, rows * cols, out);
      };
      plan.tensors.push_back(std::move(tensor));
    }
    return {};
  };
  for (const TensorKind& kind : order) SLUICE_TRY_STATUS(add(kind));
  if (h.version == 0) {  // cos and sin tables, which everybody computes
    SLUICE_TRY([[maybe_unused]] const Llama2cValues tables, in.floats(h.context * h.head_dim(), "freq_cis"));
  }
  if (!h.tied) SLUICE_TRY_STATUS(add(head));
  SLUICE_TRY_STATUS(in.expect_end());

  const bool relu = variant == Llama2cVariant::shifted_relu;
  for (int64_t layer = 0; relu && layer < h.layers; ++layer) {
    add_constant(plan, fmt::format("blk.{}.attn_norm.bias", layer), h.dim, -1);
    add_constant(plan, fmt::format("blk.{}.ffn_norm.bias", layer), h.dim, -1);
    add_constant(plan, fmt::format("blk.{}.ffn_gate.bias", layer), h.ffn, -0.25f);
  }
  auto keys = gguf_model_keys(gguf_hyperparameters(h, relu ? "relullama" : "llama", name), vocabulary, recipe);
  if (!keys.ok()) return keys.error().in(path);
  plan.keys = std::move(keys).value();
  return plan;
}

}  // namespace sluice
