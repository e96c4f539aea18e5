#include "weights/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "base/mapped_file.h"
#include "quant/weight/weight_format.h"
#include "weights/gguf_file.h"
#include "weights/test_gguf.h"

namespace sluice {
namespace {

const char* test_data() { return std::getenv("SLUICE_TEST_DATA"); }

const std::string kStories = std::string(SLUICE_SOURCE_DIR) + "/tests/data/stories260K/stories260K.bin";

TEST(ConvertLlama2c, EveryTensorOfStories260KIsTheSource) {
  TempDir dir;
  const auto source =
      write_and_open(dir, "s.gguf", plan_llama2c(kStories, "stories260K", vocabulary(512), recipe("f32")));
  ASSERT_NE(source, nullptr);
  const Metadata& m = source->metadata();
  EXPECT_EQ(m.architecture(), "llama");
  EXPECT_EQ(m.integer_or("llama.block_count", 0), 5);
  EXPECT_EQ(m.integer_or("llama.embedding_length", 0), 64);
  EXPECT_EQ(m.integer_or("llama.feed_forward_length", 0), 172);
  EXPECT_EQ(m.integer_or("llama.attention.head_count", 0), 8);
  EXPECT_EQ(m.integer_or("llama.attention.head_count_kv", 0), 4);
  EXPECT_EQ(m.integer_or("llama.context_length", 0), 512);
  EXPECT_EQ(m.strings("tokenizer.ggml.tokens")->size(), 512u);

  // The file once more, read by the published layout: all layers of a kind stand together.
  const std::string bytes = read_bytes(kStories);
  size_t at = 7 * 4, compared = 0;
  const auto compare = [&](const std::string& name, const Shape& shape) {
    const TensorInfo* info = source->find(name);
    ASSERT_NE(info, nullptr) << name;
    EXPECT_EQ(info->shape, shape) << name;
    ASSERT_EQ(info->size_bytes, shape.elems() * 4u);
    EXPECT_EQ(std::memcmp(source->view(*info).data, bytes.data() + at, info->size_bytes), 0) << name;
    at += info->size_bytes;
    ++compared;
  };
  compare("token_embd.weight", {512, 64});
  const auto per_layer = [&](const std::string& kind, const Shape& shape) {
    for (int layer = 0; layer < 5; ++layer) compare(fmt::format("blk.{}.{}.weight", layer, kind), shape);
  };
  per_layer("attn_norm", {64});
  per_layer("attn_q", {64, 64});
  per_layer("attn_k", {32, 64});
  per_layer("attn_v", {32, 64});
  per_layer("attn_output", {64, 64});
  per_layer("ffn_norm", {64});
  per_layer("ffn_gate", {172, 64});
  per_layer("ffn_down", {64, 172});
  per_layer("ffn_up", {172, 64});
  compare("output_norm.weight", {64});
  EXPECT_EQ(compared, source->tensors().size());
  EXPECT_EQ(source->find("output.weight"), nullptr);
  EXPECT_EQ(at + 512 * 8 * 4, bytes.size());  // the freq_cis tables end the file
}

TEST(ConvertLlama2c, AnUntiedClassifierFollowsTheTables) {
  TempDir dir;
  std::string bytes = read_bytes(kStories);
  const int32_t negative = -512;
  std::memcpy(bytes.data() + 20, &negative, 4);
  const auto head = random_values(4, 512 * 64);
  bytes.append(reinterpret_cast<const char*>(head.data()), head.size() * 4);
  write_bytes(dir.file("untied.bin"), bytes);
  const auto source =
      write_and_open(dir, "s.gguf", plan_llama2c(dir.file("untied.bin"), "x", vocabulary(512), recipe("f32")));
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(decoded(*source, "output.weight"), head);
}

TEST(ConvertLlama2c, DamagedFilesAreRefused) {
  TempDir dir;
  const std::string bytes = read_bytes(kStories), path = dir.file("x.bin");
  const auto error = [&](const std::string& content) {
    write_bytes(path, content);
    const auto plan = plan_llama2c(path, "x", vocabulary(512), recipe("f32"));
    return plan.ok() ? "" : plan.error().message;
  };
  EXPECT_EQ(error(bytes), "");
  EXPECT_NE(error(bytes.substr(0, 20)).find("byte 0: the header needs 28 bytes, but the file has 20"),
            std::string::npos);
  EXPECT_NE(error(bytes.substr(0, 500000)).find("needs"), std::string::npos);
  EXPECT_NE(error(bytes + "x").find("the header describes 1056540 bytes, but the file has 1056541"), std::string::npos);
  EXPECT_NE(error("GGUF" + bytes.substr(4)).find("header field dim is"), std::string::npos);
  for (int i = 0; i < 200; ++i) EXPECT_NE(error(bytes.substr(0, bytes.size() * i / 200)), "");
  Rng rng(3);
  for (int i = 0; i < 500; ++i) {
    std::string damaged = bytes.substr(0, 300);
    for (int c = 0; c < 2; ++c) damaged[rng.below(28)] = static_cast<char>(rng.below(256));
    EXPECT_NE(error(damaged), "");
  }
  write_bytes(path, bytes);
  const auto plan = plan_llama2c(path, "x", vocabulary(513), recipe("f32"));
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("the tokenizer has 513 tokens, but the model's embedding has 512 rows"),
            std::string::npos);
}

TEST(ConvertLlama2c, VersionTwoGroupsDecode) {
  if (test_data() == nullptr) GTEST_SKIP() << "SLUICE_TEST_DATA names no directory with relullama/";
  TempDir dir;
  const std::string path = std::string(test_data()) + "/relullama/relu_440K_q80.bin";
  const auto source = write_and_open(dir, "s.gguf", plan_llama2c(path, "relu", vocabulary(1024), recipe("f32")));
  ASSERT_NE(source, nullptr);
  // Norms first, all layers of a kind together; then the embedding: 1024 x 64 bytes, and a scale for each 64 of them.
  const std::string bytes = read_bytes(path);
  const size_t embedding = 256 + (4 + 4 + 1) * 64 * 4, scales = embedding + 1024 * 64;
  const auto values = decoded(*source, "token_embd.weight");
  ASSERT_EQ(values.size(), 1024u * 64);
  for (size_t i = 0; i < values.size(); ++i) {
    float scale = 0;
    std::memcpy(&scale, bytes.data() + scales + i / 64 * 4, 4);
    ASSERT_EQ(values[i], static_cast<float>(static_cast<int8_t>(bytes[embedding + i])) * scale) << i;
  }
  EXPECT_EQ(source->tensors().size(), 2u + 4 * 9);
}

TEST(ConvertLlama2c, TheOtherTrainedModelsConvert) {
  if (test_data() == nullptr) GTEST_SKIP() << "SLUICE_TEST_DATA names no directory with llama2xs/ and babyllama105/";
  TempDir dir;
  const std::string root = test_data();
  EXPECT_NE(
      write_and_open(dir, "a.gguf", plan_llama2c(root + "/llama2xs/model.bin", "xs", vocabulary(512), recipe("f32"))),
      nullptr);
  const auto baby = write_and_open(
      dir, "b.gguf", plan_llama2c(root + "/babyllama105/model5000.bin", "baby", vocabulary(105), recipe("q8_0")));
  ASSERT_NE(baby, nullptr);
  EXPECT_EQ(baby->find("token_embd.weight")->shape, (Shape{105, 128}));
  EXPECT_EQ(baby->find("blk.4.ffn_down.weight")->dtype, DType::q8_0);
}

TEST(QuantRecipe, FollowsLlamaCppsChoices) {
  const RecipeModel untied{32, false}, tied{32, true};
  const auto& mixed = recipe("q4_k_m");
  EXPECT_EQ(recipe_dtype(mixed, untied, "output.weight", {512, 256}), DType::q6_k);
  for (const auto& [name, shape] : {std::pair<const char*, Shape>{"blk.0.ffn_gate_exps.bias", {32, 256}}, {"blk.0.ssm_conv1d.weight", {256, 4}}, {"model.layers.0.mixer.A_log", {256, 16}},
                                    {"blk.0.attn_q_norm.weight", {32, 128}}, {"model.layers.0.self_attn.q_norm.weight", {64, 128}},
                                    {"model.layers.0.mlp.experts.gate_up_proj_bias", {32, 256}}, {"model.layers.0.mixer.conv1d.weight", {256, 1, 32}}})
    EXPECT_EQ(recipe_dtype(mixed, untied, name, shape), DType::f32) << name;
  EXPECT_EQ(recipe_dtype(mixed, untied, "model.layers.0.mlp.experts.gate_up_proj", {32, 256, 256}), DType::q4_k);
  EXPECT_EQ(recipe_dtype(mixed, untied, "token_embd.weight", {512, 256}), DType::q4_k);
  EXPECT_EQ(recipe_dtype(mixed, tied, "token_embd.weight", {512, 256}), DType::q6_k);
  EXPECT_EQ(recipe_dtype(mixed, untied, "blk.0.attn_q.weight", {256, 256}), DType::q4_k);
  int more = 0;
  for (int layer = 0; layer < 32; ++layer)
    more += recipe_dtype(mixed, untied, fmt::format("blk.{}.ffn_down.weight", layer), {256, 512}) == DType::q6_k;
  EXPECT_EQ(more, 16);  // 4 first, 4 last, every third of the 24 between
  EXPECT_EQ(recipe_dtype(mixed, untied, "blk.0.attn_v.weight", {256, 896}), DType::q8_0);
  EXPECT_EQ(recipe_dtype(mixed, untied, "blk.0.attn_q.weight", {256, 896}), DType::q5_0);
  EXPECT_EQ(recipe_dtype(recipe("q5_k"), untied, "blk.0.attn_q.weight", {256, 896}), DType::q5_1);
  EXPECT_EQ(recipe_dtype(recipe("q3_k"), untied, "blk.0.attn_q.weight", {256, 896}), DType::iq4_nl);
  EXPECT_EQ(recipe_dtype(recipe("q6_k"), untied, "blk.0.attn_v.weight", {256, 40}), DType::f16);
  EXPECT_EQ(recipe_dtype(recipe("q4_0"), untied, "blk.0.attn_v.weight", {256, 40}), DType::f16);
  EXPECT_EQ(recipe_dtype(recipe("i8_g128"), untied, "blk.0.attn_q.weight", {256, 896}), DType::i8_g128);
  EXPECT_EQ(recipe_dtype(recipe("i8_g128"), untied, "blk.0.attn_q.weight", {256, 96}), DType::q8_0);
  EXPECT_EQ(recipe_dtype(recipe("i8_g128"), untied, "blk.0.attn_q.weight", {256, 40}), DType::f16);
  EXPECT_EQ(recipe_dtype(recipe("q4_k"), untied, "blk.0.attn_norm.weight", {256}), DType::f32);
  EXPECT_NE(find_quant_recipe("q9_9").error().message.find("f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k"),
            std::string::npos);
}

TEST(ConvertRequantize, KeepsKeysAndRecodesMatrices) {
  TempDir dir;
  const auto original = write_and_open(dir, "a.gguf", plan_random("tiny-llama3", 7, recipe("f32")));
  ASSERT_NE(original, nullptr);
  for (const auto& r : quant_recipes()) {
    if (find_ggml_type(r.matrix) == nullptr) continue;  // packs alone hold it (native_pack_test.cpp)
    const auto copy = write_and_open(dir, "b.gguf", plan_requantize(dir.file("a.gguf"), &r));
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->metadata().integer_or("general.file_type", -1), r.file_type);
    EXPECT_EQ(copy->metadata().values().size(), original->metadata().values().size());
    EXPECT_EQ(*copy->metadata().strings("tokenizer.ggml.tokens"),
              *original->metadata().strings("tokenizer.ggml.tokens"));
    ASSERT_EQ(copy->tensors().size(), original->tensors().size());
    for (const TensorInfo& info : copy->tensors()) {
      EXPECT_EQ(info.dtype, recipe_dtype(r, {2, true}, info.name, info.shape)) << info.name;
      const auto got = decoded(*copy, info.name), want = decoded(*original, info.name);
      const int64_t cols = info.shape[info.shape.rank - 1];
      const WeightFormat* format = weight_format(info.dtype);
      std::vector<uint8_t> row(row_bytes(info.dtype, cols));
      std::vector<float> expected(static_cast<size_t>(cols));
      for (size_t at = 0; at < want.size(); at += 37 * expected.size()) {  // some rows: encoding is a search
        format->encode(want.data() + at, row.data(), cols);
        format->decode(row.data(), expected.data(), cols);
        ASSERT_TRUE(std::equal(expected.begin(), expected.end(), got.begin() + static_cast<int64_t>(at))) << info.name;
      }
    }
    // Again to the same type changes no byte.
    ASSERT_NE(write_and_open(dir, "c.gguf", plan_requantize(dir.file("b.gguf"), &r)), nullptr);
    EXPECT_EQ(read_bytes(dir.file("b.gguf")), read_bytes(dir.file("c.gguf")));
  }
}

TEST(ConvertRandom, WeightsAreSeededAndScaled) {
  TempDir dir;
  for (const auto& shape : random_shapes()) {
    const auto plan = plan_random(shape.name, 1, recipe("q4_k_m"));
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_EQ(shape.hidden % 32, 0);
    EXPECT_EQ(shape.heads % shape.kv_heads, 0);
  }
  const auto a = write_and_open(dir, "a.gguf", plan_random("tiny-qwen2", 1, recipe("f32")));
  const auto b = write_and_open(dir, "b.gguf", plan_random("tiny-qwen2", 1, recipe("f32")));
  const auto c = write_and_open(dir, "c.gguf", plan_random("tiny-qwen2", 2, recipe("f32")));
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(read_bytes(dir.file("a.gguf")), read_bytes(dir.file("b.gguf")));
  EXPECT_NE(decoded(*a, "token_embd.weight"), decoded(*c, "token_embd.weight"));
  const auto values = decoded(*a, "token_embd.weight");
  double sum = 0, squares = 0, fourth = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
    fourth += v * v * v * v;
  }
  const double n = static_cast<double>(values.size()), deviation = std::sqrt(squares / n);
  EXPECT_NEAR(sum / n, 0, 6 * deviation / std::sqrt(n));
  EXPECT_NEAR(deviation * std::sqrt(96.0), 1, 0.02);
  EXPECT_NEAR(fourth / n / (deviation * deviation * deviation * deviation), 2.7,
              0.1);                  // a sum of four uniforms: 3 - 1.2 / 4
  EXPECT_NE(values[0], values[96]);  // rows differ
  EXPECT_NE(plan_random("gpt-5", 1, recipe("f32")).error().message.find("llama-3.2-1b"), std::string::npos);
}

TEST(ConvertRandom, TheVocabularyHasEveryByteOnceAndChatMl) {
  const auto plan = plan_random("tiny-llama", 1, recipe("q8_0"));
  ASSERT_TRUE(plan.ok());
  TempDir dir;
  const auto source = write_and_open(dir, "a.gguf", plan);
  ASSERT_NE(source, nullptr);
  const auto& tokens = *source->metadata().strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 512u);
  EXPECT_EQ(std::set<std::string>(tokens.begin(), tokens.end()).size(), 512u);
  EXPECT_EQ(tokens[0], "!");
  EXPECT_EQ(tokens[220], "\xc4\xa0");  // the space, at GPT-2's own id
  EXPECT_EQ(tokens[511], "<|im_end|>");
  EXPECT_EQ(source->metadata().integer_or("tokenizer.ggml.eos_token_id", -1), 511);
  EXPECT_EQ(source->metadata().integers("tokenizer.ggml.token_type")->at(511), 3);
  EXPECT_NE(source->metadata().string_or("tokenizer.chat_template", "").find("<|im_start|>assistant"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice
