// rwkv.cpp files of random values: where each tensor goes, and what is refused.

#include <gtest/gtest.h>

#include <cmath>

#include "weights/convert.h"
#include "weights/rwkv_file.h"
#include "weights/test_gguf.h"

namespace sluice {
namespace {

constexpr int64_t kVocab = 256, kHidden = 8, kHeads = 2, kFfn = 12, kLayers = 2, kRank = 3;

struct RwkvBuilder {
  std::string bytes;
  std::map<std::string, std::vector<float>> values;
  std::string without;  // this tensor

  void word(uint32_t value) { bytes.append(reinterpret_cast<const char*>(&value), 4); }
  explicit RwkvBuilder(uint32_t version = 101) {
    for (const uint32_t value : {uint32_t{0x67676d66}, version, uint32_t{kVocab}, uint32_t{kHidden}, uint32_t{kLayers}, uint32_t{0}}) word(value);
  }
  /// `dims` as PyTorch has them.
  void add(const std::string& name, std::vector<int64_t> dims, float least = -1, float most = 1) {
    if (name == without) return;
    int64_t elems = 1;
    for (const int64_t dim : dims) elems *= dim;
    Rng rng(values.size() + 1);
    std::vector<float>& own = values[name];
    for (int64_t i = 0; i < elems; ++i) own.push_back(least + (most - least) * static_cast<float>(rng.next_double()));
    word(static_cast<uint32_t>(dims.size()));
    word(static_cast<uint32_t>(name.size()));
    word(0);
    for (size_t i = dims.size(); i-- > 0;) word(static_cast<uint32_t>(dims[i]));
    bytes += name;
    bytes.append(reinterpret_cast<const char*>(own.data()), own.size() * 4);
  }
  void norm(const std::string& name) {
    add(name + ".weight", {kHidden});
    add(name + ".bias", {kHidden});
  }
  void whole(int version) {
    add("emb.weight", {kVocab, kHidden});
    norm("blocks.0.ln0");
    for (int l = 0; l < kLayers; ++l) {
      const std::string block = fmt::format("blocks.{}.", l), time = block + "att.";
      norm(block + "ln1");
      norm(block + "ln2");
      norm(time + "ln_x");
      for (const char* part : {"key", "value", "receptance", "output"}) add(time + part + ".weight", {kHidden, kHidden});
      add(block + "ffn.key.weight", {kFfn, kHidden});
      add(block + "ffn.value.weight", {kHidden, kFfn});
      if (version == 5) {
        add(time + "time_decay", {kHeads, kHidden / kHeads, 1}, 0.1f, 0.99f);
        add(time + "time_faaaa", {kHeads, kHidden / kHeads, 1});
        for (const char* letter : {"k", "v", "r", "g"}) add(time + "time_mix_" + letter, {kHidden});
        add(time + "gate.weight", {kHidden, kHidden});
        for (const char* letter : {"k", "r"}) add(block + "ffn.time_mix_" + letter, {kHidden});
        add(block + "ffn.receptance.weight", {kHidden, kHidden});
      } else {
        add(time + "x_rwkvag", {6, 1, kHidden});
        for (const char* letter : {"w", "a", "v", "g"}) {
          if (*letter == 'v' && l == 0) continue;
          add(time + letter + "1", {kRank, kHidden});
          add(time + letter + "2", {kHidden, kRank});
          if (*letter != 'g') add(time + letter + "0", {1, 1, kHidden});
        }
        for (const char* name : {"k_k", "k_a"}) add(time + name, {1, 1, kHidden});
        add(time + "r_k", {kHeads, kHidden / kHeads});
        add(block + "ffn.x_k", {1, 1, kHidden});
      }
    }
    norm("ln_out");
    add("head.weight", {kVocab, kHidden});
  }
};

Result<GgufPlan> plan_of(const TempDir& dir, std::string_view bytes, const GgufVocab* vocab = nullptr) {
  write_bytes(dir.file("m.bin"), bytes);
  return plan_rwkv(dir.file("m.bin"), "m", vocab, recipe("f32"));
}
std::string error_of(const TempDir& dir, std::string_view bytes) {
  const auto plan = plan_of(dir, bytes);
  return plan.ok() ? "" : plan.error().message;
}

TEST(ConvertRwkv, EveryTensorOfVersion7HasItsPlace) {
  TempDir dir;
  RwkvBuilder file;
  file.whole(7);
  const auto source = write_and_open(dir, "m.gguf", plan_of(dir, file.bytes));
  ASSERT_NE(source, nullptr);
  const Metadata& m = source->metadata();
  EXPECT_EQ(m.architecture(), "rwkv7");
  EXPECT_EQ(m.integer_or("rwkv7.wkv.head_size", 0), kHidden / kHeads);
  EXPECT_EQ(m.integer_or("rwkv7.feed_forward_length", 0), kFfn);
  EXPECT_EQ(m.integer_or("rwkv7.attention.value_residual_mix_lora_rank", 0), kRank);
  EXPECT_EQ(m.strings("tokenizer.ggml.tokens")->at(0x41), "\\x41");
  EXPECT_EQ(source->tensors().size(), file.values.size());
  for (const auto& [gguf, name] : {std::pair{"token_embd.weight", "emb.weight"}, {"blk.1.time_mix_lerp_fused.weight", "blocks.1.att.x_rwkvag"},
                                   {"blk.1.time_mix_v2.weight", "blocks.1.att.v2"}, {"blk.0.time_mix_r_k.weight", "blocks.0.att.r_k"},
                                   {"blk.0.channel_mix_value.weight", "blocks.0.ffn.value.weight"}, {"token_embd_norm.bias", "blocks.0.ln0.bias"}})
    EXPECT_EQ(decoded(*source, gguf), file.values.at(name)) << name;
}

TEST(ConvertRwkv, DecaysOfVersion5ComeBackFromFactors) {
  TempDir dir;
  RwkvBuilder file;
  file.whole(5);
  const auto source = write_and_open(dir, "m.gguf", plan_of(dir, file.bytes));
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->metadata().architecture(), "rwkv5");
  EXPECT_EQ(source->tensors().size(), file.values.size());
  const auto decay = decoded(*source, "blk.1.time_mix_decay.weight");
  const auto& factors = file.values.at("blocks.1.att.time_decay");
  ASSERT_EQ(decay.size(), factors.size());
  for (size_t i = 0; i < decay.size(); ++i) EXPECT_NEAR(std::exp(-std::exp(decay[i])), factors[i], 1e-6) << i;
}

TEST(ConvertRwkv, WhatIsNoSuchModelIsRefused) {
  TempDir dir;
  const auto expect = [&](const RwkvBuilder& file, const char* message) {
    EXPECT_NE(error_of(dir, file.bytes).find(message), std::string::npos) << error_of(dir, file.bytes);
  };
  for (const auto& [without, message] : {std::pair{"blocks.1.att.v0", "tensor blocks.1.att.v0 is missing"}, {"head.weight", "tensor head.weight is missing"},
                                         {"blocks.0.att.r_k", "a model of RWKV 5.1; of rwkv.cpp's files those of RWKV 5.2 and 7 are read"}}) {
    RwkvBuilder file;
    file.without = without;
    file.whole(7);
    expect(file, message);
  }
  RwkvBuilder more;
  more.whole(7);
  more.add("blocks.2.ln1.weight", {kHidden});
  expect(more, "tensor blocks.2.ln1.weight [8] is of no model that is read");
  RwkvBuilder twice;
  twice.add("emb.weight", {kVocab, kHidden});
  twice.add("emb.weight", {kVocab, kHidden});
  expect(twice, "tensor emb.weight is there twice");
  expect(RwkvBuilder(102), "rwkv.cpp version 102; versions 100 and 101 are read");
  RwkvBuilder wide;
  wide.without = "blocks.0.att.k_k";
  wide.whole(7);
  wide.without.clear();
  wide.add("blocks.0.att.k_k", {1, 2, kHidden});
  expect(wide, "tensor blocks.0.att.k_k has shape [1, 2, 8]; it must be [8]");
  RwkvBuilder factors;
  factors.without = "blocks.1.att.time_decay";
  factors.whole(5);
  factors.without.clear();
  factors.add("blocks.1.att.time_decay", {kHeads, kHidden / kHeads, 1}, 1.5f, 2);
  expect(factors, "factors from 0 to 1 are possible");
  // A vocabulary that is not the bytes has to be given.
  RwkvBuilder file;
  file.whole(7);
  std::string larger = file.bytes;
  larger[8] = 1, larger[9] = 2;
  EXPECT_NE(error_of(dir, larger).find("a model of 513 tokens needs the directory of its tokenizer"), std::string::npos);
  const GgufVocab given = vocabulary(200);
  EXPECT_TRUE(plan_of(dir, file.bytes, &given).ok());
}

TEST(ConvertRwkv, DamagedFilesAreRefused) {
  TempDir dir;
  for (const int version : {5, 7}) {
    RwkvBuilder file;
    file.whole(version);
    ASSERT_EQ(error_of(dir, file.bytes), "");
    for (size_t i = 0; i < 200; ++i) EXPECT_NE(error_of(dir, file.bytes.substr(0, file.bytes.size() * i / 200)), "") << i;
    EXPECT_NE(error_of(dir, file.bytes + "x").find("needs 4 bytes, but the file ends after 1"), std::string::npos);
    // Every word of the headers up to the first values as another one, counts beyond all memory among them.
    const size_t headers = 24 + 20 + std::string_view("emb.weight").size();
    for (size_t at = 0; at + 4 <= headers; ++at)
      for (const uint32_t lie : {uint32_t{0}, uint32_t{1} << 31, ~uint32_t{0}, uint32_t{1} << 24}) {
        std::string damaged = file.bytes;
        std::memcpy(damaged.data() + at, &lie, 4);
        damaged.replace(20, 4, file.bytes, 20, 4);  // the type of most, for which nobody asks
        if (damaged == file.bytes) continue;
        EXPECT_NE(error_of(dir, damaged), "") << lie << " at " << at;
      }
    Rng rng(static_cast<uint64_t>(version));
    for (int i = 0; i < 2000; ++i) {
      std::string damaged = file.bytes;
      for (int c = 0; c < 3; ++c) damaged[rng.below(damaged.size())] = static_cast<char>(rng.below(256));
      const auto plan = plan_of(dir, damaged);  // an error or a plan, whose every byte is there
      if (!plan.ok()) continue;
      std::vector<float> row;
      for (const GgufTensor& tensor : plan->tensors) {
        const int64_t cols = tensor.shape[tensor.shape.rank - 1];
        row.resize(static_cast<size_t>(cols));
        if (tensor.fill) tensor.fill(tensor.shape.elems() / cols - 1, 1, row.data());
        else tensor.fill_encoded(tensor.shape.elems() / cols - 1, 1, reinterpret_cast<uint8_t*>(row.data()));
      }
    }
  }
}

}  // namespace
}  // namespace sluice
