#include "weights/llama2c_file.h"

#include <cstdlib>
#include <cstring>

namespace sluice {
namespace {

constexpr uint32_t kLlama2cMagic = 0x616b3432;  // "ak42", from version 1 on
constexpr size_t kHeaderBytes = 256;     // of version 1 and 2

}  // namespace

void Llama2cValues::read(int64_t first, int64_t count, float* out) const {
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

Result<Llama2cValues> Llama2cReader::floats(int64_t count, const char* what) {
  SLUICE_TRY(const uint8_t* at, take(count, 4, what));
  return Llama2cValues{at, nullptr, 0};
}

Result<Llama2cValues> Llama2cReader::groups(int64_t count, int64_t group, const char* what) {
  if (count % group != 0)
    return corrupt_data(
        fmt::format("{}: {} has {} values, no multiple of the group size {}", file_.path(), what, count, group));
  SLUICE_TRY(const uint8_t* at, take(count, 1, what));
  SLUICE_TRY(const uint8_t* scales, take(count / group, 4, what));
  return Llama2cValues{at, scales, group};
}

Result<const uint8_t*> Llama2cReader::take(int64_t count, size_t width, const char* what) {
  const size_t left = file_.bytes().size() - at_;
  if (static_cast<size_t>(count) > left / width)
    return corrupt_data(fmt::format("{}: byte {}: {} needs {} values of {} bytes, but the file ends after {}",
                                    file_.path(), at_, what, count, width, left));
  const uint8_t* data = file_.bytes().data() + at_;
  at_ += static_cast<size_t>(count) * width;
  return data;
}

Status Llama2cReader::expect_end() const {
  if (at_ == file_.bytes().size()) return {};
  return corrupt_data(fmt::format("{}: the header describes {} bytes, but the file has {}", file_.path(), at_,
                                  file_.bytes().size()));
}

Result<Llama2cHeader> read_llama2c_header(const MappedFile& file, size_t& data_at) {
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
  Llama2cHeader h;
  size_t first = 0;
  if (static_cast<uint32_t>(word(0)) == kLlama2cMagic) {
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

GgufHyperparameters gguf_hyperparameters(const Llama2cHeader& header, const std::string& arch, const std::string& name) {
  GgufHyperparameters p;
  p.arch = arch;
  p.name = name;
  p.layers = header.layers;
  p.context = header.context;
  p.hidden = header.dim;
  p.ffn = header.ffn;
  p.heads = header.heads;
  p.kv_heads = header.kv_heads;
  p.head_dim = header.head_dim();
  p.vocab = header.vocab;
  return p;
}

}  // namespace sluice
