// GGUF models as Hugging Face directories: what was converted from one comes back as it was, and what others converted computes
// what its own directory computes.

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/mapped_file.h"
#include "model/model.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"
#include "weights/safetensors_file.h"
#include "weights/safetensors_writer.h"
#include "weights/test_gguf.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using test::LoadedModel;

const std::string kData = std::string(SLUICE_SOURCE_DIR) + "/tests/data";
const std::vector<TokenId> kLongerTokens{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7, 9, 5};

// GGUFs of llama.cpp's converter that say less than the model has (tests/fidelity/fidelity_test.cpp names what).
constexpr std::string_view kSaysLess[] = {"llama4_text", "olmoe", "starcoder2_window", "minicpm3"};

std::vector<float> logits_of(std::shared_ptr<TensorSource> source, const std::vector<TokenId>& tokens) {
  auto model = LoadedModel::open(std::move(source), {}, 1);
  EXPECT_TRUE(model.ok()) << model.error().message;
  if (!model.ok()) return {};
  (*model)->model->set_context(static_cast<int64_t>(std::max<size_t>(tokens.size(), 64)));
  return test::logits_of(*(*model)->model, tokens);
}

/// The plan's directory, under a new name, opened.
std::shared_ptr<TensorSource> write_and_open_directory(const TempDir& dir, const std::string& name, const Result<HuggingfacePlan>& plan,
                                                       uint64_t shard_bytes = kDefaultShardBytes) {
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  if (!plan.ok()) return nullptr;
  ThreadPool pool(2);
  const auto bytes = write_huggingface(dir.file(name), *plan, shard_bytes, pool);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  auto source = open_safetensors(dir.file(name));
  EXPECT_TRUE(source.ok()) << source.error().message;
  return source.ok() ? *source : nullptr;
}

