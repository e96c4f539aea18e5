// Every family under configurations that lie: whatever a key holds, or if it is gone, the model is refused with an error that names the
// file, or it loads and computes; nothing crashes, and nothing is allocated for a size that the file does not have.

#include <filesystem>

#include "base/rng.h"
#include "tests/support/memory_source.h"
#include "tests/support/model_harness.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> models() {
  std::vector<std::string> paths;
  for (const auto& folder : fs::directory_iterator(SLUICE_SOURCE_DIR "/tests/data/families")) {
    if (fs::exists(folder.path() / "config.json")) paths.push_back(folder.path().string());
    for (const auto& file : fs::directory_iterator(folder.path()))
      if (file.path().extension() == ".gguf") paths.push_back(file.path().string());
  }
  std::ranges::sort(paths);
  return paths;
}

class DamagedConfigTest : public testing::TestWithParam<std::string> {};

TEST_P(DamagedConfigTest, IsRefusedByNameOrComputes) {
  const auto opened = open_tensor_source(GetParam());
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  if (!plan_model(**opened).ok()) GTEST_SKIP() << "this build has no decoder of this family";
  const auto source = copy_source(**opened);
  const Metadata whole = source->metadata();
  Rng rng(std::hash<std::string>()(fs::path(GetParam()).filename().string()));
  const std::vector<TokenId> tokens{3, 1, 4, 1, 5};
  int built = 0, refused = 0;
  for (const auto& [key, value] : whole.values()) {
    if (key.starts_with("tokenizer.") || key.starts_with("general.") || key == "architectures") continue;
    const MetadataValue wrong[] = {int64_t{0}, int64_t{-5}, static_cast<int64_t>(rng.next_u64()), rng.between(1, 300), 1e300, -1.5, std::nan(""),
                                   std::string("\xff x"), std::vector<int64_t>{1, 2}, std::vector<std::string>{"a"}, true};
    for (size_t which = 0; which <= std::size(wrong); which += 1 + rng.below(3)) {
      Metadata damaged(whole.kind(), whole.origin());
      for (const auto& [k, v] : whole.values())
        if (k != key) damaged.set(k, v);
      if (which < std::size(wrong)) damaged.set(key, wrong[which]);
      source->metadata() = damaged;
      auto loaded = LoadedModel::open(source, {}, 1);
      if (!loaded.ok()) {
        ++refused;
        EXPECT_NE(loaded.error().message.find(whole.origin()), std::string::npos) << key << ": " << loaded.error().message;
        continue;
      }
      ++built;
      const ModelInfo& info = (*loaded)->model->info();
      if (info.vocab_size > 5) logits_of(*(*loaded)->model, tokens);
    }
  }
  EXPECT_GT(built, 0);
  EXPECT_GT(refused, 10);
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  const fs::path path(info.param);
  std::string name = path.extension() == ".gguf" ? path.parent_path().filename().string() + "_gguf" : path.filename().string();
  return name;
}

INSTANTIATE_TEST_SUITE_P(Families, DamagedConfigTest, testing::ValuesIn(models()), name_of);

}  // namespace
}  // namespace sluice::test
