#include <cstdlib>
#include <cstring>

#include "base/mapped_file.h"
#include "weights/convert.h"

namespace sluice {
namespace {

constexpr uint32_t kMagic = 0x616b3432;  // "ak42", from version 1 on
constexpr size_t kHeaderBytes = 256;     // of version 1 and 2

struct Header {
  int version = 0;
  int64_t dim = 0, ffn = 0, layers = 0, heads = 0, kv_heads = 0, vocab = 0, context = 0;
  bool tied = true;
  int64_t group = 0;  // version 2: values that share a scale
  int64_t head_dim() const { return dim / heads; }
  int64_t kv_dim() const { return kv_heads * head_dim(); }
};

// Where one tensor's values stand: float32, or int8 followed by one float32 scale per group.
struct Values {
  const uint8_t* at = nullptr;
  const uint8_t* scales = nullptr;  // null: float32
  int64_t group = 0;

  void read(int64_t first, int64_t count, float* out) const {
    if (scales == nullptr) {
      std::memcpy(out, at + first * 4, static_cast<size_t>(count) * 4);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      float scale = 0;
      std::memcpy(&scale, scales + (first + i) / group * 4, 4);
      out[i] = static_cast<float>(static_cast<int8_t>(at[first + i])) * scale;
    }
  }
};

class Reader {
 public:
  Reader(const MappedFile& file, size_t at) : file_(file), at_(at) {}

  Result<Values> floats(int64_t count, const char* what) {
    SLUICE_TRY(const uint8_t* at, take(count, 4, what));
    return Values{at, nullptr, 0};
  }
  Result<Values> groups(int64_t count, int64_t group, const char* what) {
    if (count % group != 0)
      return corrupt_data(
          fmt::format("{}: {} has {} values, no multiple of the group size {}", file_.path(), what, count, group));
    SLUICE_TRY(const uint8_t* at, take(count, 1, what));
    SLUICE_TRY(const uint8_t* scales, take(count / group, 4, what));
    return Values{at, scales, group};
  }
  Status expect_end() const {
    if (at_ == file_.bytes().size()) return {};
    return corrupt_data(fmt::format("{}: the header describes {} bytes, but the file has {}", file_.path(), at_,
                                    file_.bytes().size()));
  }

