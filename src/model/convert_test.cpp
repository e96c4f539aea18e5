// Hugging Face models as GGUF files: the same tensors under other names, the same computation, the same refusals.

#include <cmath>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/rng.h"
#include "model/model.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"
#include "weights/test_gguf.h"
#include "weights/weight_piece.h"

namespace sluice {
namespace {

using test::LoadedModel;
using test::MemorySource;
using test::random_decoder;
using test::RandomDecoder;

const std::string kFidelity = std::string(SLUICE_SOURCE_DIR) + "/tests/data/fidelity";

Result<GgufPlan> plan_of(std::shared_ptr<TensorSource> source) {
  return plan_huggingface(std::move(source), "test", vocabulary(10), recipe("f32"));
}
std::string error_of(std::shared_ptr<TensorSource> source) {
  const auto plan = plan_of(std::move(source));
  return plan.ok() ? "" : plan.error().message;
}

RandomDecoder decoder(const std::string& arch) {
  RandomDecoder shape;
  shape.arch = arch;
  shape.qkv_bias = arch == "Qwen2ForCausalLM";
  shape.qk_norm = arch == "Qwen3ForCausalLM";
  return shape;
}

using Settings = std::vector<std::pair<std::string, MetadataValue>>;
std::shared_ptr<MemorySource> with(const RandomDecoder& shape, const Settings& settings) {
  const auto source = random_decoder(shape);
  for (const auto& [key, value] : settings) source->metadata().set(key, value);
  return source;
}

TEST(ConvertHuggingface, LlamaReordersQueryAndKeyRows) {
  TempDir dir;
  RandomDecoder shape;
  shape.head_dim = 8, shape.qkv_bias = shape.output_bias = true;
  const auto hf = with(shape, {{"rope_theta", 500000.0},
                               {"rope_scaling.rope_type", std::string("llama3")},
                               {"rope_scaling.factor", 8.0},
                               {"rope_scaling.low_freq_factor", 1.0},
                               {"rope_scaling.high_freq_factor", 4.0},
                               {"rope_scaling.original_max_position_embeddings", int64_t{64}}});
  const auto source = write_and_open(dir, "m.gguf", plan_of(hf));
  ASSERT_NE(source, nullptr);
  const int64_t dim = shape.head_dim;
  const auto check = [&](const std::string& gguf, const std::string& name, int64_t heads, int64_t cols) {
    const auto got = decoded(*source, gguf), want = decoded(*hf, name);
    ASSERT_EQ(got.size(), want.size());
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < dim / 2; ++i)
        for (int64_t half = 0; half < 2; ++half)  // the pair (i, i + d/2) becomes (2i, 2i + 1)
          for (int64_t c = 0; c < cols; ++c)
            ASSERT_EQ(got[((h * dim + 2 * i + half) * cols) + c], want[((h * dim + i + half * dim / 2) * cols) + c]);
  };
  check("blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight", shape.heads, shape.hidden);
  check("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", shape.kv_heads, shape.hidden);
  check("blk.1.attn_q.bias", "model.layers.1.self_attn.q_proj.bias", shape.heads, 1);
  EXPECT_EQ(decoded(*source, "blk.1.attn_v.weight"), decoded(*hf, "model.layers.1.self_attn.v_proj.weight"));
  EXPECT_EQ(decoded(*source, "output.weight"), decoded(*hf, "lm_head.weight"));
  // transformers' formula, i = 0..3: wavelengths 2 pi theta^(i/4) against 64 / 4 and 64 / 1.
  const auto factors = decoded(*source, "rope_freqs.weight");
  ASSERT_EQ(factors.size(), 4u);
  EXPECT_EQ(factors[0], 1.0f);
  const double wavelength = 2 * M_PI * std::pow(500000.0, 0.25), smooth = (64 / wavelength - 1) / 3;
  EXPECT_NEAR(factors[1], wavelength > 64 ? 8.0 : 1 / ((1 - smooth) / 8 + smooth), 1e-5);
  EXPECT_EQ(factors[3], 8.0f);
  EXPECT_FALSE(source->metadata().has("llama.rope.scaling.type"));
  EXPECT_EQ(source->metadata().number_or("llama.rope.freq_base", 0), 500000.0);
  // The tokenizer had 10 tokens, the embedding has 96 rows.
  const auto& tokens = *source->metadata().strings("tokenizer.ggml.tokens");
  ASSERT_EQ(tokens.size(), 96u);
  EXPECT_EQ(tokens[95], "[PAD95]");
  EXPECT_EQ(source->metadata().integers("tokenizer.ggml.token_type")->back(), 5);
}

TEST(ConvertHuggingface, QwenKeepsItsOrder) {
  for (const char* architecture : {"Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    TempDir dir;
    RandomDecoder shape = decoder(architecture);
    shape.tied = true;
    const auto hf = with(shape, {{"rope_scaling.rope_type", std::string("yarn")},
                                 {"rope_scaling.factor", 4.0},
                                 {"rope_scaling.original_max_position_embeddings", int64_t{32}}});
    const auto source = write_and_open(dir, "m.gguf", plan_of(hf));
    ASSERT_NE(source, nullptr);
    EXPECT_EQ(decoded(*source, "blk.1.attn_q.weight"), decoded(*hf, "model.layers.1.self_attn.q_proj.weight"));
    const std::string arch = source->metadata().architecture();
    EXPECT_EQ(arch, architecture == std::string("Qwen2ForCausalLM") ? "qwen2" : "qwen3");
    EXPECT_EQ(source->find("output.weight"), nullptr);
    EXPECT_EQ(source->metadata().string_or(arch + ".rope.scaling.type", ""), "yarn");
    EXPECT_EQ(source->metadata().integer_or(arch + ".rope.scaling.original_context_length", 0), 32);
    EXPECT_EQ(source->tensors().size(), hf->tensors().size());
  }
}

/// The same tensors to the byte, and the settings that the twin has.
void expect_equals_twin(const TensorSource& source, const TensorSource& twin) {
  EXPECT_EQ(source.tensors().size(), twin.tensors().size());
  for (const TensorInfo& info : twin.tensors()) {
    const TensorInfo* ours = source.find(info.name);
    ASSERT_NE(ours, nullptr) << info.name;
    ASSERT_EQ(ours->shape, info.shape) << info.name;
    if (info.shape[info.shape.rank - 1] < 16) {  // which stay float32 here
      EXPECT_EQ(decoded(source, info.name), decoded(twin, info.name)) << info.name;
      continue;
    }
    ASSERT_EQ(ours->dtype, info.dtype) << info.name;
    EXPECT_EQ(std::memcmp(source.view(*ours).data, twin.view(info).data, info.size_bytes), 0) << info.name;
  }
  for (const auto& [key, value] : twin.metadata().values())
    if (key.starts_with(twin.metadata().architecture() + ".")) {
      ASSERT_TRUE(source.metadata().has(key)) << key;
      EXPECT_EQ(source.metadata().values().at(key), value) << key;
    }
}

// The committed twins were written by another converter (tests/data/fidelity/*/gguf.json says which).
TEST(ConvertHuggingface, EqualsAnIndependentConverter) {
  namespace fs = std::filesystem;
  TempDir dir;
  int compared = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kFidelity)) {
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
    expect_equals_twin(*source, **twin);
    ++compared;
  }
  EXPECT_GE(compared, 9);
}

