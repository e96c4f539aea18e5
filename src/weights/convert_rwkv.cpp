// rwkv.cpp's models. RWKV 7 becomes the GGUF that others make of it; of RWKV 5 (5.2, "Eagle") nobody else makes one, so that "rwkv5" is
// our own, of what "rwkv6" and it have in common. The file holds some tensors as rwkv.cpp computes with them: RWKV 5's decays are
// exp(-exp(decay)) there.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "quant/weight/weight_format.h"
#include "weights/convert.h"
#include "weights/rwkv_file.h"

namespace sluice {
namespace {

constexpr int64_t kBytes = 256;
constexpr int64_t kPositions = 1 << 20;  // a state has no last one

using Change = float (*)(float);
float decay_of_factor(float factor) { return std::clamp(std::log(-std::log(factor)), -80.0f, 5.0f); }

/// Moves tensors into the plan, and notes which.
struct Mover {
  const RwkvFile& from;
  const QuantRecipe& recipe;
  GgufPlan plan = {};
  std::set<std::string, std::less<>> moved = {};

  const std::string& path() const { return from.file->path(); }
  Result<const RwkvTensor*> find(const std::string& name) const {
    const auto at = from.tensors.find(name);
    if (at == from.tensors.end()) return not_found(fmt::format("{}: tensor {} is missing", path(), name));
    return &at->second;
  }
  /// The tensor as decoded rows, or as the bytes that they are; float32 where it is a `vector`, whatever its dimensions.
  Status move(const std::string& name, const std::string& to, const Shape& shape, bool vector, Change change = nullptr) {
    SLUICE_TRY(const RwkvTensor* tensor, find(name));
    if (vector ? tensor->shape.elems() != shape.elems() : !(tensor->shape == shape))
      return corrupt_data(fmt::format("{}: tensor {} has shape {}; it must be {}", path(), name, tensor->shape.text(), shape.text()));
    moved.insert(name);
    GgufTensor out;
    out.name = to;
    out.shape = shape;
    out.dtype = vector ? DType::f32 : recipe_dtype(recipe, {from.layers, false}, to, shape);
    const WeightFormat& format = *weight_format(tensor->dtype);
    const int64_t columns = shape[shape.rank - 1];
    if (columns % format.block_elems != 0)
      return unsupported(fmt::format("{}: tensor {} is of type {}, whose blocks do not divide rows of {}", path(), name, format.name, columns));
    const size_t row = row_bytes(tensor->dtype, columns);
    const auto bytes = [file = from.file, data = tensor->data, row](int64_t first, int64_t rows, uint8_t* at) {
      std::memcpy(at, data + static_cast<size_t>(first) * row, static_cast<size_t>(rows) * row);
    };
    if (out.dtype == tensor->dtype && change == nullptr) out.fill_encoded = bytes;
    else
      out.fill = [bytes, row, columns, change, decode = format.decode](int64_t first, int64_t rows, float* at) {
        std::vector<uint8_t> encoded(static_cast<size_t>(rows) * row);
        bytes(first, rows, encoded.data());
        decode(encoded.data(), at, rows * columns);
        for (int64_t i = 0; change != nullptr && i < rows * columns; ++i) at[i] = change(at[i]);
      };
    plan.tensors.push_back(std::move(out));
    return {};
  }
  Status vector(const std::string& name, const std::string& to, const Shape& shape) { return move(name, to, shape, true); }
  Status norm(const std::string& name, const std::string& to) {
    for (const char* part : {".weight", ".bias"}) SLUICE_TRY_STATUS(vector(name + part, to + part, {from.hidden}));
    return {};
  }
  Status matrix(const std::string& name, const std::string& to, int64_t n, int64_t k) { return move(name, to + ".weight", {n, k}, false); }
  Status everything_moved() const {
    for (const auto& [name, tensor] : from.tensors)
      if (!moved.contains(name)) return unsupported(fmt::format("{}: tensor {} {} is of no model that is read", path(), name, tensor.shape.text()));
    return {};
  }
};

Status move_block_5(Mover& mover, const std::string& block, const std::string& to) {
  const int64_t hidden = mover.from.hidden;
  const std::string time = block + "att.", channel = block + "ffn.", decay = time + "time_decay";
  SLUICE_TRY(const RwkvTensor* factors, mover.find(decay));
  std::vector<float> values(static_cast<size_t>(factors->shape.elems()));
  weight_format(factors->dtype)->decode(factors->data, values.data(), factors->shape.elems());
  for (const float factor : values)
    if (!(factor >= 0 && factor <= 1)) return corrupt_data(fmt::format("{}: tensor {} has {}; factors from 0 to 1 are possible", mover.path(), decay, factor));
  SLUICE_TRY_STATUS(mover.move(decay, to + "time_mix_decay.weight", {hidden}, true, decay_of_factor));
  SLUICE_TRY_STATUS(mover.vector(time + "time_faaaa", to + "time_mix_first.weight", {hidden}));
  for (const char* letter : {"k", "v", "r", "g"})
    SLUICE_TRY_STATUS(mover.vector(time + "time_mix_" + letter, fmt::format("{}time_mix_lerp_{}.weight", to, letter), {hidden}));
  SLUICE_TRY_STATUS(mover.matrix(time + "gate.weight", to + "time_mix_gate", hidden, hidden));
  for (const char* letter : {"k", "r"})
    SLUICE_TRY_STATUS(mover.vector(channel + "time_mix_" + letter, fmt::format("{}channel_mix_lerp_{}.weight", to, letter), {hidden}));
  return mover.matrix(channel + "receptance.weight", to + "channel_mix_receptance", hidden, hidden);
}

struct Ranks {
  int64_t decay = 0, rate = 0, value = 0, gate = 0;
};

Status move_block_7(Mover& mover, int64_t layer, const std::string& block, const std::string& to, const Ranks& ranks) {
  const int64_t hidden = mover.from.hidden;
  const std::string time = block + "att.", mix = to + "time_mix_";
  SLUICE_TRY_STATUS(mover.vector(time + "x_rwkvag", mix + "lerp_fused.weight", {6, 1, 1, hidden}));
  for (const auto& [letter, rank] : {std::pair{"w", ranks.decay}, {"a", ranks.rate}, {"v", ranks.value}, {"g", ranks.gate}}) {
    if (*letter == 'v' && layer == 0) continue;  // which has nobody's values to take
    SLUICE_TRY_STATUS(mover.matrix(time + letter + "1", mix + letter + "1", rank, hidden));
    SLUICE_TRY_STATUS(mover.matrix(time + letter + "2", mix + letter + "2", hidden, rank));
    if (*letter != 'g') SLUICE_TRY_STATUS(mover.vector(time + letter + "0", mix + letter + "0.weight", {hidden}));
  }
  for (const char* name : {"k_k", "k_a", "r_k"}) SLUICE_TRY_STATUS(mover.vector(time + name, mix + name + ".weight", {hidden}));
  return mover.vector(block + "ffn.x_k", to + "channel_mix_lerp_k.weight", {hidden});
}

/// The version that the tensors of the first block are of.
Result<int> version_of(const RwkvFile& file) {
  const auto has = [&](const char* name) { return file.tensors.contains(std::string("blocks.0.att.") + name); };
  if (has("r_k")) return 7;
  if (!has("time_maa_x") && has("gate.weight")) return 5;
  return unsupported(fmt::format("{}: a model of RWKV {}; of rwkv.cpp's files those of RWKV 5.2 and 7 are read", file.file->path(),
                                 has("time_maa_x") ? "6" : has("ln_x.weight") ? "5.1" : "4, or of none"));
}

GgufVocab bytes_as_tokens() {
  GgufVocab bytes;
  bytes.model = "rwkv";
  for (int b = 0; b < kBytes; ++b) bytes.tokens.push_back(fmt::format("\\x{:02x}", b));
  bytes.token_types.assign(bytes.tokens.size(), 1);
  return bytes;
}

}  // namespace

Result<GgufPlan> plan_rwkv(const std::string& path, const std::string& name, const GgufVocab* vocabulary, const QuantRecipe& recipe) {
  SLUICE_TRY(const RwkvFile file, read_rwkv_file(path));
  if (vocabulary == nullptr && file.vocab != kBytes)
    return invalid_argument(fmt::format("{}: a model of {} tokens needs the directory of its tokenizer (rwkv_vocab_*.txt or tokenizer.json): "
                                        "--tokenizer; only one of {} needs none, whose tokens are bytes", path, file.vocab, kBytes), "--tokenizer");
  SLUICE_TRY(const int version, version_of(file));
  const int64_t hidden = file.hidden;
  Mover mover{file, recipe};
  // What the file's sizes do not say, its tensors do.
  const std::string last = fmt::format("blocks.{}.att.", file.layers - 1);
  const auto dim = [&](const std::string& tensor_name, int which) -> Result<int64_t> {
    SLUICE_TRY(const RwkvTensor* tensor, mover.find(tensor_name));
    return tensor->shape[which];
  };
  SLUICE_TRY(const int64_t ffn, dim("blocks.0.ffn.key.weight", 0));
  SLUICE_TRY(const RwkvTensor* by_head, mover.find(version == 7 ? "blocks.0.att.r_k" : "blocks.0.att.time_decay"));
  const int64_t heads = by_head->shape[0];
  if (by_head->shape.rank < 2 || hidden % heads != 0)
    return corrupt_data(fmt::format("{}: {} heads, as the shape of {} has it, do not divide the width, {}", path, heads,
                                    version == 7 ? "r_k" : "time_decay", hidden));
  Ranks ranks;
  if (version == 7)
    for (const auto& [letter, rank] : {std::pair{"w1", &ranks.decay}, {"a1", &ranks.rate}, {"v1", &ranks.value}, {"g1", &ranks.gate}}) {
      if (*letter == 'v' && file.layers == 1) continue;
      SLUICE_TRY(*rank, dim(last + letter, 0));
    }

  SLUICE_TRY_STATUS(mover.matrix("emb.weight", "token_embd", file.vocab, hidden));
  SLUICE_TRY_STATUS(mover.norm("blocks.0.ln0", "token_embd_norm"));
  for (int64_t layer = 0; layer < file.layers; ++layer) {
    const std::string block = fmt::format("blocks.{}.", layer), to = fmt::format("blk.{}.", layer);
    SLUICE_TRY_STATUS(mover.norm(block + "ln1", to + "attn_norm"));
    SLUICE_TRY_STATUS(mover.norm(block + "ln2", to + "attn_norm_2"));
    SLUICE_TRY_STATUS(mover.norm(block + "att.ln_x", to + "time_mix_ln"));
    for (const char* part : {"key", "value", "receptance", "output"})
      SLUICE_TRY_STATUS(mover.matrix(fmt::format("{}att.{}.weight", block, part), fmt::format("{}time_mix_{}", to, part), hidden, hidden));
    SLUICE_TRY_STATUS(mover.matrix(block + "ffn.key.weight", to + "channel_mix_key", ffn, hidden));
    SLUICE_TRY_STATUS(mover.matrix(block + "ffn.value.weight", to + "channel_mix_value", hidden, ffn));
    SLUICE_TRY_STATUS(version == 7 ? move_block_7(mover, layer, block, to, ranks) : move_block_5(mover, block, to));
  }
  SLUICE_TRY_STATUS(mover.norm("ln_out", "output_norm"));
  SLUICE_TRY_STATUS(mover.matrix("head.weight", "output", file.vocab, hidden));
  SLUICE_TRY_STATUS(mover.everything_moved());

  const std::string arch = fmt::format("rwkv{}", version), at = arch + ".";
  std::vector<GgufKey> own;
  own.push_back(GgufKey::u32(at + "block_count", file.layers));
  own.push_back(GgufKey::u32(at + "context_length", kPositions));
  own.push_back(GgufKey::u32(at + "embedding_length", hidden));
  own.push_back(GgufKey::u32(at + "feed_forward_length", ffn));
  own.push_back(GgufKey::u32(at + "attention.head_count", 0));
  own.push_back(GgufKey::f32(at + "attention.layer_norm_epsilon", 1e-5));
  own.push_back(GgufKey::u32(at + "wkv.head_size", hidden / heads));
  if (version == 5) own.push_back(GgufKey::f32(at + "attention.group_norm_epsilon", 1e-5));  // rwkv.cpp's; 64e-5 elsewhere
  if (version == 7)
    for (const auto& [key, rank] : {std::pair{"decay", ranks.decay}, {"iclr", ranks.rate}, {"value_residual_mix", ranks.value}, {"gate", ranks.gate}})
      own.push_back(GgufKey::u32(fmt::format("{}attention.{}_lora_rank", at, key), rank));
  auto keys = gguf_model_keys(arch, name, std::move(own), file.vocab, vocabulary != nullptr ? *vocabulary : bytes_as_tokens(), recipe);
  if (!keys.ok()) return keys.error().in(path);
  mover.plan.keys = std::move(keys).value();
  return std::move(mover.plan);
}

}  // namespace sluice