 private:
  Result<const uint8_t*> take(int64_t count, size_t width, const char* what) {
    const size_t left = file_.bytes().size() - at_;
    if (static_cast<size_t>(count) > left / width)
      return corrupt_data(fmt::format("{}: byte {}: {} needs {} values of {} bytes, but the file ends after {}",
                                      file_.path(), at_, what, count, width, left));
    const uint8_t* data = file_.bytes().data() + at_;
    at_ += static_cast<size_t>(count) * width;
    return data;
  }
  const MappedFile& file_;
  size_t at_;
};

Result<Header> read_header(const MappedFile& file, size_t& data_at) {
  const auto bytes = file.bytes();
  auto word = [&](size_t i) {
    int32_t value = 0;
    std::memcpy(&value, bytes.data() + i * 4, 4);
    return value;
  };
  constexpr size_t kWords = 7;
  if (bytes.size() < kWords * 4)
    return corrupt_data(fmt::format("{}: byte 0: the header needs {} bytes, but the file has {}", file.path(),
                                    kWords * 4, bytes.size()));
  Header h;
  size_t first = 0;
  if (static_cast<uint32_t>(word(0)) == kMagic) {
    h.version = word(1);
    if (h.version != 1 && h.version != 2)
      return unsupported(
          fmt::format("{}: byte 4: llama2.c version {}; versions 0, 1 and 2 are read", file.path(), h.version));
    if (bytes.size() < kHeaderBytes)
      return corrupt_data(
          fmt::format("{}: the header needs {} bytes, but the file has {}", file.path(), kHeaderBytes, bytes.size()));
    first = 2;
  }
  h.dim = word(first);
  h.ffn = word(first + 1);
  h.layers = word(first + 2);
  h.heads = word(first + 3);
  h.kv_heads = word(first + 4);
  h.vocab = word(first + 5);
  h.context = word(first + 6);
  if (h.version == 0) {
    h.tied = h.vocab > 0;  // a negative vocabulary size says that the classifier has weights of its own
    h.vocab = std::abs(h.vocab);
  } else {
    h.tied = bytes[9 * 4] != 0;
    if (h.version == 2) std::memcpy(&h.group, bytes.data() + 9 * 4 + 1, 4);
  }
  struct Field { const char* name; int64_t value, most; };
  for (const Field& f : {Field{"dim", h.dim, 1 << 20}, {"hidden_dim", h.ffn, 1 << 22}, {"n_layers", h.layers, 1 << 12},
                         {"n_heads", h.heads, 1 << 12}, {"n_kv_heads", h.kv_heads, 1 << 12},
                         {"vocab_size", h.vocab, 1 << 24}, {"seq_len", h.context, 1 << 26}})
    if (f.value < 1 || f.value > f.most)
      return corrupt_data(fmt::format("{}: header field {} is {}; 1 to {} is possible (is this a llama2.c model?)",
                                      file.path(), f.name, f.value, f.most));
  if (h.dim % h.heads != 0 || h.heads % h.kv_heads != 0 || h.head_dim() % 2 != 0)
    return corrupt_data(fmt::format("{}: dim {}, n_heads {} and n_kv_heads {} do not divide into even heads",
                                    file.path(), h.dim, h.heads, h.kv_heads));
  if (h.version == 2 && (h.group < 1 || h.group > h.dim))
    return corrupt_data(
        fmt::format("{}: byte 37: a group size of {}; 1 to dim ({}) is possible", file.path(), h.group, h.dim));
  data_at = h.version == 0 ? kWords * 4 : kHeaderBytes;
  return h;
}

// A kind of tensor: one per model or one per layer. `name` is GGUF's, below "blk.N." for a layer's.
struct Kind {
  const char* name;
  Shape shape;
  bool per_layer;
};

}  // namespace

Result<GgufPlan> plan_llama2c(const std::string& path, const std::string& name, const GgufVocab& vocabulary,
                              const QuantRecipe& recipe) {
  SLUICE_TRY(const std::shared_ptr<MappedFile> file, MappedFile::open(path));
  size_t data_at = 0;
  SLUICE_TRY(const Header h, read_header(*file, data_at));

  const Kind embedding{"token_embd.weight", {h.vocab, h.dim}, false}, head{"output.weight", {h.vocab, h.dim}, false};
  const Kind attn_norm{"attn_norm.weight", {h.dim}, true}, ffn_norm{"ffn_norm.weight", {h.dim}, true};
  const Kind norm{"output_norm.weight", {h.dim}, false};
  const Kind wq{"attn_q.weight", {h.dim, h.dim}, true}, wk{"attn_k.weight", {h.kv_dim(), h.dim}, true};
  const Kind wv{"attn_v.weight", {h.kv_dim(), h.dim}, true}, wo{"attn_output.weight", {h.dim, h.dim}, true};
  const Kind w1{"ffn_gate.weight", {h.ffn, h.dim}, true}, w2{"ffn_down.weight", {h.dim, h.ffn}, true};
  const Kind w3{"ffn_up.weight", {h.ffn, h.dim}, true};
  std::vector<Kind> order;  // as export.py writes them
  if (h.version == 0) order = {embedding, attn_norm, wq, wk, wv, wo, ffn_norm, w1, w2, w3, norm};
  else order = {attn_norm, ffn_norm, norm, embedding, wq, wk, wv, wo, w1, w2, w3};

  GgufPlan plan;
  const RecipeModel model{h.layers, h.tied};
  Reader in(*file, data_at);
  auto add = [&](const Kind& kind) -> Status {
    for (int64_t layer = 0; layer < (kind.per_layer ? h.layers : 1); ++layer) {
      const bool grouped = h.version == 2 && kind.shape.rank == 2;
      SLUICE_TRY(const Values values, grouped ? in.groups(kind.shape.elems(), h.group, kind.name)
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
  for (const Kind& kind : order) SLUICE_TRY_STATUS(add(kind));
  if (h.version == 0) {  // cos and sin tables, which everybody computes
    SLUICE_TRY([[maybe_unused]] const Values tables, in.floats(h.context * h.head_dim(), "freq_cis"));
  }
  if (!h.tied) SLUICE_TRY_STATUS(add(head));
  SLUICE_TRY_STATUS(in.expect_end());

  GgufHyperparameters p;
  p.arch = "llama";
  p.name = name;
  p.layers = h.layers;
  p.context = h.context;
  p.hidden = h.dim;
  p.ffn = h.ffn;
  p.heads = h.heads;
  p.kv_heads = h.kv_heads;
  p.head_dim = h.head_dim();
  p.vocab = h.vocab;
  auto keys = gguf_model_keys(p, vocabulary, recipe);
  if (!keys.ok()) return keys.error().in(path);
  plan.keys = std::move(keys).value();
  return plan;
}

}  // namespace sluice
