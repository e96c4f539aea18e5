// Configurations that lie, that ask for what is not computed, or that leave things out.
#include "model/model.h"

#include <filesystem>
#include <limits>

#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice {
namespace {

using test::LoadedModel;
using test::MemorySource;
using test::random_decoder;
using test::RandomDecoder;

std::string error_of(std::shared_ptr<MemorySource> source) {
  auto loaded = LoadedModel::open(std::move(source), {}, 1);
  return loaded.ok() ? "" : loaded.error().message;
}

std::string error_with(const std::string& key, MetadataValue value, RandomDecoder shape = {}) {
  const auto source = random_decoder(shape);
  source->metadata().set(key, std::move(value));
  return error_of(source);
}

// The same model under GGUF's names; its q and k rows are taken as they are.
std::shared_ptr<MemorySource> as_gguf(const RandomDecoder& shape, const std::string& arch) {
  const auto hf = random_decoder(shape);
  Metadata m(MetadataKind::gguf, "model.gguf");
  m.set("general.architecture", arch);
  m.set(arch + ".embedding_length", shape.hidden);
  m.set(arch + ".feed_forward_length", shape.ffn);
  m.set(arch + ".block_count", shape.layers);
  m.set(arch + ".attention.head_count", shape.heads);
  m.set(arch + ".attention.head_count_kv", shape.kv_heads);
  m.set(arch + ".attention.key_length", shape.head_dim);
  m.set(arch + ".attention.value_length", shape.head_dim);
  m.set(arch + ".rope.dimension_count", shape.head_dim);
  m.set(arch + ".context_length", shape.positions);
  m.set(arch + ".attention.layer_norm_rms_epsilon", 1e-5);
  hf->metadata() = m;
  const std::pair<const char*, const char*> parts[] = {
      {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (int64_t l = 0; l < shape.layers; ++l)
    for (const auto& [from, to] : parts)
      for (const char* kind : {"weight", "bias"})
        hf->rename(fmt::format("model.layers.{}.{}.{}", l, from, kind), fmt::format("blk.{}.{}.{}", l, to, kind));
  hf->rename("model.embed_tokens.weight", "token_embd.weight");
  hf->rename("model.norm.weight", "output_norm.weight");
  hf->rename("lm_head.weight", "output.weight");
  return hf;
}

std::string gguf_error_with(const std::string& key, MetadataValue value) {
  const auto source = as_gguf({}, "llama");
  source->metadata().set(key, std::move(value));
  return error_of(source);
}

const std::vector<TokenId> kTokens{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

std::vector<float> logits(std::shared_ptr<MemorySource> source) {
  auto loaded = LoadedModel::open(std::move(source), {}, 1);
  EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
  return loaded.ok() ? test::logits_of(*(*loaded)->model, kTokens) : std::vector<float>();
}

TEST(ModelConfig, PlainModelsLoad) {
  EXPECT_EQ(error_of(random_decoder({})), "");
  EXPECT_EQ(error_of(as_gguf({}, "llama")), "");
}

TEST(ModelConfig, ImpossibleValuesNameFileAndKey) {
  const std::vector<std::string> keys = {
      "vocab_size",          "hidden_size",         "intermediate_size", "num_hidden_layers",
      "num_attention_heads", "num_key_value_heads", "head_dim",          "max_position_embeddings"};
  const std::vector<MetadataValue> values = {
      int64_t{0},        int64_t{-1}, std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min(), 2.5,
      std::string("64"), true,        std::vector<int64_t>{64, 64}};
  for (const std::string& key : keys)
    for (const MetadataValue& value : values) {
      const std::string error = error_with(key, value);
      EXPECT_NE(error.find("config.json"), std::string::npos)
          << key << ", value kind " << value.index() << ": " << error;
      EXPECT_NE(error.find(key), std::string::npos) << key << ", value kind " << value.index() << ": " << error;
    }
  for (const double value : {-1.0, 2.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_NE(error_with("rms_norm_eps", value).find("config.json: rms_norm_eps"), std::string::npos) << value;
    EXPECT_NE(error_with("rope_theta", value - 2).find("config.json: rope_theta"), std::string::npos) << value;
  }
}

TEST(ModelConfig, ValuesThatDoNotFitTogether) {
  EXPECT_NE(error_with("num_key_value_heads", int64_t{3}).find("num_attention_heads is 4; it must be a multiple of"),
            std::string::npos);
  EXPECT_NE(error_with("head_dim", int64_t{15}).find("head_dim gives heads of 15"), std::string::npos);
  // Right in itself, but not what the tensors are: the error names the tensor and both shapes.
  const std::string error = error_with("head_dim", int64_t{32});
  EXPECT_NE(error.find("self_attn.q_proj.weight"), std::string::npos) << error;
  EXPECT_NE(error.find("[64, 64]"), std::string::npos) << error;
  EXPECT_NE(error.find("[128, 64]"), std::string::npos) << error;
  EXPECT_NE(error_with("num_hidden_layers", int64_t{4096}).find("model.layers.2."), std::string::npos);
  EXPECT_NE(
      gguf_error_with("llama.attention.value_length", int64_t{8}).find("model.gguf: llama.attention.value_length"),
      std::string::npos);
  EXPECT_NE(gguf_error_with("llama.rope.dimension_count", int64_t{8}).find("model.gguf: llama.rope.dimension_count"),
            std::string::npos);
}

TEST(ModelConfig, WhatIsNotComputedIsRefused) {
  const std::pair<const char*, MetadataValue> settings[] = {
      {"hidden_act", std::string("gelu")},
      {"partial_rotary_factor", 0.5},
      {"num_experts", int64_t{8}},
      {"num_local_experts", int64_t{8}},
      {"attn_logit_softcapping", 50.0},
      {"final_logit_softcapping", 30.0},
      {"logits_scaling", 8.0},
      {"logit_scale", 0.0625},
      {"qk_norm", true},
      {"embedding_multiplier", 12.0},
      {"quantization_config.quant_method", std::string("gptq")},
      {"layer_types", std::vector<std::string>{"full_attention", "sliding_attention"}},
      {"layer_types", std::vector<std::string>{"full_attention"}},
      {"rope_scaling.rope_type", std::string("ntk")},
      {"rope_scaling.type", std::string("mrope")},
      {"architectures", std::vector<std::string>{"T5ForConditionalGeneration"}},
  };
  for (const auto& [key, value] : settings) {
    const std::string error = error_with(key, value);
    EXPECT_NE(error.find("config.json: " + std::string(key)), std::string::npos) << key << ": " << error;
  }
  const std::pair<const char*, MetadataValue> gguf[] = {
      {"llama.logit_scale", 0.5},
      {"llama.attention.clamp_kqv", 8.0},
      {"llama.rope.scaling.type", std::string("mrope")},
      {"general.architecture", std::string("t5")},
  };
  for (const auto& [key, value] : gguf) {
    const std::string error = gguf_error_with(key, value);
    EXPECT_NE(error.find("model.gguf: " + std::string(key)), std::string::npos) << key << ": " << error;
  }
  // The neutral values of the same settings are fine.
  EXPECT_EQ(error_with("partial_rotary_factor", 1.0), "");
  EXPECT_EQ(error_with("logits_scaling", int64_t{1}), "");
  EXPECT_EQ(gguf_error_with("llama.expert_count", int64_t{0}), "");
}

TEST(ModelConfig, RopeScalingIsCheckedWhole) {
  const auto with = [](std::initializer_list<std::pair<const char*, MetadataValue>> settings) {
    const auto source = random_decoder({});
    for (const auto& [key, value] : settings) source->metadata().set(std::string("rope_scaling.") + key, value);
    return source;
  };
  const std::string llama3 = "llama3", yarn = "yarn", linear = "linear", dynamic = "dynamic";
  EXPECT_NE(error_of(with({{"rope_type", llama3}, {"factor", 8.0}})).find("rope_scaling.low_freq_factor"),
            std::string::npos);
  EXPECT_NE(error_of(with({{"rope_type", linear}})).find("rope_scaling.factor"), std::string::npos);
  EXPECT_NE(error_of(with({{"rope_type", linear}, {"factor", -4.0}})).find("rope_scaling.factor is -4"),
            std::string::npos);
  EXPECT_NE(error_of(with({{"rope_type", linear}, {"factor", 4.0}, {"beta_fast", 4.0}}))
                .find("rope_scaling.beta_fast is not known"),
            std::string::npos);
  EXPECT_NE(error_of(with({{"rope_type", llama3},
                           {"factor", 8.0},
                           {"low_freq_factor", 4.0},
                           {"high_freq_factor", 3.0},
                           {"original_max_position_embeddings", int64_t{32}}}))
                .find("rope_scaling.high_freq_factor is 3"),
            std::string::npos);

  const auto gguf = as_gguf({}, "llama");
  gguf->metadata().set("llama.rope.scaling.type", yarn);
  gguf->metadata().set("llama.rope.scaling.factor", 4.0);
  EXPECT_EQ(error_of(gguf), "");
  gguf->metadata().set("llama.rope.scaling.yarn_log_multiplier", 0.1);
  EXPECT_NE(error_of(gguf).find("llama.rope.scaling.yarn_log_multiplier"), std::string::npos);
  const auto listed = as_gguf({}, "llama");
  listed->metadata().set("llama.rope.scaling.type", std::string("longrope"));
  EXPECT_NE(error_of(listed).find("tensor rope_factors_short.weight [8] is missing"), std::string::npos) << error_of(listed);

  const auto context = [](std::shared_ptr<MemorySource> source) {
    const auto plan = plan_model(*source);
    EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
    return plan.ok() ? plan->info.max_positions : 0;
  };
  EXPECT_EQ(context(with({{"type", yarn}, {"factor", 4.0}})), 4 * 4096);
  EXPECT_EQ(context(with({{"type", yarn}, {"factor", 4.0}, {"original_max_position_embeddings", int64_t{1024}}})),
            4096);
  EXPECT_EQ(context(with({{"type", linear}, {"factor", 4.0}})), 4096);
  // Within the trained context, dynamic scaling is none.
  EXPECT_EQ(context(with({{"type", dynamic}, {"factor", 4.0}})), 4096);
  EXPECT_TRUE(test::same_bits(logits(with({{"type", dynamic}, {"factor", 4.0}})), logits(random_decoder({}))));
  EXPECT_FALSE(test::same_bits(logits(with({{"type", linear}, {"factor", 4.0}})), logits(random_decoder({}))));
}

// The memory that is asked for before loading is what loading takes, whatever the families call their heads; a table that has to be
// copied, and what a model makes of its weights, come on top.
TEST(ModelConfig, WeightsTakeWhatWasForeseen) {
  int compared = 0;
  for (const char* folder : {"fidelity", "families"})
    for (const auto& entry : std::filesystem::directory_iterator(std::string(SLUICE_SOURCE_DIR "/tests/data/") + folder)) {
      const auto source = open_tensor_source(entry.path().string());
      if (!source.ok()) continue;
      const auto plan = plan_model(**source);
      if (!plan.ok()) continue;  // an encoder
      SCOPED_TRACE(entry.path().string());
      const auto loaded = LoadedModel::open(*source);
      ASSERT_TRUE(loaded.ok()) << loaded.error().message;
      const WeightStore& store = (*loaded)->store;
      const TensorInfo* head = (*source)->find(plan->info.head);
      ASSERT_NE(head, nullptr) << plan->info.head;
      EXPECT_EQ(head->shape[0], plan->info.vocab_size);
      const size_t owned = store.owned_bytes() + store.mapped_bytes(), foreseen = plan->info.weight_bytes;
      EXPECT_LE(foreseen, owned);
      EXPECT_LE(owned, foreseen + 2 * head->size_bytes + foreseen / 8);
      ++compared;
    }
  EXPECT_GE(compared, 80);
}

TEST(ModelConfig, MissingTensorsAreNamed) {
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"}) {
    const auto source = random_decoder({});
    source->remove(name);
    EXPECT_NE(error_of(source).find(name), std::string::npos) << name;
  }
  RandomDecoder biased;
  biased.qkv_bias = biased.output_bias = true;
  const auto source = random_decoder(biased);
  source->remove("model.layers.1.self_attn.o_proj.bias");
  EXPECT_NE(error_of(source).find("model.layers.1.self_attn.o_proj.bias"), std::string::npos);
  // A GGUF may have biases or not, but not in one layer only.
  EXPECT_EQ(error_of(as_gguf(biased, "llama")), "");
  const auto gguf = as_gguf(biased, "llama");
  gguf->remove("blk.1.attn_q.bias");
  EXPECT_NE(error_of(gguf).find("blk.1.attn_q.bias"), std::string::npos);
  const auto upper = as_gguf(biased, "llama");
  upper->remove("blk.0.attn_q.bias");
  EXPECT_NE(error_of(upper).find("blk.0.attn_q.bias"), std::string::npos);
}

TEST(ModelConfig, ThePlanMissesWhatTheModelWould) {
  const auto source = as_gguf({}, "llama");
  source->metadata().set("llama.vocab_size", int64_t{96});
  EXPECT_TRUE(plan_model(*source).ok());
  const auto tensors = source->tensors();
  for (const TensorInfo& t : tensors) source->remove(t.name);
  const auto plan = plan_model(*source);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().message, "model.gguf: tensor token_embd.weight [96, 64] is missing, and 19 more");
}

TEST(ModelConfig, LayersPastTheCountAreNamed) {
  EXPECT_NE(gguf_error_with("llama.block_count", int64_t{1})
                .find("is of layer 1, but llama.block_count is 1, so that the last is 0"),
            std::string::npos);
  EXPECT_NE(error_with("num_hidden_layers", int64_t{1}).find("config.json: tensor model.layers.1."), std::string::npos)
      << error_with("num_hidden_layers", int64_t{1});
  const auto source = as_gguf({}, "llama");
  source->add("blk.99999999999999999999.attn_q.weight", {64, 64}, std::vector<float>(64 * 64));
  EXPECT_NE(error_of(source).find("blk.99999999999999999999.attn_q.weight is of layer"), std::string::npos);
}

TEST(ModelConfig, AForeignTensorInALayerIsRefused) {
  const auto hf = random_decoder({}), gguf = as_gguf({}, "llama");
  hf->add("model.layers.0.self_attn.sinks", {4}, std::vector<float>(4, 1.0f));
  EXPECT_EQ(error_of(hf),
            "config.json: tensor model.layers.0.self_attn.sinks stands in a layer, but the llama family has no such "
            "tensor: without it the layer would compute something else");
  gguf->add("blk.1.attn_q_norm.weight", {16}, std::vector<float>(16, 1.0f));
  EXPECT_NE(error_of(gguf).find("tensor blk.1.attn_q_norm.weight stands in a layer"), std::string::npos);
}

TEST(ModelConfig, TensorsWithoutUseAreReportedOnce) {
  const auto source = random_decoder({});
  source->add("model.layers.0.self_attn.rotary_emb.inv_freq", {8}, std::vector<float>(8, 1.0f));
  testing::internal::CaptureStderr();
  EXPECT_EQ(error_of(source), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  source->add("value_head.weight", {4}, std::vector<float>(4, 1.0f));
  testing::internal::CaptureStderr();
  EXPECT_EQ(error_of(source), "");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("1 tensor is not used by the llama family: value_head.weight"), std::string::npos) << log;
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

// A text model within one that sees: under either prefix that such files have, the same logits.
TEST(ModelConfig, PrefixesOfLargerModelsAreFound) {
  RandomDecoder shape;
  shape.arch = "MistralForCausalLM";
  const std::vector<float> plain = logits(random_decoder(shape));
  for (const std::string prefix : {"language_model.", "model.language_model."}) {
    const auto source = random_decoder(shape);
    const auto tensors = source->tensors();
    for (const TensorInfo& t : tensors) {
      const bool inside = t.name.starts_with("model.");
      if (prefix.starts_with("model.") && !inside) continue;  // the head stands outside there
      source->rename(t.name, prefix + (prefix.starts_with("model.") ? t.name.substr(6) : t.name));
    }
    EXPECT_TRUE(test::same_bits(logits(source), plain)) << prefix;
  }
}

TEST(ModelConfig, RopeFactorsMustBePossible) {
  const auto good = as_gguf({}, "llama"), bad = as_gguf({}, "llama");
  good->add("rope_freqs.weight", {8}, std::vector<float>(8, 2.0f));
  EXPECT_EQ(error_of(good), "");
  EXPECT_FALSE(test::same_bits(logits(good), logits(as_gguf({}, "llama"))));
  bad->add("rope_freqs.weight", {8}, std::vector<float>{1, 1, 1, 0, 1, 1, 1, 1});
  EXPECT_NE(error_of(bad).find("rope_freqs.weight has 0 at 3"), std::string::npos);
}

TEST(ModelConfig, QwenWindowsBeginAtTheirLayer) {
  RandomDecoder shape;
  shape.arch = "Qwen2ForCausalLM", shape.qkv_bias = true;
  const auto with = [&](bool use, int64_t first) {
    const auto source = random_decoder(shape);
    source->metadata().set("use_sliding_window", use);
    source->metadata().set("sliding_window", int64_t{8});
    source->metadata().set("max_window_layers", first);
    return logits(source);
  };
  const std::vector<float> full = with(false, 0);
  EXPECT_TRUE(test::same_bits(with(true, 2), full));  // there are two layers
  const std::vector<float> upper = with(true, 1), both = with(true, 0);
  const size_t vocab = 96, inside = 8 * vocab;
  EXPECT_TRUE(test::same_bits(std::span(upper).first(inside), std::span(full).first(inside)));
  EXPECT_GT(test::max_abs_diff(std::span(upper).subspan(inside, vocab), std::span(full).subspan(inside, vocab)), 1e-3);
  EXPECT_GT(test::max_abs_diff(upper, both), 1e-3);
}

// MistralConfig's window is 4096 where config.json does not name it; null switches it off.
TEST(ModelConfig, AMissingWindowIsNotANullOne) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < 4100; ++i) tokens.push_back(i * 7 % 96);
  const auto with = [&](auto edit) {
    RandomDecoder shape;
    shape.arch = "MistralForCausalLM", shape.layers = 1, shape.positions = 8192;
    const auto source = random_decoder(shape);
    edit(source->metadata());
    auto loaded = LoadedModel::open(source, {}, 1);
    EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
    return test::TestSequence(*(*loaded)->model, 4112).feed(tokens, true);
  };
  const std::vector<float> missing = with([](Metadata&) {});
  const std::vector<float> null = with([](Metadata& m) { m.set_null("sliding_window"); });
  EXPECT_TRUE(test::same_bits(missing, with([](Metadata& m) { m.set("sliding_window", int64_t{4096}); })));
  EXPECT_TRUE(test::same_bits(null, with([](Metadata& m) { m.set("sliding_window", int64_t{0}); })));
  EXPECT_FALSE(test::same_bits(missing, null));
}

// Qwen3 leaves head_dim out where it is 128.
TEST(ModelConfig, DefaultsAreTheFamilys) {
  RandomDecoder shape;
  shape.arch = "Qwen3ForCausalLM", shape.qk_norm = true, shape.head_dim = 128;
  const auto source = random_decoder(shape);
  Metadata without(MetadataKind::huggingface, "config.json");
  for (const auto& [key, value] : source->metadata().values())
    if (key != "head_dim") without.set(key, value);
  source->metadata() = without;
  EXPECT_EQ(error_of(source), "");
}

TEST(ModelConfig, PlanKnowsWhatTheModelIs) {
  RandomDecoder shape;
  shape.tied = true;
  const auto source = random_decoder(shape);
  const auto plan = plan_model(*source);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  auto loaded = LoadedModel::open(source, {}, 1);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  const ModelInfo& info = (*loaded)->model->info();
  int64_t elems = 0;
  for (const TensorInfo& t : source->tensors()) elems += t.shape.elems();
  EXPECT_EQ(plan->info.parameters, elems);
  EXPECT_EQ(info.parameters, elems);
  EXPECT_EQ(plan->info.arch, "llama");
  for (const KvSpec& kv : {plan->kv, (*loaded)->model->kv()}) {
    ASSERT_EQ(kv.groups.size(), 1u);
    EXPECT_EQ(kv.groups[0].layers, 2);
    EXPECT_EQ(kv.groups[0].kv_heads, 2);
    EXPECT_EQ(kv.groups[0].head_dim, 16);
  }
}

// Random damage to a configuration: an error that names the file, or a model that runs; never a crash.
TEST(ModelConfig, DamagedConfigurations) {
  Rng rng(3);
  int built = 0;
  for (int round = 0; round < 300; ++round) {
    const bool gguf = rng.below(2) == 0;
    const auto source = gguf ? as_gguf({}, "llama") : random_decoder({});
    std::vector<std::string> keys;
    for (const auto& [key, value] : source->metadata().values()) keys.push_back(key);
    const std::string prefix = gguf ? "llama.rope.scaling." : "rope_scaling.";
    for (const char* extra :
         {"factor", "type", "rope_type", "original_context_length", "original_max_position_embeddings",
          "low_freq_factor", "high_freq_factor", "beta_fast", "attention_factor", "yarn_beta_slow"})
      keys.push_back(prefix + extra);
    keys.insert(keys.end(), {"rope_theta", "llama.rope.freq_base", "sliding_window", "llama.attention.sliding_window",
                             "llama.attention.scale"});
    for (uint64_t edits = 1 + rng.below(3); edits > 0; --edits) {
      const std::string& key = keys[rng.below(keys.size())];
      const MetadataValue choices[] = {int64_t{0},
                                       int64_t{1},
                                       int64_t{2},
                                       int64_t{-5},
                                       rng.between(0, 200),
                                       static_cast<int64_t>(rng.next_u64()),
                                       0.0,
                                       1e-300,
                                       1e300,
                                       -1.5,
                                       rng.next_double() * 100,
                                       std::nan(""),
                                       true,
                                       std::string("yarn"),
                                       std::string("linear"),
                                       std::string("llama3"),
                                       std::string("\xff\x00 x"),
                                       std::vector<int64_t>{1, 2},
                                       std::vector<std::string>{"a"}};
      source->metadata().set(key, choices[rng.below(std::size(choices))]);
    }
    auto loaded = LoadedModel::open(source, {}, 1);
    if (!loaded.ok()) {
      EXPECT_NE(loaded.error().message.find(gguf ? "model.gguf" : "config.json"), std::string::npos)
          << loaded.error().message;
      continue;
    }
    ++built;
    test::logits_of(*(*loaded)->model, kTokens);
  }
  EXPECT_GT(built, 15);
}

}  // namespace
}  // namespace sluice
