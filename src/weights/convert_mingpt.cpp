// minGPT's state dict (github.com/karpathy/minGPT) as JSON: {"config": {...}, NAME: {"shape": [...], "dtype": "torch.float32",
// "data": base64}}, which llm-viz' sorter of letters comes in. It is a GPT-2 whose linear layers are not transposed and whose head is
// its own.

#include <cstring>

#include "base/base64.h"
#include "base/mapped_file.h"
#include "weights/convert.h"
#include "weights/hf_config.h"

namespace sluice {
namespace {

constexpr size_t kLimitBytes = size_t{1} << 30;
constexpr int kLetters = 26;

struct LayerPart {
  std::string_view gguf, mingpt;  // without ".weight" and ".bias"
  int64_t n, k;                   // k 0: a vector; all have a bias of n
};

/// The values of a tensor, whose shape has to be this one.
Result<std::shared_ptr<const std::string>> values_of(const Metadata& json, const std::string& name, const Shape& shape) {
  const std::vector<int64_t>* const dims = json.integers(name + ".shape");
  if (dims == nullptr) return not_found(fmt::format("{}: tensor {} {} is missing", json.origin(), name, shape.text()));
  bool same = dims->size() == static_cast<size_t>(shape.rank);
  for (size_t i = 0; same && i < dims->size(); ++i) same = (*dims)[i] == shape[static_cast<int>(i)];
  if (!same)
    return corrupt_data(fmt::format("{}: tensor {} has another shape than {}, which the config asks for", json.origin(), name, shape.text()));
  SLUICE_TRY(const std::string dtype, json.string(name + ".dtype"));
  if (dtype != "torch.float32")
    return unsupported(fmt::format("{}: {}.dtype is \"{}\"; torch.float32 is read", json.origin(), name, dtype.substr(0, 100)));
  SLUICE_TRY(const std::string text, json.string(name + ".data"));
  std::optional<std::string> bytes = from_base64(text);
  if (!bytes || bytes->size() != static_cast<size_t>(shape.elems()) * sizeof(float))
    return corrupt_data(fmt::format("{}: {}.data is not the base64 of {} float32 values", json.origin(), name, shape.elems()));
  return std::make_shared<const std::string>(*std::move(bytes));
}

Result<int64_t> setting(const Metadata& json, const char* name, int64_t most) {
  SLUICE_TRY(const int64_t value, json.integer(std::string("config.") + name));
  if (value < 1 || value > most)
    return corrupt_data(fmt::format("{}: config.{} is {}; 1 to {} is possible", json.origin(), name, value, most));
  return value;
}

}  // namespace

Result<GgufPlan> plan_mingpt(const std::string& path, const std::string& name, const QuantRecipe& recipe) {
  SLUICE_TRY(const std::string text, read_file(path, kLimitBytes));
  SLUICE_TRY(const Metadata json, flatten_json(text, path));
  SLUICE_TRY(const int64_t layers, setting(json, "n_layer", 1 << 12));
  SLUICE_TRY(const int64_t heads, setting(json, "n_head", 1 << 12));
  SLUICE_TRY(const int64_t hidden, setting(json, "n_embd", 1 << 20));
  SLUICE_TRY(const int64_t vocab, setting(json, "vocab_size", 1 << 24));
  SLUICE_TRY(const int64_t context, setting(json, "block_size", 1 << 26));
  if (hidden % heads != 0)
    return corrupt_data(fmt::format("{}: config.n_embd is {}; it must be a multiple of config.n_head, {}", path, hidden, heads));
  if (vocab > kLetters)
    return unsupported(fmt::format("{}: config.vocab_size is {}; the file names no tokens, and letters are taken for at most {}", path,
                                   vocab, kLetters));
  GgufPlan plan;
  const auto add = [&](const std::string& gguf, const std::string& from, Shape shape) -> Status {
    SLUICE_TRY(std::shared_ptr<const std::string> bytes, values_of(json, from, shape));
    GgufTensor tensor;
    tensor.name = gguf;
    tensor.shape = shape;
    tensor.dtype = recipe_dtype(recipe, {layers, false}, gguf, shape);
    tensor.fill = [bytes = std::move(bytes), cols = static_cast<size_t>(shape[shape.rank - 1])](int64_t first, int64_t rows, float* out) {
      const size_t row = cols * sizeof(float);
      std::memcpy(out, bytes->data() + static_cast<size_t>(first) * row, static_cast<size_t>(rows) * row);
    };
    plan.tensors.push_back(std::move(tensor));
    return {};
  };
  SLUICE_TRY_STATUS(add("token_embd.weight", "transformer.wte.weight", {vocab, hidden}));
  SLUICE_TRY_STATUS(add("position_embd.weight", "transformer.wpe.weight", {context, hidden}));
  for (int64_t layer = 0; layer < layers; ++layer)
    for (const LayerPart& kind : {LayerPart{"attn_norm", "ln_1", hidden, 0}, {"attn_qkv", "attn.c_attn", 3 * hidden, hidden},
                             {"attn_output", "attn.c_proj", hidden, hidden}, {"ffn_norm", "ln_2", hidden, 0},
                             {"ffn_up", "mlp.c_fc", 4 * hidden, hidden}, {"ffn_down", "mlp.c_proj", hidden, 4 * hidden}}) {
      const std::string to = fmt::format("blk.{}.{}", layer, kind.gguf), from = fmt::format("transformer.h.{}.{}", layer, kind.mingpt);
      SLUICE_TRY_STATUS(add(to + ".weight", from + ".weight", kind.k > 0 ? Shape{kind.n, kind.k} : Shape{kind.n}));
      SLUICE_TRY_STATUS(add(to + ".bias", from + ".bias", {kind.n}));
    }
  SLUICE_TRY_STATUS(add("output_norm.weight", "transformer.ln_f.weight", {hidden}));
  SLUICE_TRY_STATUS(add("output_norm.bias", "transformer.ln_f.bias", {hidden}));
  SLUICE_TRY_STATUS(add("output.weight", "lm_head.weight", {vocab, hidden}));

  const std::string at = "gpt2.";
  std::vector<GgufKey> own;
  own.push_back(GgufKey::u32(at + "block_count", layers));
  own.push_back(GgufKey::u32(at + "context_length", context));
  own.push_back(GgufKey::u32(at + "embedding_length", hidden));
  own.push_back(GgufKey::u32(at + "feed_forward_length", 4 * hidden));
  own.push_back(GgufKey::u32(at + "attention.head_count", heads));
  own.push_back(GgufKey::f32(at + "attention.layer_norm_epsilon", 1e-5));
  GgufVocab letters;  // token 0 is A, as llm-viz shows it
  letters.model = "gpt2";
  for (int64_t i = 0; i < vocab; ++i) letters.tokens.emplace_back(1, static_cast<char>('A' + i));
  letters.token_types.assign(letters.tokens.size(), 1);
  auto keys = gguf_model_keys("gpt2", name, std::move(own), vocab, letters, recipe);
  if (!keys.ok()) return keys.error().in(path);
  plan.keys = std::move(keys).value();
  return plan;
}

}  // namespace sluice