std::vector<fs::path> models() {
  std::vector<fs::path> out;
  for (const char* folder : {"fidelity", "families"})
    for (const auto& entry : fs::directory_iterator(kData + "/" + folder)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

Metadata read_json(const fs::path& path) {
  const auto text = read_file(path.string());
  EXPECT_TRUE(text.ok()) << text.error().message;
  auto facts = flatten_json(*text, path.string());
  EXPECT_TRUE(facts.ok()) << facts.error().message;
  return std::move(facts).value();
}

std::vector<TokenId> ids_of(const fs::path& model) {
  const Metadata golden = read_json(model / "golden.json");
  const std::vector<int64_t>& ids = *golden.integers("ids");
  return {ids.begin(), ids.end()};
}

std::vector<float> golden_of(const fs::path& model, const std::string& file) {
  const std::string bytes = read_bytes((model / read_json(model / "gguf.json").string_or("files." + file + ".logits", "")).string());
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

bool is_recurrent(const TensorSource& source) {
  const auto plan = plan_model(source);
  return plan.ok() && plan->kv.has(KvGroup::Kind::state);
}

TEST(ToHuggingface, WhatWasConvertedComesBack) {
  TempDir dir;
  int came_back = 0;
  for (const fs::path& path : models()) {
    if (!fs::exists(path / "config.json") || !fs::exists(path / "model.safetensors")) continue;
    SCOPED_TRACE(path.filename().string());
    const auto original = open_tensor_source(path.string());
    ASSERT_TRUE(original.ok()) << original.error().message;
    if (!plan_model(**original).ok()) continue;  // an encoder
    const auto there = plan_huggingface(*original, "x", vocabulary(10), recipe("f32"));
    if (!there.ok()) continue;  // ConvertHuggingface.EveryFamilyKeepsItsLogits looks at why
    const auto gguf = write_and_open(dir, "m.gguf", there);
    ASSERT_NE(gguf, nullptr);
    const bool unnamed = gguf->metadata().architecture().starts_with("bitnet");  // a form that no config.json names
    if (unnamed) {
      const auto refused = plan_to_huggingface(gguf, DType::bf16);
      ASSERT_FALSE(refused.ok());
      EXPECT_NE(refused.error().message.find("has no form as"), std::string::npos) << refused.error().message;
      continue;
    }
    const auto back = write_and_open_directory(dir, path.filename().string(), plan_to_huggingface(gguf, DType::bf16), 50'000);
    if (back == nullptr) continue;
    const std::vector<float> logits = logits_of(back, kLongerTokens), were = logits_of(test::decoded_source(**original), kLongerTokens);
    // A decay rate is the logarithm's again, which the float that it was need not be.
    if (is_recurrent(*gguf)) EXPECT_LE(test::max_abs_diff(logits, were), 1e-5);
    else EXPECT_TRUE(test::same_bits(logits, were));
    // Of a family with two architectures for one GGUF (GLM) the tensors have other names, and an architecture of its own.
    if (back->metadata().architecture() != (*original)->metadata().architecture()) {
      std::printf("%s comes back as %s\n", (*original)->metadata().architecture().c_str(), back->metadata().architecture().c_str());
      continue;
    }
    for (const TensorInfo& info : back->tensors()) {
      const TensorInfo* was = (*original)->find(info.name);
      if (was == nullptr && info.name.starts_with("model.")) was = (*original)->find(info.name.substr(6));  // a model without its head
      const bool other_names = info.name.starts_with("rwkv.");  // the authors' files and fla's have others
      ASSERT_TRUE(was != nullptr || other_names || info.name.find("lm_head") != std::string::npos || info.name == "head.weight") << info.name;
      if (was != nullptr) {  // gpt-oss has its experts in rows or in columns
        EXPECT_EQ(was->shape.elems(), info.shape.elems()) << info.name;
      }
    }
    for (const auto& [key, value] : (*original)->metadata().values()) {
      const auto at = back->metadata().values().find(key);
      if (at == back->metadata().values().end() || key.find("dtype") != std::string::npos) continue;
      if (key.ends_with("_layer_period")) continue;  // of few layers that are one of a kind it may be any
      const auto number = back->metadata().number(key), was = (*original)->metadata().number(key);
      EXPECT_TRUE(at->second == value || (number.ok() && was.ok() && *number == *was)) << key;
    }
    ++came_back;
  }
  EXPECT_GE(came_back, 65);
  std::printf("%d models came back\n", came_back);
}

TEST(ToHuggingface, OthersFilesComputeTheirGoldenLogits) {
  TempDir dir;
  int compared = 0;
  for (const fs::path& path : models()) {
    const std::string name = path.filename().string();
    if (!fs::exists(path / "golden.logits.f32") || std::ranges::find(kSaysLess, name) != std::end(kSaysLess)) continue;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() != ".gguf") continue;
      SCOPED_TRACE(entry.path().string());
      const auto gguf = open_tensor_source(entry.path().string());
      ASSERT_TRUE(gguf.ok()) << gguf.error().message;
      if (!plan_model(**gguf).ok()) continue;  // no decoder
      const auto back = write_and_open_directory(dir, name + entry.path().stem().string(), plan_to_huggingface(*gguf, DType::f32));
      if (back == nullptr) continue;
      // The reference multiplied the float32 values of the blocks, which `back` has.
      const std::vector<TokenId> ids = ids_of(path);
      EXPECT_LE(test::max_abs_diff(logits_of(back, ids), golden_of(path, entry.path().filename().string())), 1e-4);
      ++compared;
    }
  }
  EXPECT_GE(compared, 70);
  std::printf("%d files compared\n", compared);
}

// MiniCPM3's GGUFs name no factors: their directories say those of the 4B model.
TEST(ToHuggingface, Minicpm3ComesBackWithItsFactors) {
  TempDir dir;
  const std::string folder = kData + "/families/minicpm3";
  const auto original = open_tensor_source(folder), twin = open_tensor_source(folder + "/model.bf16.gguf");
  ASSERT_TRUE(original.ok() && twin.ok());
  const auto usual = test::copy_source(**original);
  for (const auto& [key, value] : {std::pair{"scale_emb", 12.0}, {"scale_depth", 1.4}, {"dim_model_base", 256.0}}) usual->metadata().set(key, value);
  const auto back = write_and_open_directory(dir, "back", plan_to_huggingface(*twin, DType::bf16));
  ASSERT_NE(back, nullptr);
  for (const TensorInfo& info : (*original)->tensors()) {
    const TensorInfo* there = back->find(info.name);
    ASSERT_NE(there, nullptr) << info.name;
    EXPECT_EQ(there->shape, info.shape) << info.name;
    EXPECT_EQ(decoded(*back, info.name), decoded(**original, info.name)) << info.name;
  }
  for (const auto& [key, value] : usual->metadata().values()) {
    const auto at = back->metadata().values().find(key);
    if (at == back->metadata().values().end() || key.find("dtype") != std::string::npos) continue;
    const auto number = back->metadata().number(key), was = usual->metadata().number(key);
    EXPECT_TRUE(at->second == value || (number.ok() && was.ok() && *number == *was)) << key;
  }
  for (const char* key : {"scale_emb", "scale_depth", "dim_model_base", "v_head_dim", "qk_nope_head_dim", "q_lora_rank", "num_key_value_heads"})
    EXPECT_TRUE(back->metadata().has(key)) << key;
  EXPECT_TRUE(test::same_bits(logits_of(back, kLongerTokens), logits_of(usual, kLongerTokens)));
}

// Half of each head is rotated in a Bamba, and no part of one in a Granite.
TEST(ToHuggingface, AGranitehybridIsABambaOrNot) {
  const auto gguf = open_tensor_source(SLUICE_SOURCE_DIR "/tests/data/families/bamba/model.bf16.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  const auto planned = plan_to_huggingface(*gguf, DType::bf16);
  ASSERT_TRUE(planned.ok()) << planned.error().message;
  EXPECT_NE(planned->files.at("config.json").find("BambaForCausalLM"), std::string::npos);
  for (const auto& [key, value] : {std::pair<const char*, MetadataValue>{"residual_scale", 0.5}, {"rope.dimension_count", int64_t{4}}}) {
    const auto other = test::copy_source(**gguf);
    other->metadata().set(fmt::format("granitehybrid.{}", key), value);
    const auto plan = plan_to_huggingface(other, DType::bf16);
    ASSERT_FALSE(plan.ok()) << key;
    EXPECT_NE(plan.error().message.find("a part of each head is rotated"), std::string::npos) << plan.error().message;
  }
}

TEST(ToHuggingface, ARateThatHasNoLogarithmIsRefused) {
  const auto gguf = open_tensor_source(SLUICE_SOURCE_DIR "/tests/data/families/mamba/model.bf16.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  ASSERT_TRUE(plan_to_huggingface(*gguf, DType::bf16).ok());
  for (const float bad : {0.0f, 1.5f, -INFINITY}) {
    const auto copy = test::copy_source(**gguf);
    const TensorInfo info = *copy->find("blk.1.ssm_a");
    std::vector<float> rates(static_cast<size_t>(info.shape.elems()), -1);
    rates[3] = bad;
    copy->remove(info.name);
    copy->add(info.name, info.shape, rates);
    const auto plan = plan_to_huggingface(copy, DType::bf16);
    ASSERT_FALSE(plan.ok()) << bad;
    EXPECT_NE(plan.error().message.find("blk.1.ssm_a has"), std::string::npos) << plan.error().message;
  }
}

}  // namespace
}  // namespace sluice