// A GGUF of MiniCPM3 names no factors, and is computed with the 4B model's.
TEST(ConvertHuggingface, Minicpm3OfTheUsualFactors) {
  TempDir dir;
  const std::string folder = std::string(SLUICE_SOURCE_DIR) + "/tests/data/families/minicpm3";
  const auto original = open_tensor_source(folder), twin = open_tensor_source(folder + "/model.bf16.gguf");
  ASSERT_TRUE(original.ok() && twin.ok());
  EXPECT_NE(error_of(*original).find("scale_emb is 6, scale_depth 0.8 and dim_model_base 12 (other than 12, 1.4 and 256), which a GGUF cannot say"),
            std::string::npos) << error_of(*original);
  const auto usual = test::copy_source(**original);
  for (const auto& [key, value] : {std::pair{"scale_emb", 12.0}, {"scale_depth", 1.4}, {"dim_model_base", 256.0}}) usual->metadata().set(key, value);
  const auto source = write_and_open(dir, "m.gguf", plan_huggingface(usual, "x", vocabulary(3), recipe("bf16")));
  ASSERT_NE(source, nullptr);
  expect_equals_twin(*source, **twin);

  std::vector<TokenId> tokens;
  for (int i = 0; i < 64; ++i) tokens.push_back(i * i % 83);
  const auto logits = [&](std::shared_ptr<TensorSource> of) {
    auto model = LoadedModel::open(std::move(of), "ref", 1);
    EXPECT_TRUE(model.ok()) << model.error().message;
    if (!model.ok()) return std::vector<float>();
    (*model)->model->set_context(64);
    return test::logits_of(*(*model)->model, tokens);
  };
  const std::vector<float> want = logits(usual);
  EXPECT_LE(test::max_abs_diff(logits(*twin), want), 1e-4);
  EXPECT_GT(test::max_abs_diff(logits(*original), want), 1e-2) << "the factors change nothing";
  // Keys and values of a head are one tensor in both kinds of file, whatever their widths, and pairs may be stretched.
  usual->metadata().set("v_head_dim", int64_t{7});
  Rng rng(3);
  for (int layer = 0; layer < 2; ++layer)
    for (const auto& [name, shape] : {std::pair{"kv_b_proj", Shape{3 * (10 + 7), 14}}, {"o_proj", Shape{36, 3 * 7}}}) {
      std::vector<float> values(static_cast<size_t>(shape.elems()));
      for (float& v : values) v = static_cast<float>(0.2 * rng.next_normal());
      const std::string full = fmt::format("model.layers.{}.self_attn.{}.weight", layer, name);
      usual->remove(full);
      usual->add(full, shape, values);
    }
  usual->metadata().set("rope_scaling.rope_type", std::string("longrope"));
  usual->metadata().set("rope_scaling.original_max_position_embeddings", int64_t{32});
  usual->metadata().set("rope_scaling.short_factor", std::vector<double>{1, 1.5, 2, 2});
  usual->metadata().set("rope_scaling.long_factor", std::vector<double>{1, 2, 4, 8});
  const auto other = write_and_open(dir, "o.gguf", plan_of(usual));
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(other->metadata().integer_or("minicpm3.attention.value_length", 0), 7);
  EXPECT_NE(other->find("rope_factors_long.weight"), nullptr);
  EXPECT_LE(test::max_abs_diff(logits(other), logits(usual)), 1e-5);
  const auto back = plan_to_huggingface(other, DType::f32);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_NE(back->files.at("config.json").find("\"v_head_dim\": 7"), std::string::npos) << back->files.at("config.json");
  EXPECT_NE(back->files.at("config.json").find("longrope"), std::string::npos);
}

