// bitllama2.c: a Llama trained as BitNet b1.58 (Ma et al. 2024), whose linear layers each norm and round their input. In GGUF it is a
// "bitnet" model. Its norms have no gain and no epsilon, and their result is divided by its length, which becomes the gain.

#include <algorithm>
#include <cstring>

#include "weights/convert.h"
#include "weights/llama2c_file.h"

namespace sluice {
namespace {

constexpr double kNoEpsilon = 1e-30;  // what no mean square comes near, so that a row of zeros still gives zeros
constexpr float kTernary[4] = {0, 1, 0, -1};  // by the 2 bits; 10 is not used

struct Bits {
  const uint8_t* at = nullptr;
  bool low_first = false;
  float operator()(int64_t i) const {
    const int64_t place = low_first ? i % 4 : 3 - i % 4;
    return kTernary[at[i / 4] >> (2 * place) & 3];
  }
};

struct Matrix {
  const char* name;
  int64_t n, k;
  bool rotated;
};

}  // namespace

Result<GgufPlan> plan_bitllama2(const std::string& path, const std::string& name, const GgufVocab& vocabulary,
                                const QuantRecipe& recipe, bool low_bits_first) {
  SLUICE_TRY(const std::shared_ptr<MappedFile> file, MappedFile::open(path));
  size_t data_at = 0;
  SLUICE_TRY(const Llama2cHeader h, read_llama2c_header(*file, data_at));
  if (h.version != 1 || !h.tied || h.dim % 4 != 0 || h.ffn % 4 != 0)
    return unsupported(fmt::format("{}: version {}, {} head, rows of {} and {}; a bitllama2.c model is of version 1, its head is the "
                                   "embedding, and its rows are multiples of 4", path, h.version, h.tied ? "a tied" : "an own", h.dim, h.ffn));
  GgufPlan plan;
  Llama2cReader in(*file, data_at);
  const auto add = [&](std::string tensor_name, Shape shape, DType dtype, std::function<void(int64_t, int64_t, float*)> fill) {
    GgufTensor tensor;
    tensor.name = std::move(tensor_name);
    tensor.shape = shape;
    tensor.dtype = dtype;
    tensor.fill = std::move(fill);
    plan.tensors.push_back(std::move(tensor));
  };
  const auto add_floats = [&](const char* tensor_name, Shape shape) -> Status {
    SLUICE_TRY(const Llama2cValues values, in.floats(shape.elems(), tensor_name));
    const int64_t cols = shape[shape.rank - 1];
    add(tensor_name, shape, recipe_dtype(recipe, {h.layers, h.tied}, tensor_name, shape),
        [file, values, cols](int64_t first, int64_t rows, float* out) { values.read(first * cols, rows * cols, out); });
    return {};
  };
  SLUICE_TRY_STATUS(add_floats("output_norm.weight", {h.dim}));
  SLUICE_TRY_STATUS(add_floats("token_embd.weight", {h.vocab, h.dim}));
  for (const Matrix& m : {Matrix{"attn_q", h.dim, h.dim, true}, {"attn_k", h.kv_dim(), h.dim, true}, {"attn_v", h.kv_dim(), h.dim, false},
                          {"attn_output", h.dim, h.dim, false}, {"ffn_gate", h.ffn, h.dim, false}, {"ffn_down", h.dim, h.ffn, false},
                          {"ffn_up", h.ffn, h.dim, false}})
    for (int64_t layer = 0; layer < h.layers; ++layer) {
      const std::string key = fmt::format("blk.{}.{}", layer, m.name);
      SLUICE_TRY(const Llama2cValues scale, in.floats(1, m.name));
      SLUICE_TRY(const uint8_t* at, in.take(m.n * m.k / 4, 1, m.name));
      // The file's rows of q and k are in interleaved rope order, a bitnet GGUF's in half order.
      const int64_t head = m.rotated ? h.head_dim() : 0;
      add(key + ".weight", {m.n, m.k}, m.k % dtype_info(DType::tq2_0).block_elems == 0 ? DType::tq2_0 : DType::f16,
          [file, bits = Bits{at, low_bits_first}, cols = m.k, head](int64_t first, int64_t rows, float* out) {
            for (int64_t r = first; r < first + rows; ++r) {
              const int64_t in_head = head > 0 ? r % head : 0;
              const int64_t from = head == 0 ? r : r - in_head + (in_head < head / 2 ? 2 * in_head : 2 * in_head - head + 1);
              for (int64_t c = 0; c < cols; ++c) *out++ = bits(from * cols + c);
            }
          });
      add(key + ".scale", {1}, DType::f32, [file, scale](int64_t first, int64_t count, float* out) { scale.read(first, count, out); });
    }
  SLUICE_TRY_STATUS(in.expect_end());
  for (int64_t layer = 0; layer < h.layers; ++layer)
    for (const auto& [norm, width] : {std::pair{"attn_norm", h.dim}, {"attn_sub_norm", h.dim}, {"ffn_norm", h.dim}, {"ffn_sub_norm", h.ffn}})
      add(fmt::format("blk.{}.{}.weight", layer, norm), {width}, DType::f32,
          [n = width](int64_t, int64_t, float* out) { std::fill_n(out, n, 1 / static_cast<float>(n)); });

  auto keys = gguf_model_keys(gguf_hyperparameters(h, "bitnet", name), vocabulary, recipe);
  if (!keys.ok()) return keys.error().in(path);
  plan.keys = std::move(keys).value();
  plan.keys.push_back(GgufKey::f32("bitnet.attention.linear_norm_rms_epsilon", kNoEpsilon));
  return plan;
}

}  // namespace sluice
