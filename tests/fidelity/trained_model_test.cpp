// The trained llama2.c models, converted to GGUF, against an independent float32 scalar implementation: logits of the
// first positions, and greedy text.

#include <cstdlib>
#include <filesystem>

#include "base/base64.h"
#include "tests/support/golden.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"
#include "weights/convert.h"
#include "weights/gguf_writer.h"

namespace sluice::test {
namespace {

constexpr double kTolerance = 1e-4;
const std::string kStories = SLUICE_SOURCE_DIR "/tests/data/stories260K/";
const std::string kStoriesModel = SLUICE_SOURCE_DIR "/models/stories260K.gguf";

// Both sides round: the reference sums in plain float32 order. A model that rounds its activations to int8 has values that lie between two
// integers within float32's rounding, and fall to either side; from there on its rows are another rounding of the same model, which
// `flips` bounds. At least a third of the rows come before that: none would, were the rounding left out or another.
void expect_golden(const std::string& model_path, const std::string& golden_stem, double flips = 0) {
  const nlohmann::json golden = read_json(golden_stem + ".json");
  const std::vector<float> recorded = read_floats(golden_stem + ".logits.f32");
  for (const std::string& isa : float32_isas()) {
    auto loaded = LoadedModel::open(model_path, isa);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Model& model = *(*loaded)->model;
    const auto vocab = static_cast<size_t>(model.info().vocab_size);
    size_t row = 0, alike = 0;
    for (const auto& c : golden.at("cases")) {
      const auto prompt = c.at("prompt_ids").get<std::vector<TokenId>>();
      const auto greedy = c.at("greedy_ids").get<std::vector<TokenId>>();
      std::vector<TokenId> tokens = prompt;
      tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
      const std::vector<float> logits = logits_of(model, tokens);
      const size_t rows = c.at("logits_rows").get<size_t>();
      ASSERT_LE((row + rows) * vocab, recorded.size());
      const double diff =
          max_abs_diff(std::span(logits).first(rows * vocab), std::span(recorded).subspan(row * vocab, rows * vocab));
      EXPECT_LE(diff, std::max(kTolerance, flips)) << isa;
      for (size_t r = 0; r < rows; ++r)
        alike += max_abs_diff(std::span(logits).subspan(r * vocab, vocab), std::span(recorded).subspan((row + r) * vocab, vocab)) <= kTolerance;
      row += rows;
      double smallest = 1e9;
      for (size_t i = 0; i < greedy.size(); ++i) {
        const auto at = std::span(logits).subspan((prompt.size() - 1 + i) * vocab, vocab);
        std::vector<float> sorted(at.begin(), at.end());
        std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
        smallest = std::min(smallest, static_cast<double>(sorted[0]) - sorted[1]);
        if (sorted[0] - at[static_cast<size_t>(greedy[i])] <= flips) continue;  // one of two that are worth the same
        ASSERT_EQ(argmax(at), greedy[i]) << isa << ", token " << i << " of the greedy text";
      }
      std::printf(
          "%s, %s, prompt of %zu: %zu greedy tokens, smallest margin %.6f (recorded %.6f), logits within %.2g\n",
          std::filesystem::path(model_path).filename().c_str(), isa.c_str(), prompt.size(), greedy.size(), smallest,
          c.at("min_top1_top2_margin").get<double>(), diff);
    }
    EXPECT_GE(alike, flips > 0 ? row / 3 : row) << isa;
  }
}

TEST(TrainedModel, Stories260K) { expect_golden(kStoriesModel, kStories + "golden"); }

TEST(TrainedModel, Stories260KIsFreeRunning) {
  const nlohmann::json golden = read_json(kStories + "golden.json");
  const auto& c = golden.at("cases")[1];
  auto loaded = LoadedModel::open(kStoriesModel);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  TestSequence sequence(*(*loaded)->model, 256);
  const auto expected = c.at("greedy_ids").get<std::vector<TokenId>>();
  TokenId next = argmax(sequence.feed(c.at("prompt_ids").get<std::vector<TokenId>>(), true));
  std::vector<TokenId> made;
  while (made.size() < expected.size()) {
    made.push_back(next);
    next = argmax(sequence.feed({&next, 1}));
  }
  EXPECT_EQ(made, expected);
}

// Models of the test data directory, through the converter.
struct Trained {
  std::string golden = "golden";
  Llama2cVariant variant = Llama2cVariant::llama;
  double flips = 0;
};
void expect_converted(const std::string& folder, const std::string& model, int vocab, const Trained& trained = {}) {
  const char* data = std::getenv("SLUICE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SLUICE_TEST_DATA is not set: no " << folder;
  const std::string directory = std::string(data) + "/" + folder + "/";
  GgufVocab vocabulary;
  vocabulary.model = "llama";
  for (int i = 0; i < vocab; ++i) vocabulary.tokens.push_back("t" + std::to_string(i));
  vocabulary.scores.resize(vocabulary.tokens.size());
  vocabulary.token_types.assign(vocabulary.tokens.size(), 1);
  auto recipe = find_quant_recipe("f32");
  ASSERT_TRUE(recipe.ok());
  auto plan = plan_llama2c(directory + model, folder, vocabulary, **recipe, trained.variant);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const std::string path = testing::TempDir() + folder + trained.golden + ".gguf";
  ThreadPool pool(2);
  ASSERT_TRUE(write_gguf(path, *plan, pool).ok());
  expect_golden(path, directory + trained.golden, trained.flips);
  std::filesystem::remove(path);
}

TEST(TrainedModel, Llama2xs) { expect_converted("llama2xs", "model.bin", 512); }
TEST(TrainedModel, BabyLlama105) { expect_converted("babyllama105", "model5000.bin", 105); }
TEST(TrainedModel, ShiftedRelu440K) {
  expect_converted("relullama", "relu_440K_q80.bin", 1024, {"golden_440K", Llama2cVariant::shifted_relu});
}
TEST(TrainedModel, ShiftedRelu1800K) {
  expect_converted("relullama", "relu_1p8M_q80.bin", 4096, {"golden_1p8M", Llama2cVariant::shifted_relu});
}
TEST(TrainedModel, BitLlama1M) {
  expect_converted("bitllama2", "bit_model_1M_msb.bin", 512, {"golden_1M", Llama2cVariant::bitnet, 0.3});
}
TEST(TrainedModel, BitLlama3M) {
  expect_converted("bitllama2", "bit_model_3M_lsb.bin", 512, {"golden_3M", Llama2cVariant::bitnet_lsb, 0.3});
}

// A GPT-2 that sorts six letters, against the logits that its authors recorded.
TEST(TrainedModel, MinGptSorter) {
  const char* data = std::getenv("SLUICE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SLUICE_TEST_DATA is not set: no gpt-nano-sort";
  const std::string directory = std::string(data) + "/gpt-nano-sort/";
  auto recipe = find_quant_recipe("f32");
  ASSERT_TRUE(recipe.ok());
  auto plan = plan_mingpt(directory + "gpt-nano-sort-model.json", "sorter", **recipe);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const std::string path = testing::TempDir() + "sorter.gguf";
  ThreadPool pool(2);
  ASSERT_TRUE(write_gguf(path, *plan, pool).ok());
  const nlohmann::json golden = read_json(directory + "gpt-nano-sort-t0-partials.json");
  const auto floats = [&](const char* name) {
    const std::string bytes = from_base64(golden.at(name).at("data").get<std::string>()).value();
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  constexpr size_t kSequences = 3, kTokens = 11, kInput = 6, kLetters = 3;
  const std::vector<float> ids = floats("idx"), recorded = floats("lm_head");
  ASSERT_EQ(ids.size(), kSequences * kTokens);
  ASSERT_EQ(recorded.size(), kSequences * kTokens * kLetters);
  for (const std::string& isa : float32_isas()) {
    auto loaded = LoadedModel::open(path, isa);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Model& model = *(*loaded)->model;
    for (size_t s = 0; s < kSequences; ++s) {
      std::vector<TokenId> tokens(ids.begin() + static_cast<std::ptrdiff_t>(s * kTokens), ids.begin() + static_cast<std::ptrdiff_t>((s + 1) * kTokens));
      const std::vector<float> logits = logits_of(model, tokens);
      EXPECT_LE(max_abs_diff(logits, std::span(recorded).subspan(s * kTokens * kLetters, kTokens * kLetters)), kTolerance) << isa;
      // And what it was trained for.
      tokens.resize(kInput);
      std::vector<TokenId> sorted = tokens, made;
      std::ranges::sort(sorted);
      TestSequence sequence(model, kTokens);
      TokenId next = argmax(sequence.feed(tokens, true));
      for (made = {next}; made.size() < kInput; made.push_back(next)) next = argmax(sequence.feed({&next, 1}));
      EXPECT_EQ(made, sorted) << isa << ", sequence " << s;
    }
  }
  std::filesystem::remove(path);
}

// rwkv.cpp's models of bytes, against the logits that its authors recorded after a prompt of three: of float32 to the bound, of other
// types as near as they are to float32.
struct RwkvTiny {
  const char* model;
  double within;
};
void expect_rwkv(const char* version, std::initializer_list<RwkvTiny> models) {
  const char* data = std::getenv("SLUICE_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "SLUICE_TEST_DATA is not set: no rwkv-tiny";
  const std::string directory = std::string(data) + "/rwkv-tiny/";
  const std::vector<float> recorded = read_floats(fmt::format("{}expected-logits-{}.bin", directory, version));
  const std::vector<TokenId> prompt = {'"', 'i', 'n'};
  ThreadPool pool(2);
  for (const auto& [type, within] : models) {
    auto plan = plan_rwkv(fmt::format("{}tiny-rwkv-{}-{}.bin", directory, version, type), version, nullptr, **find_quant_recipe("f32"));
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    const std::string path = testing::TempDir() + version + type + ".gguf";
    ASSERT_TRUE(write_gguf(path, *plan, pool).ok());
    for (const std::string& isa : float32_isas()) {
      auto loaded = LoadedModel::open(path, isa);
      ASSERT_TRUE(loaded.ok()) << loaded.error().message;
      const std::vector<float> logits = logits_of(*(*loaded)->model, prompt);
      ASSERT_EQ(logits.size(), prompt.size() * recorded.size());
      const double diff = max_abs_diff(std::span(logits).last(recorded.size()), recorded);
      EXPECT_LE(diff, within) << type << ", " << isa;
      std::printf("rwkv %s, %s, %s: logits within %.2g\n", version, type, isa.c_str(), diff);
    }
    std::filesystem::remove(path);
  }
}

TEST(TrainedModel, Rwkv5) { expect_rwkv("5v2-730K", {{"FP32", kTolerance}, {"FP16", 0.01}, {"Q5_0", 0.8}, {"Q5_1", 0.8}}); }
TEST(TrainedModel, Rwkv7) { expect_rwkv("7v0-834K", {{"FP32", kTolerance}, {"FP16", kTolerance}, {"Q5_0", 0.01}, {"Q5_1", 0.01}}); }

}  // namespace
}  // namespace sluice::test