// What both ways of conversion read: a row of a matrix of blocks, of its transpose (DeepSeek's kv_b_proj), a value of a vector.
TEST(DecodeRow, IsTheSameOfBlocksAndOfWhatTheyHold) {
  Rng rng(5);
  std::vector<float> values(64 * 32);
  for (float& v : values) v = static_cast<float>(rng.next_normal());
  test::MemorySource source{Metadata(MetadataKind::huggingface, "config.json")};
  source.add("m", {64, 32}, values, DType::q8_0);
  source.add("v", {64}, {values.begin(), values.begin() + 64}, DType::q8_0);
  const auto plain = test::decoded_source(source);
  struct Case { WeightPiece piece; int64_t rows, k; };
  const Case cases[] = {{{.name = "m", .shape = {64, 32}}, 64, 32},
                        {{.name = "m", .shape = {64, 32}, .rows = {4}, .transposed = true, .first_column = 8}, 28, 16},
                        {{.name = "v", .shape = {64}}, 64, 1}};
  for (const Case& c : cases)
    for (int64_t r = 0; r < c.rows; ++r) {
      Buffer memory;
      std::vector<float> of_blocks(static_cast<size_t>(c.k)), of_floats(of_blocks.size());
      ASSERT_TRUE(decode_row(source, c.piece, r, c.k, memory, of_blocks.data()).ok());
      ASSERT_TRUE(decode_row(*plain, c.piece, r, c.k, memory, of_floats.data()).ok());
      ASSERT_EQ(of_blocks, of_floats) << c.piece.name << " row " << r;
    }
}

