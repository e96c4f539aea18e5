#pragma once
// Models that tests hold in memory: copies of a file's tensors that may be edited or re-encoded, and random decoders of
// any shape under Hugging Face names.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "quant/weight/weight_format.h"
#include "weights/tensor_source.h"

namespace sluice::test {

class MemorySource : public TensorSource {
 public:
  explicit MemorySource(Metadata metadata) : metadata_(std::move(metadata)) {}

  const Metadata& metadata() const override { return metadata_; }
  Metadata& metadata() { return metadata_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override {
    for (const TensorInfo& t : tensors_)
      if (t.name == name) return &t;
    return nullptr;
  }
  TensorView view(const TensorInfo& info) const override {
    return {reinterpret_cast<const uint8_t*>(data_[info.offset_bytes].data()), info.dtype, info.shape};
  }
  void release(const TensorInfo&) const override {}
  std::vector<std::string> files() const override { return {metadata_.origin()}; }

  /// Adds a tensor, encoded as `dtype` where its rows allow it, else as F32.
  void add(const std::string& name, const Shape& shape, const std::vector<float>& values, DType dtype = DType::f32) {
    if (shape[shape.rank - 1] % dtype_info(dtype).block_elems != 0) dtype = DType::f32;
    const int64_t elems = shape.elems();
    const size_t bytes = row_bytes(dtype, elems);
    std::vector<uint64_t>& data = data_.emplace_back((bytes + 7) / 8);
    weight_format(dtype)->encode(values.data(), data.data(), elems);
    tensors_.push_back({name, dtype, shape, 0, data_.size() - 1, bytes});
  }
  void rename(const std::string& from, const std::string& to) {
    for (TensorInfo& t : tensors_)
      if (t.name == from) t.name = to;
  }
  void remove(const std::string& name) {
    std::erase_if(tensors_, [&](const TensorInfo& t) { return t.name == name; });
  }
  /// Swaps two tensors of one shape in every layer; the patterns hold "{}" for its number.
  void swap_in_layers(std::string a, std::string b) {
    for (TensorInfo& t : tensors_) {
      const size_t in_a = t.name.find(a), in_b = t.name.find(b);
      if (in_a != std::string::npos)
        t.name.replace(in_a, a.size(), b);
      else if (in_b != std::string::npos)
        t.name.replace(in_b, b.size(), a);
    }
  }

 private:
  Metadata metadata_;
  std::vector<TensorInfo> tensors_;
  std::deque<std::vector<uint64_t>> data_;  // offset_bytes is the index here
};

/// A copy of `from`; `dtype_of` says what each tensor becomes.
inline std::shared_ptr<MemorySource> copy_source(const TensorSource& from,
                                                 const std::function<DType(const TensorInfo&)>& dtype_of) {
  auto out = std::make_shared<MemorySource>(from.metadata());
  for (const TensorInfo& info : from.tensors()) {
    std::vector<float> values(static_cast<size_t>(info.shape.elems()));
    weight_format(info.dtype)->decode(from.view(info).data, values.data(), info.shape.elems());
    out->add(info.name, info.shape, values, dtype_of(info));
  }
  return out;
}
inline std::shared_ptr<MemorySource> copy_source(const TensorSource& from) {
  return copy_source(from, [](const TensorInfo& info) { return info.dtype; });
}
/// Every tensor as the float32 values that its encoding stands for.
inline std::shared_ptr<MemorySource> decoded_source(const TensorSource& from) {
  return copy_source(from, [](const TensorInfo&) { return DType::f32; });
}
/// Every matrix as `dtype`, where its rows allow it.
inline std::shared_ptr<MemorySource> encoded_source(const TensorSource& from, DType dtype) {
  return copy_source(from, [dtype](const TensorInfo& info) { return info.shape.rank == 2 ? dtype : DType::f32; });
}

struct RandomDecoder {
  std::string arch = "LlamaForCausalLM";
  int64_t vocab = 96, hidden = 64, ffn = 96, layers = 2, heads = 4, kv_heads = 2, head_dim = 16, positions = 4096;
  bool tied = false, qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false;
  DType dtype = DType::f32;
  uint64_t seed = 1;
};

/// Random weights of about unit gain, so that the logits have a standard deviation of about 1.
inline std::shared_ptr<MemorySource> random_decoder(const RandomDecoder& d) {
  Metadata m(MetadataKind::huggingface, "config.json");
  m.set("architectures", std::vector<std::string>{d.arch});
  m.set("vocab_size", d.vocab);
  m.set("hidden_size", d.hidden);
  m.set("intermediate_size", d.ffn);
  m.set("num_hidden_layers", d.layers);
  m.set("num_attention_heads", d.heads);
  m.set("num_key_value_heads", d.kv_heads);
  m.set("head_dim", d.head_dim);
  m.set("max_position_embeddings", d.positions);
  m.set("rms_norm_eps", 1e-5);
  m.set("hidden_act", std::string("silu"));
  m.set("tie_word_embeddings", d.tied);
  m.set("attention_bias", d.qkv_bias);
  m.set("mlp_bias", d.mlp_bias);
  auto out = std::make_shared<MemorySource>(std::move(m));
  Rng rng(d.seed);
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t cols, double gain = 1) {
    std::vector<float> values(static_cast<size_t>(rows * cols));
    const double scale = gain / std::sqrt(static_cast<double>(cols));
    for (float& v : values) v = static_cast<float>(rng.next_normal() * scale);
    out->add(name, {rows, cols}, values, d.dtype);
  };
  const auto vector = [&](const std::string& name, int64_t n, double center, double spread) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = static_cast<float>(center + spread * rng.next_normal());
    out->add(name, {n}, values);
  };
  matrix("model.embed_tokens.weight", d.vocab, d.hidden, d.tied ? 1 : std::sqrt(static_cast<double>(d.hidden)));
  const int64_t q = d.heads * d.head_dim, kv = d.kv_heads * d.head_dim;
  for (int64_t l = 0; l < d.layers; ++l) {
    const std::string p = fmt::format("model.layers.{}.", l);
    vector(p + "input_layernorm.weight", d.hidden, 1, 0.1);
    vector(p + "post_attention_layernorm.weight", d.hidden, 1, 0.1);
    const auto linear = [&](const std::string& name, int64_t rows, int64_t cols, bool bias) {
      matrix(p + name + ".weight", rows, cols);
      if (bias) vector(p + name + ".bias", rows, 0, 0.2);
    };
    linear("self_attn.q_proj", q, d.hidden, d.qkv_bias);
    linear("self_attn.k_proj", kv, d.hidden, d.qkv_bias);
    linear("self_attn.v_proj", kv, d.hidden, d.qkv_bias);
    linear("self_attn.o_proj", d.hidden, q, d.output_bias);
    linear("mlp.gate_proj", d.ffn, d.hidden, d.mlp_bias);
    linear("mlp.up_proj", d.ffn, d.hidden, d.mlp_bias);
    linear("mlp.down_proj", d.hidden, d.ffn, d.mlp_bias);
    if (d.qk_norm) {
      vector(p + "self_attn.q_norm.weight", d.head_dim, 1, 0.1);
      vector(p + "self_attn.k_norm.weight", d.head_dim, 1, 0.1);
    }
  }
  vector("model.norm.weight", d.hidden, 1, 0.1);
  if (!d.tied) matrix("lm_head.weight", d.vocab, d.hidden);
  return out;
}

}  // namespace sluice::test
