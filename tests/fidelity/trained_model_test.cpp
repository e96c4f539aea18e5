// The trained llama2.c models, converted to GGUF, against an independent float32 scalar implementation: logits of the
// first positions, and greedy text as long as the margin between the two best tokens is above the rounding.

#include <cstdlib>
#include <filesystem>

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

// Both sides round: the reference sums in plain float32 order.
void expect_golden(const std::string& model_path, const std::string& golden_stem) {
  const nlohmann::json golden = read_json(golden_stem + ".json");
  const std::vector<float> recorded = read_floats(golden_stem + ".logits.f32");
  for (const std::string& isa : float32_isas()) {
    auto loaded = LoadedModel::open(model_path, isa);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    Model& model = *(*loaded)->model;
    const auto vocab = static_cast<size_t>(model.info().vocab_size);
    size_t row = 0;
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
      EXPECT_LE(diff, kTolerance) << isa;
      row += rows;
      double smallest = 1e9;
      for (size_t i = 0; i < greedy.size(); ++i) {
        const auto at = std::span(logits).subspan((prompt.size() - 1 + i) * vocab, vocab);
        ASSERT_EQ(argmax(at), greedy[i]) << isa << ", token " << i << " of the greedy text";
        std::vector<float> sorted(at.begin(), at.end());
        std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<>());
        smallest = std::min(smallest, static_cast<double>(sorted[0]) - sorted[1]);
      }
      std::printf(
          "%s, %s, prompt of %zu: %zu greedy tokens, smallest margin %.6f (recorded %.6f), logits within %.2g\n",
          std::filesystem::path(model_path).filename().c_str(), isa.c_str(), prompt.size(), greedy.size(), smallest,
          c.at("min_top1_top2_margin").get<double>(), diff);
    }
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
void expect_converted(const std::string& folder, const std::string& model, int vocab) {
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
  auto plan = plan_llama2c(directory + model, folder, vocabulary, **recipe);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  const std::string path = testing::TempDir() + folder + ".gguf";
  ThreadPool pool(2);
  ASSERT_TRUE(write_gguf(path, *plan, pool).ok());
  expect_golden(path, directory + "golden");
  std::filesystem::remove(path);
}

TEST(TrainedModel, Llama2xs) { expect_converted("llama2xs", "model.bin", 512); }
TEST(TrainedModel, BabyLlama105) { expect_converted("babyllama105", "model5000.bin", 105); }

}  // namespace
}  // namespace sluice::test