// Of every family that has a GGUF form, a file of ours computes what the directory computes.
TEST(ConvertHuggingface, EveryFamilyKeepsItsLogits) {
  namespace fs = std::filesystem;
  TempDir dir;
  int converted = 0, without = 0;
  const std::vector<TokenId> tokens{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7, 9, 5};
  for (const auto& entry : fs::directory_iterator(std::string(SLUICE_SOURCE_DIR) + "/tests/data/families")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    SCOPED_TRACE(entry.path().filename().string());
    auto original = open_tensor_source(entry.path().string());
    ASSERT_TRUE(original.ok()) << original.error().message;
    if (!plan_model(**original).ok()) continue;  // an encoder
    auto plan = plan_of(*original);
    if (!plan.ok()) {
      const std::string& why = plan.error().message;
      EXPECT_TRUE(why.find("which a GGUF cannot say") != std::string::npos || why.find("there is no GGUF form") != std::string::npos ||
                  why.find("has no place in a") != std::string::npos) << why;
      ++without;
      continue;
    }
    const auto file = write_and_open(dir, "m.gguf", std::move(plan));
    ASSERT_NE(file, nullptr);
    auto ours = LoadedModel::open(file, {}, 1);
    EXPECT_TRUE(ours.ok()) << ours.error().message;
    if (!ours.ok()) continue;
    auto theirs = LoadedModel::open(test::decoded_source(**original), {}, 1);
    ASSERT_TRUE(theirs.ok()) << theirs.error().message;
    (*ours)->model->set_context(64), (*theirs)->model->set_context(64);
    EXPECT_LE(test::max_abs_diff(test::logits_of(*(*ours)->model, tokens), test::logits_of(*(*theirs)->model, tokens)), 1e-5);
    ++converted;
  }
  EXPECT_GE(converted, 40);
  std::printf("%d families' models converted, %d have settings or forms that a GGUF lacks\n", converted, without);
}

// The GGUF computes what the directory computes, whatever the settings say and leave out.
TEST(ConvertHuggingface, TheFileIsTheModelThatTheDirectoryIs) {
  RandomDecoder biased, tied, mistral = decoder("MistralForCausalLM");
  biased.qkv_bias = biased.output_bias = biased.mlp_bias = true;
  tied.tied = true;
  const RandomDecoder plain, qwen2 = decoder("Qwen2ForCausalLM"), qwen3 = decoder("Qwen3ForCausalLM");
  const std::string linear = "linear", yarn = "yarn", llama3 = "llama3";
  const std::string type = "rope_scaling.rope_type", factor = "rope_scaling.factor";
  const std::pair<RandomDecoder, Settings> models[] = {
      {plain, {{"sliding_window", int64_t{8}}}},  // a Llama has none, whatever stands there
      {plain, {{"rope_theta", 300.0}, {"rms_norm_eps", 0.1}}},
      {plain, {{type, linear}, {factor, 4.0}}},
      {plain, {{type, yarn}, {factor, 4.0}, {"rope_scaling.beta_fast", 8.0}, {"rope_scaling.beta_slow", 2.0}}},
      {plain, {{type, yarn}, {factor, 40.0}, {"rope_scaling.mscale", 1.0}, {"rope_scaling.mscale_all_dim", 0.5}}},
      {plain, {{type, yarn}, {factor, 4.0}, {"rope_scaling.attention_factor", 2.0}}},
      {plain,
       {{type, llama3},
        {factor, 8.0},
        {"rope_scaling.low_freq_factor", 1.0},
        {"rope_scaling.high_freq_factor", 4.0},
        {"rope_scaling.original_max_position_embeddings", int64_t{16}}}},
      {biased, {}},
      {tied, {}},
      {mistral, {}},
      {mistral, {{"sliding_window", int64_t{8}}}},
      {qwen2, {{"use_sliding_window", true}, {"sliding_window", int64_t{8}}, {"max_window_layers", int64_t{0}}}},
      {qwen2, {{"sliding_window", int64_t{8}}}},
      {qwen3, {}},
  };
  std::vector<TokenId> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back(i * i % 96);
  TempDir dir;
  for (size_t i = 0; i < std::size(models); ++i) {
    SCOPED_TRACE(fmt::format("model {}", i));
    const auto hf = with(models[i].first, models[i].second);
    auto original = LoadedModel::open(hf, "ref", 1);
    ASSERT_TRUE(original.ok()) << original.error().message;
    const auto source = write_and_open(dir, "m.gguf", plan_of(hf));
    ASSERT_NE(source, nullptr);
    auto converted = LoadedModel::open(source, "ref", 1);
    ASSERT_TRUE(converted.ok()) << converted.error().message;
    EXPECT_EQ((*converted)->model->info().max_positions, (*original)->model->info().max_positions);
    EXPECT_LE(test::max_abs_diff(test::logits_of(*(*converted)->model, tokens),
                                 test::logits_of(*(*original)->model, tokens)),
              1e-4);
  }
}

