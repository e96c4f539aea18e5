#include "quant/kv/kv_formats.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

namespace sluice {
namespace {

TEST(KvFormatsOfLayers, OneNameIsForAllLayers) {
  for (const KvFormat* format : kv_formats()) {
    const auto formats = KvFormats::parse(format->name);
    ASSERT_TRUE(formats.ok());
    EXPECT_EQ(formats->single(), format);
    EXPECT_EQ(&formats->of(17), format);
    EXPECT_EQ(formats->name(), format->name);
    EXPECT_EQ(formats->seals(), format->block != nullptr);
    EXPECT_TRUE(formats->check(1).ok());
  }
  EXPECT_EQ(KvFormats::parse("bfloat16")->single(), &kKvBF16);
}

TEST(KvFormatsOfLayers, RangesHaveTheirsAndTheRestHasTheOther) {
  const auto formats = KvFormats::parse("f16:0-3,gear4:9,kivi2");
  ASSERT_TRUE(formats.ok());
  EXPECT_EQ(formats->single(), nullptr);
  for (int l = 0; l < 12; ++l) EXPECT_EQ(&formats->of(l), l <= 3 ? &kKvF16 : l == 9 ? &kKvGear4 : &kKvKivi2) << l;
  EXPECT_EQ(formats->name(), "f16:0-3,gear4:9-9,kivi2");
  EXPECT_EQ(KvFormats::parse(formats->name())->name(), formats->name());
  EXPECT_TRUE(formats->seals());
  EXPECT_EQ(formats->fitting_block(16), 64);
  EXPECT_TRUE(formats->check(10).ok());
  EXPECT_FALSE(formats->check(9).ok());
  const auto rows = KvFormats::parse("int8:0-1,f16:2-2");
  EXPECT_FALSE(rows->seals());
  EXPECT_EQ(rows->fitting_block(5), 5);
  EXPECT_TRUE(rows->check(3).ok());
  EXPECT_FALSE(rows->check(4).ok()) << "layer 3 has none";
}

TEST(KvFormatsOfLayers, PairsAreOfTheUpperHalf) {
  const auto formats = KvFormats::parse("kivi4,minicache:3-4,minicache:6-9");
  ASSERT_TRUE(formats.ok());
  const int sides[] = {-1, -1, -1, 0, 1, -1, 0, 1, 0, 1, -1};
  for (int l = 0; l < 11; ++l) EXPECT_EQ(formats->side(l), sides[l]) << l;
  EXPECT_TRUE(formats->pairs() && formats->seals());
  EXPECT_EQ(formats->fitting_block(16), 64);
  EXPECT_FALSE(KvFormats::parse("kivi4")->pairs());
  EXPECT_EQ(KvFormats::parse("kivi4")->side(0), -1);

  EXPECT_TRUE(KvFormats::parse("f16,minicache:3-4")->check(5).ok());
  EXPECT_TRUE(KvFormats::parse("f16,minicache:2-3")->check(4).ok());
  EXPECT_TRUE(KvFormats::parse("f16,minicache:6-7,minicache:8-9")->check(12).ok());
  const std::tuple<const char*, int, const char*> wrong[] = {
      {"minicache", 5, "has to be told which; of this model's 5 layers those are within 3-4, as in kivi4,minicache:3-4"},
      {"minicache", 6, "within 3-5, as in kivi4,minicache:4-5"},
      {"minicache", 3, "this model has 3 in all"},
      {"f16,minicache:1-2", 3, "this model has 3 in all"},
      {"f16,minicache:2-4", 5, "2-4 are not an even number"},
      {"f16,minicache:2-3", 5, "which 2 is not in"},
      {"f16,minicache:5-6", 6, "names layer 6"}};
  for (const auto& [text, layers, what] : wrong) {
    const Status status = KvFormats::parse(text)->check(layers);
    ASSERT_FALSE(status.ok()) << text << " of " << layers;
    EXPECT_NE(status.error().message.find(what), std::string::npos) << status.error().message;
  }
}

TEST(KvFormatsOfLayers, ErrorsNameWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"int9", "'int9' is not known"}, {"", "is not known"}, {"f16:0-3,", "is not known"}, {"f16:a", "'a' is no range"}, {"f16:", "is no range"},
      {"f16:3-1", "'3-1' is no range"}, {"f16:-1", "is no range"}, {"f16:1-2x", "is no range"}, {"f16:0-3,int8:3-5", "layer 3 has two"}, {"f16,int8", "both for all"}};
  for (const auto& [text, what] : cases) {
    const auto formats = KvFormats::parse(text);
    ASSERT_FALSE(formats.ok()) << text;
    EXPECT_NE(formats.error().message.find(what), std::string::npos) << formats.error().message;
  }
}

}  // namespace
}  // namespace sluice
