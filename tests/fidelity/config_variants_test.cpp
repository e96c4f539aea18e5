// What published files call otherwise, or leave out: the models of tests/data/families under those names give the same logits.

#include "model/layers/decoder_model.h"
#include "model/find_arch.h"
#include "tests/support/golden.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"
#include "weights/hf_config.h"

namespace sluice::test {
namespace {

constexpr double kTolerance = 1e-4;
const std::string kFamilies = SLUICE_SOURCE_DIR "/tests/data/families/";

using Edit = std::function<void(nlohmann::json&)>;

/// The model of a folder with its config.json edited.
std::shared_ptr<MemorySource> edited(const std::string& name, const Edit& edit) {
  nlohmann::json config = read_json(kFamilies + name + "/config.json");
  edit(config);
  auto metadata = parse_config(config.dump(), "config.json");
  EXPECT_TRUE(metadata.ok()) << metadata.error().message;
  const auto source = open_tensor_source(kFamilies + name);
  EXPECT_TRUE(source.ok()) << source.error().message;
  const auto copy = copy_source(**source);
  copy->metadata() = std::move(metadata).value();
  return copy;
}

std::vector<float> logits_over_golden(const std::string& name, std::shared_ptr<TensorSource> source) {
  const auto loaded = LoadedModel::open(std::move(source));
  EXPECT_TRUE(loaded.ok()) << name << ": " << (loaded.ok() ? "" : loaded.error().message);
  if (!loaded.ok()) return {};
  return logits_of(*(*loaded)->model, read_json(kFamilies + name + "/golden.json").at("ids").get<std::vector<TokenId>>());
}

double difference(const std::string& name, std::shared_ptr<TensorSource> source) {
  const std::vector<float> golden = read_floats(kFamilies + name + "/golden.logits.f32"), logits = logits_over_golden(name, std::move(source));
  return logits.size() == golden.size() ? max_abs_diff(logits, golden) : INFINITY;
}

std::string error_of(const TensorSource& source) {
  const auto plan = plan_model(source);
  return plan.ok() ? "" : plan.error().message;
}

void rename(nlohmann::json& config, const char* from, const char* to) {
  ASSERT_TRUE(config.contains(from)) << from;
  config[to] = config.at(from);
  config.erase(from);
}

TEST(ConfigVariants, GiveTheSameLogits) {
  const auto pattern = [](nlohmann::json value) {
    return [=](nlohmann::json& config) {
      config.erase("layer_types");
      config["sliding_window_pattern"] = value;
    };
  };
  const struct { const char* model; Edit edit; } variants[] = {
      {"exaone4", pattern(4)},
      {"exaone4", pattern("LLLG")},
      {"cohere2", pattern(4)},
      {"gemma3_text", pattern(6)},
      {"olmo3", [](auto& c) { c.erase("layer_types"); }},
      {"stablelm", [](auto& c) {  // of stabilityai/stablelm-3b-4e1t
         c["architectures"] = {"StableLMEpochForCausalLM"};
         c["model_type"] = "stablelm_epoch";
         rename(c, "layer_norm_eps", "norm_eps");
         rename(c, "partial_rotary_factor", "rope_pct");
         c["rotary_scaling_factor"] = 1.0;
       }},
      {"deepseek_v3", [](auto& c) { c.erase("norm_topk_prob"), c.erase("routed_scaling_factor"); }},
      {"glm", [](auto& c) { c.erase("attention_bias"); }},
      {"granite", [](auto& c) { c["rope_scaling"] = nullptr; }},
      {"bamba", [](auto& c) { c.erase("partial_rotary_factor"); }},
  };
  for (const auto& [model, edit] : variants) EXPECT_LE(difference(model, edited(model, edit)), kTolerance) << model;
  // And the same keys with other values do not.
  EXPECT_GT(difference("exaone4", edited("exaone4", pattern("LG"))), 0.01);
  EXPECT_GT(difference("stablelm", edited("stablelm", [](auto& c) {
              c.erase("partial_rotary_factor");
              c["rope_pct"] = 1.0;
            })), 0.01);
}

// As transformers 5 has them.
TEST(ConfigVariants, WhatIsLeftOutHasTheReferencesDefault) {
  const struct { const char *model, *key; nlohmann::json value; } defaults[] = {
      {"cohere", "rope_theta", 500000.0},
      {"deepseek_v2", "topk_method", "greedy"},
      {"minicpm3", "rms_norm_eps", 1e-5},
      {"minicpm3", "scale_emb", 12},
      {"minicpm3", "scale_depth", 1.4},
      {"minicpm3", "dim_model_base", 256},
      {"ministral", "layer_types", {"sliding_attention", "sliding_attention", "sliding_attention"}},
      {"ministral3", "rms_norm_eps", 1e-5},
  };
  for (const auto& [model, key, value] : defaults) {
    const auto without = logits_over_golden(model, edited(model, [&](auto& c) { c.erase(key); }));
    const auto with = logits_over_golden(model, edited(model, [&](auto& c) { c[key] = value; }));
    EXPECT_TRUE(same_bits(without, with)) << model << ": " << key;
    EXPECT_GT(difference(model, edited(model, [&](auto& c) { c.erase(key); })), 1e-3) << model << ": " << key << " does not matter here";
  }
}

// The first files of fla have the six shares of the blends in one tensor.
TEST(ConfigVariants, FusedBlendsOfRwkv7) {
  const auto source = edited("rwkv7_fla", [](auto&) {});
  for (int layer = 0; layer < 2; ++layer) {
    const std::string at = fmt::format("model.layers.{}.attn.x_", layer);
    std::vector<float> all;
    for (const char letter : std::string("rwkvag")) {
      const TensorInfo* info = source->find(at + letter);
      ASSERT_NE(info, nullptr);
      std::vector<float> values(static_cast<size_t>(info->shape.elems()));
      weight_format(info->dtype)->decode(source->view(*info).data, values.data(), info->shape.elems());
      all.insert(all.end(), values.begin(), values.end());
      source->remove(at + letter);
    }
    source->add(at + "x", {6, static_cast<int64_t>(all.size()) / 6}, all);
  }
  EXPECT_LE(difference("rwkv7_fla", source), kTolerance);
}

TEST(ConfigVariants, WhatIsNotComputedIsRefused) {
  const struct { const char* model; Edit edit; const char* message; } cases[] = {
      {"exaone4", [](auto& c) { c.erase("layer_types"), c["sliding_window_pattern"] = "GLLL"; }, "sliding_window_pattern is \"GLLL\""},
      {"exaone4", [](auto& c) { c.erase("layer_types"), c["sliding_window_pattern"] = ""; }, "sliding_window_pattern is \"\""},
      {"stablelm", [](auto& c) { c["rotary_scaling_factor"] = 2.0; }, "rotary_scaling_factor"},
      {"rwkv7_fla", [](auto& c) { c["attn"] = {{"layers", {0}}}; }, "attn.layers names layers of attention"},
      {"rwkv7_fla", [](auto& c) { c["hidden_act"] = "gelu"; }, "hidden_act"},
      {"bamba", [](auto& c) { c["partial_rotary_factor"] = 1.0; }, "partial_rotary_factor is 1"},
      {"deepseek_v2", [](auto& c) { c["scoring_func"] = "sigmoid"; }, "scoring_func is \"sigmoid\""},
      {"smollm3", [](auto& c) { c["use_sliding_window"] = true; }, "use_sliding_window"},
      {"nemotron_h", [](auto& c) { c["mamba_hidden_act"] = "gelu"; }, "mamba_hidden_act is \"gelu\""},
      {"llama4_text", [](auto& c) { c["qk_norm"] = true; }, "qk_norm is true"},
      {"gemma2", [](auto& c) { c["rope_local_base_freq"] = 1e6; }, "rope_local_base_freq is 1000000; all layers of this model family rotate by 10000"},
  };
  for (const auto& [model, edit, message] : cases) {
    const std::string error = error_of(*edited(model, edit));
    EXPECT_NE(error.find(message), std::string::npos) << model << ": " << error;
  }
}

// transformers divides the weights of RWKV 4 as it loads them, and rows as they go: the golden logits are of rows halved after each block.
TEST(ConfigVariants, HalvedRowsOfRwkv4) {
  const auto every = [](const nlohmann::json& value) { return edited("rwkv4", [&](auto& c) { c["rescale_every"] = value; }); };
  EXPECT_LE(difference("rwkv4", every(1)), kTolerance);
  EXPECT_GT(difference("rwkv4", every(2)), 1e-3);
  const auto never = logits_over_golden("rwkv4", every(0));
  EXPECT_GT(max_abs_diff(never, logits_over_golden("rwkv4", every(1))), 1e-2);
  EXPECT_TRUE(same_bits(never, logits_over_golden("rwkv4", every(-1))));
  EXPECT_TRUE(same_bits(never, logits_over_golden("rwkv4", edited("rwkv4", [](auto& c) { c.erase("rescale_every"); })))) << "6, and there are 2";
}

// A GGUF has the weights divided already, which a config.json cannot say.
TEST(ConfigVariants, HalvedRowsOfAGguf) {
  const auto source = open_tensor_source(kFamilies + "rwkv6/model.bf16.gguf");
  ASSERT_TRUE(source.ok()) << source.error().message;
  const auto halved = copy_source(**source);
  halved->metadata().set("rwkv6.rescale_every_n_layers", int64_t{1});
  EXPECT_GT(difference("rwkv6", halved), 1e-2) << "its weights are not divided";
  for (const char* name : {"blk.1.time_mix_output.weight", "blk.1.channel_mix_value.weight"}) {
    const TensorInfo info = *halved->find(name);
    std::vector<float> values(static_cast<size_t>(info.shape.elems()));
    weight_format(info.dtype)->decode(halved->view(info).data, values.data(), info.shape.elems());
    for (float& v : values) v /= 2;
    halved->remove(name);
    halved->add(name, info.shape, values, info.dtype);
  }
  // The epsilons are halved rows' too, and tell the two apart as far as they count.
  EXPECT_GT(difference("rwkv6", halved), kTolerance);
  const auto whole = copy_source(**source);
  for (const auto& each : {halved, whole}) each->metadata().set("rwkv6.attention.layer_norm_epsilon", 1e-9);
  EXPECT_LE(max_abs_diff(logits_over_golden("rwkv6", halved), logits_over_golden("rwkv6", whole)), 1e-5);
  const auto directory = plan_to_huggingface(halved, DType::f32);
  ASSERT_FALSE(directory.ok());
  EXPECT_NE(directory.error().message.find("rwkv6.rescale_every_n_layers is another"), std::string::npos) << directory.error().message;
}

// Keys of GGUF files that not every writer gives.
TEST(ConfigVariants, GgufKeys) {
  const auto gguf = [](const std::string& file) {
    const auto source = open_tensor_source(kFamilies + file);
    EXPECT_TRUE(source.ok()) << source.error().message;
    return copy_source(**source);
  };
  const auto described = [](const TensorSource& source) { return (*find_arch(source.metadata()))->describe(source); };
  // Granite's switch of the rotation, which has the name of something else.
  const auto granite = gguf("granite/model.f16.gguf");
  EXPECT_NE(described(*granite)->config.rope, nullptr);
  granite->metadata().set("granite.rope.scaling.finetuned", false);
  EXPECT_EQ(described(*granite)->config.rope, nullptr);
  // Layers with a window may have a base of their own, or say the others' once more.
  const auto olmo = gguf("olmo3/model.bf16.gguf");
  ASSERT_TRUE(olmo->metadata().has("olmo2.rope.freq_base_swa"));
  olmo->metadata().set("olmo2.rope.freq_base_swa", 7e5);
  EXPECT_EQ(described(*olmo)->config.local_rope->settings.theta, 7e5);
  olmo->metadata().remove_prefix("olmo2.rope.freq_base_swa");
  EXPECT_LE(difference("olmo3", olmo), kTolerance);
  const auto cohere = gguf("cohere2/model.bf16.gguf");
  cohere->metadata().set("cohere2.rope.freq_base_swa", cohere->metadata().number_or("cohere2.rope.freq_base", 0));
  EXPECT_LE(difference("cohere2", cohere), kTolerance);
  cohere->metadata().set("cohere2.rope.freq_base_swa", 1e6);
  EXPECT_NE(error_of(*cohere).find("cohere2.rope.freq_base_swa is 1000000; all layers of this model family rotate by 10000"), std::string::npos) << error_of(*cohere);
}

}  // namespace
}  // namespace sluice::test