TEST(ConvertHuggingface, WhatTheModelRefusesIsRefused) {
  const auto original = open_tensor_source(kFidelity + "/llama3_rope");
  ASSERT_TRUE(original.ok()) << original.error().message;
  const Settings settings = {
      {"logits_scaling", int64_t{2}},
      {"final_logit_softcapping", 30.0},
      {"partial_rotary_factor", 0.5},
      {"attention_multiplier", 0.5},
      {"layer_types", std::vector<std::string>((*original)->metadata().integer_or("num_hidden_layers", 0),
                                               "sliding_attention")},
      {"quantization_config.quant_method", std::string("gptq")},
      {"hidden_act", int64_t{3}},
      {"rope_theta", std::string("x")},
      {"rms_norm_eps", std::string("x")},
      {"tie_word_embeddings", int64_t{1}},
      {"max_position_embeddings", std::string("x")},
      {"num_key_value_heads", 2.0},
      {"num_hidden_layers", int64_t{1}},
      {"intermediate_size", int64_t{65}},
      {"architectures", std::vector<std::string>{"MambaForCausalLM"}},
  };
  EXPECT_EQ(error_of(*original), "");
  for (const auto& [key, value] : settings) {
    const auto changed = test::copy_source(**original);
    changed->metadata().set(key, value);
    const auto plan = plan_model(*changed);
    ASSERT_FALSE(plan.ok()) << key;
    EXPECT_EQ(error_of(changed), plan.error().message) << key;
  }
}

TEST(ConvertHuggingface, TensorsThatNothingReadsAreTreatedAsByTheModel) {
  const auto layer = random_decoder({}), outside = random_decoder({});
  layer->add("model.layers.0.mlp.router.bias", {64}, std::vector<float>(64, 1.0f));
  const auto plan = plan_model(*layer);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("model.layers.0.mlp.router.bias stands in a layer"), std::string::npos);
  EXPECT_EQ(error_of(layer), plan.error().message);

  outside->add("value_head.weight", {64}, std::vector<float>(64));
  EXPECT_TRUE(plan_model(*outside).ok());
  testing::internal::CaptureStderr();
  EXPECT_EQ(error_of(outside), "");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("1 tensor is not used by the llama family: value_head.weight"), std::string::npos) << log;
}

TEST(ConvertHuggingface, WhatAGgufCannotSayIsNamed) {
  const auto error = [](const RandomDecoder& shape, const Settings& settings) {
    const auto source = with(shape, settings);
    EXPECT_TRUE(plan_model(*source).ok());
    return error_of(source);
  };
  const std::string type = "rope_scaling.rope_type", yarn = "yarn", dynamic = "dynamic";
  const std::string original = "rope_scaling.original_max_position_embeddings";
  EXPECT_EQ(error({}, {{type, dynamic}, {"rope_scaling.factor", 2.0}}),
            "config.json: rope_scaling.rope_type is \"dynamic\", which a GGUF cannot say");
  EXPECT_EQ(error({}, {{type, yarn}, {"rope_scaling.factor", 2.0}, {"rope_scaling.truncate", false}}),
            "config.json: rope_scaling.truncate is false, which a GGUF cannot say");
  EXPECT_EQ(error({}, {{type, yarn}, {"rope_scaling.factor", 2.0}, {original, int64_t{5000000000}}}),
            "config.json: " + original + " is 5000000000, which a GGUF cannot say");
  EXPECT_EQ(error(decoder("Qwen2ForCausalLM"),
                  {{"use_sliding_window", true}, {"sliding_window", int64_t{8}}, {"max_window_layers", int64_t{1}}}),
            "config.json: attention sees 8 positions in layer 1 and 0 in layer 0 (0: all), which a GGUF cannot say");

  TempDir dir;
  EXPECT_NE(error_of(write_and_open(dir, "m.gguf", plan_of(random_decoder({})))).find("not a Hugging Face model"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice
