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
#include "weights/test_files.h"

namespace sluice {
namespace {

const QuantRecipe& recipe(std::string_view name) { return **find_quant_recipe(name); }

GgufVocab vocabulary(size_t size) {
  GgufVocab v;
  v.model = "llama";
  for (size_t i = 0; i < size; ++i) v.tokens.push_back(fmt::format("t{}", i));
  v.scores.assign(size, -1.0f);
  v.token_types.assign(size, 1);
  v.bos = 1;
  v.eos = 2;
  return v;
}

// Writes the plan and opens the result.
std::shared_ptr<TensorSource> write_and_open(const TempDir& dir, const std::string& name,
                                             const Result<GgufPlan>& plan) {
  EXPECT_TRUE(plan.ok()) << plan.error().message;
  if (!plan.ok()) return nullptr;
  ThreadPool pool(2);
  const auto size = write_gguf(dir.file(name), *plan, pool);
  EXPECT_TRUE(size.ok()) << size.error().message;
  auto source = open_tensor_source(dir.file(name));
  EXPECT_TRUE(source.ok()) << source.error().message;
  return source.ok() ? *source : nullptr;
}

std::vector<float> decoded(const TensorSource& source, const std::string& name) {
  const TensorInfo* info = source.find(name);
  EXPECT_NE(info, nullptr) << name;
  if (info == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(info->shape.elems()));
  weight_format(info->dtype)->decode(source.view(*info).data, values.data(), info->shape.elems());
  return values;
}

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
  EXPECT_EQ(recipe_dtype(mixed, untied, "token_embd.weight", {512, 256}), DType::q4_k);
  EXPECT_EQ(recipe_dtype(mixed, tied, "token_embd.weight", {512, 256}), DType::q6_k);
  EXPECT_EQ(recipe_dtype(mixed, untied, "blk.0.attn_q.weight", {256, 256}), DType::q4_k);
  int more = 0;
  for (int layer = 0; layer < 32; ++layer)
    more += recipe_dtype(mixed, untied, fmt::format("blk.{}.ffn_down.weight", layer), {256, 512}) == DType::q6_k;
  EXPECT_EQ(more, 16);  // 4 first, 4 last, every third of the 24 between
  EXPECT_EQ(recipe_dtype(mixed, untied, "blk.0.attn_v.weight", {256, 896}), DType::q8_0);
  EXPECT_EQ(recipe_dtype(recipe("q6_k"), untied, "blk.0.attn_v.weight", {256, 40}), DType::f16);
  EXPECT_EQ(recipe_dtype(recipe("q4_0"), untied, "blk.0.attn_v.weight", {256, 40}), DType::f16);
  EXPECT_EQ(recipe_dtype(recipe("q4_k"), untied, "blk.0.attn_norm.weight", {256}), DType::f32);
  EXPECT_NE(find_quant_recipe("q5_1").error().message.find("f32, f16, bf16, q8_0, q4_0, q4_k, q4_k_m, q6_k"),
            std::string::npos);
}

// A Hugging Face directory with random weights.
struct HfModel {
  int heads = 4, kv_heads = 2, head_dim = 8, hidden = 32, ffn = 64, vocab = 16, layers = 2;
  SafetensorsBuilder weights;
  std::map<std::string, std::vector<float>> values;

  void add(const std::string& name, const Shape& shape) {
    values[name] = random_values(values.size() + 1, shape.elems());
    weights.add(name, shape, values[name]);
  }
  void write(const TempDir& dir, const std::string& architecture, const std::string& extra, bool tied) {
    add("model.embed_tokens.weight", {vocab, hidden});
    add("model.norm.weight", {hidden});
    if (!tied) add("lm_head.weight", {vocab, hidden});
    for (int l = 0; l < layers; ++l) {
      const std::string at = fmt::format("model.layers.{}.", l);
      add(at + "input_layernorm.weight", {hidden});
      add(at + "self_attn.q_proj.weight", {heads * head_dim, hidden});
      add(at + "self_attn.k_proj.weight", {kv_heads * head_dim, hidden});
      add(at + "self_attn.v_proj.weight", {kv_heads * head_dim, hidden});
      if (architecture != "Qwen3ForCausalLM") {
        add(at + "self_attn.q_proj.bias", {heads * head_dim});
        add(at + "self_attn.k_proj.bias", {kv_heads * head_dim});
        add(at + "self_attn.v_proj.bias", {kv_heads * head_dim});
      } else {
        add(at + "self_attn.q_norm.weight", {head_dim});
        add(at + "self_attn.k_norm.weight", {head_dim});
      }
      add(at + "self_attn.o_proj.weight", {hidden, heads * head_dim});
      add(at + "post_attention_layernorm.weight", {hidden});
      add(at + "mlp.gate_proj.weight", {ffn, hidden});
      add(at + "mlp.up_proj.weight", {ffn, hidden});
      add(at + "mlp.down_proj.weight", {hidden, ffn});
    }
    write_bytes(dir.file("model.safetensors"), weights.bytes());
    write_bytes(
        dir.file("config.json"),
        fmt::format(R"({{"architectures": ["{}"], "num_hidden_layers": {}, "hidden_size": {}, "intermediate_size": {},
                "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": {}, "vocab_size": {},
                "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "tie_word_embeddings": {}{}}})",
                    architecture, layers, hidden, ffn, heads, kv_heads, head_dim, vocab, tied, extra));
  }
};

Result<GgufPlan> plan_directory(const TempDir& dir, const char* type = "f32", size_t tokens = 10) {
  auto source = open_tensor_source(dir.path());
  if (!source.ok()) return source.error();
  return plan_huggingface(*source, "test", vocabulary(tokens), recipe(type));
}

TEST(ConvertHuggingface, LlamaReordersQueryAndKeyRows) {
  TempDir dir;
  HfModel hf;
  hf.write(dir, "LlamaForCausalLM",
           R"(, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
           "high_freq_factor": 4.0, "original_max_position_embeddings": 64})",
           false);
  const auto source = write_and_open(dir, "m.gguf", plan_directory(dir));
  ASSERT_NE(source, nullptr);
  const auto check = [&](const std::string& gguf, const std::string& name, int heads, int cols) {
    const auto got = decoded(*source, gguf);
    const auto& want = hf.values[name];
    ASSERT_EQ(got.size(), want.size());
    for (int h = 0; h < heads; ++h)
      for (int i = 0; i < hf.head_dim / 2; ++i)
        for (int half = 0; half < 2; ++half)  // the pair (i, i + d/2) becomes (2i, 2i + 1)
          for (int c = 0; c < cols; ++c)
            ASSERT_EQ(got[((h * hf.head_dim + 2 * i + half) * cols) + c],
                      want[((h * hf.head_dim + i + half * hf.head_dim / 2) * cols) + c]);
  };
  check("blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight", hf.heads, hf.hidden);
  check("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", hf.kv_heads, hf.hidden);
  check("blk.1.attn_q.bias", "model.layers.1.self_attn.q_proj.bias", hf.heads, 1);
  EXPECT_EQ(decoded(*source, "blk.1.attn_v.weight"), hf.values["model.layers.1.self_attn.v_proj.weight"]);
  EXPECT_EQ(decoded(*source, "output.weight"), hf.values["lm_head.weight"]);
  // transformers' formula, i = 0..3: wavelengths 2 pi theta^(i/4) against 64 / 4 and 64 / 1.
  const auto factors = decoded(*source, "rope_freqs.weight");
  ASSERT_EQ(factors.size(), 4u);
  EXPECT_EQ(factors[0], 1.0f);
  const double wavelength = 2 * M_PI * std::pow(500000.0, 0.25), smooth = (64 / wavelength - 1) / 3;
  EXPECT_NEAR(factors[1], wavelength > 64 ? 8.0 : 1 / ((1 - smooth) / 8 + smooth), 1e-5);
  EXPECT_EQ(factors[3], 8.0f);
  EXPECT_FALSE(source->metadata().has("llama.rope.scaling.type"));
  EXPECT_EQ(source->metadata().number_or("llama.rope.freq_base", 0), 500000.0);
  // The tokenizer had 10 tokens, the embedding has 16 rows.
  const auto& tokens = *source->metadata().strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 16u);
  EXPECT_EQ(tokens[15], "[PAD15]");
  EXPECT_EQ(source->metadata().integers("tokenizer.ggml.token_type")->back(), 5);
}

TEST(ConvertHuggingface, QwenKeepsItsOrder) {
  for (const char* architecture : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    TempDir dir;
    HfModel hf;
    hf.write(dir, architecture,
             R"(, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32})", true);
    const auto source = write_and_open(dir, "m.gguf", plan_directory(dir));
    ASSERT_NE(source, nullptr);
    EXPECT_EQ(decoded(*source, "blk.1.attn_q.weight"), hf.values["model.layers.1.self_attn.q_proj.weight"]);
    const std::string arch = source->metadata().architecture();
    EXPECT_EQ(arch, architecture == std::string("Qwen2ForCausalLM") ? "qwen2" : "qwen3");
    EXPECT_EQ(source->find("output.weight"), nullptr);
    EXPECT_EQ(source->metadata().string_or(arch + ".rope.scaling.type", ""), "yarn");
    EXPECT_EQ(source->metadata().integer_or(arch + ".rope.scaling.original_context_length", 0), 32);
    EXPECT_EQ(source->tensors().size(), hf.values.size());
  }
}

// The committed twins were written by another converter (tests/data/fidelity/*/gguf.json says which).
TEST(ConvertHuggingface, EqualsAnIndependentConverter) {
  namespace fs = std::filesystem;
  TempDir dir;
  int compared = 0;
  const std::string root = std::string(SLUICE_SOURCE_DIR) + "/tests/data/fidelity";
  if (!is_directory(root)) GTEST_SKIP() << "no " << root;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string type = entry.path().stem().extension().string();  // model.f16.gguf
    const bool lossless = type == ".f32" || type == ".f16" || type == ".bf16";
    const std::string directory = entry.path().parent_path().string();
    if (entry.path().extension() != ".gguf" || !lossless || !file_exists(directory + "/config.json")) continue;
    SCOPED_TRACE(entry.path().string());
    const auto twin = open_tensor_source(entry.path().string());
    const auto original = open_tensor_source(directory);
    ASSERT_TRUE(twin.ok() && original.ok());
    const auto source = write_and_open(
        dir, "m.gguf", plan_huggingface(*original, "x", vocabulary(3), recipe(std::string_view(type).substr(1))));
    ASSERT_NE(source, nullptr);
    EXPECT_EQ(source->tensors().size(), (*twin)->tensors().size());
    for (const TensorInfo& info : (*twin)->tensors()) {
      const TensorInfo* ours = source->find(info.name);
      ASSERT_NE(ours, nullptr) << info.name;
      ASSERT_TRUE(ours->dtype == info.dtype && ours->shape == info.shape) << info.name;
      EXPECT_EQ(std::memcmp(source->view(*ours).data, (*twin)->view(info).data, info.size_bytes), 0) << info.name;
    }
    for (const auto& [key, value] : (*twin)->metadata().values())
      if (key.starts_with((*twin)->metadata().architecture() + ".")) {
        ASSERT_TRUE(source->metadata().has(key)) << key;
        EXPECT_EQ(source->metadata().values().at(key), value) << key;
      }
    ++compared;
  }
  if (compared == 0) GTEST_SKIP() << "tests/data/fidelity holds no twins";
}

TEST(ConvertHuggingface, WhatDoesNotFitIsNamed) {
  {
    TempDir dir;
    HfModel hf;
    hf.add("model.layers.0.mlp.router.bias", {64});
    hf.write(dir, "LlamaForCausalLM", "", false);
    EXPECT_NE(plan_directory(dir).error().message.find("tensor model.layers.0.mlp.router.bias has no place"),
              std::string::npos);
  }
  TempDir dir;
  HfModel hf;
  hf.write(dir, "Qwen3ForCausalLM", "", false);
  const std::string config = read_bytes(dir.file("config.json"));
  const auto error = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    text.replace(text.find(from), from.size(), to);
    write_bytes(dir.file("config.json"), text);
    const auto plan = plan_directory(dir);
    return plan.ok() ? "" : plan.error().message;
  };
  EXPECT_NE(error("Qwen3ForCausalLM", "MambaForCausalLM").find("architecture \"MambaForCausalLM\" cannot be converted"),
            std::string::npos);
  EXPECT_NE(error("\"intermediate_size\": 64", "\"intermediate_size\": 65")
                .find("has shape [64, 32], but the config asks for [65, 32]"),
            std::string::npos);
  EXPECT_NE(error("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3")
                .find("tensor model.layers.2.input_layernorm.weight [32] is missing"),
            std::string::npos);
  EXPECT_NE(error("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0").find("\"num_hidden_layers\" is 0; 1 to 4096"),
            std::string::npos);
  EXPECT_NE(error("\"hidden_size\"", "\"hidden_sizes\"").find("\"hidden_size\" is missing"), std::string::npos);
}

TEST(ConvertRequantize, KeepsKeysAndRecodesMatrices) {
  TempDir dir;
  const auto original = write_and_open(dir, "a.gguf", plan_random("tiny-llama3", 7, recipe("f32")));
  ASSERT_NE(original, nullptr);
  for (const auto& r : quant_recipes()) {
    const auto copy = write_and_open(dir, "b.gguf", plan_requantize(dir.file("a.gguf"), r));
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
    ASSERT_NE(write_and_open(dir, "c.gguf", plan_requantize(dir.file("b.gguf"), r)), nullptr);
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
