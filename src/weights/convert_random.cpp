#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "quant/weight/weight_format.h"
#include "weights/convert.h"

namespace sluice {
namespace {

constexpr RandomShape kShapes[] = {
    // name, arch, hidden, ffn, layers, heads, kv_heads, head_dim, vocab, context, rope_theta, norm_eps, tied, llama3
    // factor
    {"llama-3.2-1b", "llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, 5e5, 1e-5, true, 32},
    {"llama-3.2-3b", "llama", 3072, 8192, 28, 24, 8, 128, 128256, 131072, 5e5, 1e-5, true, 32},
    {"llama-3.1-8b", "llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, 5e5, 1e-5, false, 8},
    {"llama-2-7b", "llama", 4096, 11008, 32, 32, 32, 128, 32000, 4096, 1e4, 1e-5, false, 0},
    {"mistral-7b", "llama", 4096, 14336, 32, 32, 8, 128, 32768, 32768, 1e6, 1e-5, false, 0},
    {"qwen2.5-0.5b", "qwen2", 896, 4864, 24, 14, 2, 64, 151936, 32768, 1e6, 1e-6, true, 0},
    {"qwen2.5-1.5b", "qwen2", 1536, 8960, 28, 12, 2, 128, 151936, 32768, 1e6, 1e-6, true, 0},
    {"qwen2.5-7b", "qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 32768, 1e6, 1e-6, false, 0},
    {"qwen3-0.6b", "qwen3", 1024, 3072, 28, 16, 8, 128, 151936, 40960, 1e6, 1e-6, true, 0},
    {"qwen3-1.7b", "qwen3", 2048, 6144, 28, 16, 8, 128, 151936, 40960, 1e6, 1e-6, true, 0},
    {"tiny-llama", "llama", 64, 192, 2, 4, 2, 16, 512, 512, 1e4, 1e-5, false, 0},
    {"tiny-llama3", "llama", 256, 256, 2, 4, 1, 64, 512, 4096, 5e5, 1e-5, true, 8},
    {"tiny-llama-deep", "llama", 256, 768, 12, 4, 2, 64, 512, 4096, 1e4, 1e-5, true, 0},
    {"tiny-qwen2", "qwen2", 96, 160, 2, 6, 2, 16, 512, 512, 1e6, 1e-6, true, 0},
    {"tiny-qwen3", "qwen3", 64, 192, 2, 4, 4, 32, 512, 512, 1e6, 1e-6, true, 0},
};

constexpr const char* kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ull;

uint64_t mix(uint64_t x) {  // splitmix64's finalizer (Steele, Lea, Flood, OOPSLA 2014)
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// A row is put together from a stock of random pieces, so that the slow search of the block formats runs once over the
// stock and not over billions of values. The pieces are the same for every type, so that a seed means the same model.
class Stock {
 public:
  static constexpr int kBits = 18;  // 2^18 values

  Stock(uint64_t seed, DType dtype, float deviation) : seed_(seed), dtype_(dtype), deviation_(deviation) {}

  void fill(uint64_t key, int64_t first_row, int64_t rows, int64_t cols, uint8_t* out) {
    std::call_once(filled_, [this] { fill_stock(); });
    const int64_t piece = piece_values(cols);
    const int shift = 64 - kBits + std::countr_zero(static_cast<uint64_t>(piece));
    const size_t piece_bytes = row_bytes(dtype_, piece);
    for (int64_t r = 0; r < rows; ++r) {
      uint64_t state = mix(key ^ mix(static_cast<uint64_t>(first_row + r)));
      for (int64_t c = 0; c < cols; c += piece, out += piece_bytes) {
        state += kGolden;
        std::memcpy(out, encoded_.data() + (mix(state) >> shift) * piece_bytes, piece_bytes);
      }
    }
  }

 private:
  static int64_t piece_values(int64_t cols) { return cols % 256 == 0 ? 256 : cols % 32 == 0 ? 32 : 1; }

  // About normal: the sum of four uniform 16-bit numbers, which one step of splitmix64 gives.
  void fill_stock() {
    constexpr int64_t kValues = int64_t{1} << kBits;
    const float scale = deviation_ / std::sqrt(4.0f / 12.0f) / 65536.0f;
    std::vector<float> values;
    uint64_t state = mix(seed_);
    for (int64_t i = 0; i < kValues; ++i) {
      const uint64_t w = mix(state += kGolden);
      const auto sum = static_cast<int32_t>((w & 0xffff) + ((w >> 16) & 0xffff) + ((w >> 32) & 0xffff) + (w >> 48));
      values.push_back(static_cast<float>(sum - 131070) * scale);
    }
    encoded_.resize(row_bytes(dtype_, kValues));
    weight_format(dtype_)->encode(values.data(), encoded_.data(), kValues);
  }

  uint64_t seed_;
  DType dtype_;
  float deviation_;
  std::once_flag filled_;
  std::vector<uint8_t> encoded_;
};

std::string utf8(uint32_t code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// The 256 byte tokens of GPT-2's alphabet in their usual order, then fillers, then ChatML's control tokens. One merge,
// since some loaders refuse an empty list.
GgufVocab synthetic_vocabulary(int64_t size) {
  GgufVocab v;
  v.model = "gpt2";
  v.pre = "gpt-2";
  auto printable = [](uint32_t b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  for (uint32_t b = 0; b < 256; ++b)
    if (printable(b)) v.tokens.push_back(utf8(b));
  for (uint32_t n = 0; n < 68; ++n) v.tokens.push_back(utf8(256 + n));  // the other bytes, as GPT-2 spells them
  const std::string space = utf8(0x120);
  v.tokens.push_back(space + "w");
  v.merges = {space + " w"};
  constexpr int64_t kControls = 3;
  for (int64_t n = 0; static_cast<int64_t>(v.tokens.size()) < size - kControls; ++n)
    v.tokens.push_back(fmt::format("{}w{}", space, n));
  v.token_types.assign(v.tokens.size(), 1);
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    v.tokens.emplace_back(control);
    v.token_types.push_back(3);
  }
  const auto last = static_cast<TokenId>(size - 1);
  v.bos = last - 2;
  v.pad = last - 2;
  v.eos = last;
  v.eot = last;
  v.add_bos = false;
  v.chat_templates["default"] = kChatMl;
  return v;
}

class Planner {
 public:
  Planner(const RandomShape& shape, uint64_t seed, const QuantRecipe& recipe, std::vector<GgufTensor>& tensors)
      : model_{shape.layers, shape.tied_head}, seed_(seed), recipe_(recipe), tensors_(tensors) {}

  void matrix(const std::string& name, int64_t n, int64_t k) {
    add(name, {n, k}, 1.0f / std::sqrt(static_cast<float>(k)));
  }
  void bias(const std::string& name, int64_t n) { add(name, {n}, 0.02f); }
  void values(const std::string& name, std::vector<float> values) {
    GgufTensor tensor{name, {static_cast<int64_t>(values.size())}, DType::f32, {}, {}};
    tensor.fill = [values = std::move(values)](int64_t, int64_t, float* out) {
      std::copy(values.begin(), values.end(), out);
    };
    tensors_.push_back(std::move(tensor));
  }
  void gain(const std::string& name, int64_t n) { values(name, std::vector<float>(static_cast<size_t>(n), 1.0f)); }

 private:
  void add(const std::string& name, const Shape& shape, float deviation) {
    GgufTensor tensor{name, shape, recipe_dtype(recipe_, model_, name, shape), {}, {}};
    const uint64_t key = mix(seed_ + kGolden * (tensors_.size() + 1));
    auto& stock = stocks_[{tensor.dtype, deviation}];
    if (stock == nullptr) stock = std::make_shared<Stock>(seed_, tensor.dtype, deviation);
    tensor.fill_encoded = [stock, key, cols = shape[shape.rank - 1]](int64_t first, int64_t rows, uint8_t* out) {
      stock->fill(key, first, rows, cols, out);
    };
    tensors_.push_back(std::move(tensor));
  }

  RecipeModel model_;
  uint64_t seed_;
  const QuantRecipe& recipe_;
  std::vector<GgufTensor>& tensors_;
  std::map<std::pair<DType, float>, std::shared_ptr<Stock>> stocks_;
};

}  // namespace

std::span<const RandomShape> random_shapes() { return kShapes; }

Result<GgufPlan> plan_random(std::string_view like, uint64_t seed, const QuantRecipe& recipe) {
  const RandomShape* shape = nullptr;
  std::string names;
  for (const auto& s : kShapes) {
    if (s.name == like) shape = &s;
    names += (names.empty() ? "" : ", ") + std::string(s.name);
  }
  if (shape == nullptr)
    return invalid_argument(fmt::format("no shape is called \"{}\"; known are {}", like, names), "like");

  const RandomShape& s = *shape;
  GgufHyperparameters p;
  p.arch = s.arch;
  p.name = fmt::format("random {} (seed {})", s.name, seed);
  p.layers = s.layers;
  p.context = s.context;
  p.hidden = s.hidden;
  p.ffn = s.ffn;
  p.heads = s.heads;
  p.kv_heads = s.kv_heads;
  p.head_dim = s.head_dim;
  p.vocab = s.vocab;
  p.norm_eps = s.norm_eps;
  p.rope_theta = s.rope_theta;
  GgufPlan plan;
  SLUICE_TRY(plan.keys, gguf_model_keys(p, synthetic_vocabulary(s.vocab), recipe));

  Planner add(s, seed, recipe, plan.tensors);
  const int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
  add.matrix("token_embd.weight", s.vocab, s.hidden);
  if (s.llama3_factor > 0)
    add.values("rope_freqs.weight", llama3_rope_factors(s.head_dim, s.rope_theta, s.llama3_factor, 1, 4, 8192));
  for (int64_t layer = 0; layer < s.layers; ++layer) {
    const std::string at = fmt::format("blk.{}.", layer);
    add.gain(at + "attn_norm.weight", s.hidden);
    add.matrix(at + "attn_q.weight", q, s.hidden);
    add.matrix(at + "attn_k.weight", kv, s.hidden);
    add.matrix(at + "attn_v.weight", kv, s.hidden);
    if (s.arch == "qwen2") {
      add.bias(at + "attn_q.bias", q);
      add.bias(at + "attn_k.bias", kv);
      add.bias(at + "attn_v.bias", kv);
    }
    if (s.arch == "qwen3") {
      add.gain(at + "attn_q_norm.weight", s.head_dim);
      add.gain(at + "attn_k_norm.weight", s.head_dim);
    }
    add.matrix(at + "attn_output.weight", s.hidden, q);
    add.gain(at + "ffn_norm.weight", s.hidden);
    add.matrix(at + "ffn_gate.weight", s.ffn, s.hidden);
    add.matrix(at + "ffn_up.weight", s.ffn, s.hidden);
    add.matrix(at + "ffn_down.weight", s.hidden, s.ffn);
  }
  add.gain("output_norm.weight", s.hidden);
  if (!s.tied_head) add.matrix("output.weight", s.vocab, s.hidden);
  return plan;
}

}  // namespace sluice
