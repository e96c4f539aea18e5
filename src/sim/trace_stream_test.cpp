#include "sim/trace_stream.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "sim/arrivals.h"

namespace sluice {
namespace {

class TraceStreamTest : public ::testing::Test {
 protected:
  std::string path_ = ::testing::TempDir() + "sluice_trace_stream_test";
  void TearDown() override { std::filesystem::remove_all(path_); }
  void write(const std::string& text) { std::ofstream(path_) << text; }
};

std::vector<TraceRequest> all_of(TraceStream& stream) {
  std::vector<TraceRequest> entries;
  for (TraceRequest e; stream.next(e);) entries.push_back(e);
  return entries;
}

void expect_same(const std::vector<TraceRequest>& a, const std::vector<TraceRequest>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].arrival, b[i].arrival) << i;
    EXPECT_EQ(a[i].prompt_tokens, b[i].prompt_tokens) << i;
    EXPECT_EQ(a[i].output_tokens, b[i].output_tokens) << i;
    EXPECT_EQ(a[i].prefix_hashes, b[i].prefix_hashes) << i;
    EXPECT_EQ(a[i].hash_block_tokens, b[i].hash_block_tokens) << i;
  }
}

std::string mooncake_lines(int n, bool in_order) {
  Rng rng(3);
  std::string text;
  for (int i = 0; i < n; ++i)
    text += fmt::format("{{\"timestamp\": {}, \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [{}, {}]}}\n",
                        in_order ? 100 + i * 37 : rng.below(100'000), rng.between(1, 2000), rng.between(1, 300), rng.below(5), i);
  return text;
}

TEST_F(TraceStreamTest, StreamsWhatLoadingAndScalingGive) {
  for (const bool in_order : {true, false})
    for (const TraceScale& scale : {TraceScale{}, TraceScale{.limit = 37, .length_scale = 0.1, .max_output_tokens = 20}, TraceScale{.limit = 50, .request_rate = 8},
                                    TraceScale{.output_length_scale = 2, .request_rate = INFINITY}}) {
      write(mooncake_lines(200, in_order));
      const auto stream = open_trace(path_, {scale});
      ASSERT_TRUE(stream.ok()) << stream.error().message;
      const auto once = all_of(**stream);
      expect_same(once, scale_trace(load_trace(path_).value(), scale));
      (*stream)->rewind();
      expect_same(all_of(**stream), once);
    }
}

TEST_F(TraceStreamTest, RandomRequestsAreClippedAsThoseOfATrace) {
  StreamOptions options;
  options.scale.max_prompt_tokens = 100;
  options.scale.max_output_tokens = 7;
  const auto entries = all_of(*random_trace({.requests = 50, .input_tokens = 90, .output_tokens = 9, .prefix_tokens = 30, .range_ratio = 0.5}, options));
  int clipped = 0;
  for (const TraceRequest& e : entries) {
    EXPECT_LE(e.prompt_tokens, 100);
    EXPECT_LE(e.output_tokens, 7);
    clipped += e.prompt_tokens == 100;
  }
  EXPECT_GT(clipped, 10);
  EXPECT_LT(clipped, 50);
}

TEST_F(TraceStreamTest, PlaysATraceAgain) {
  write(mooncake_lines(20, true));
  const auto entries = all_of(**open_trace(path_, {{}, 3}));
  ASSERT_EQ(entries.size(), 60u);
  EXPECT_EQ(entries[19].arrival, int64_t{19} * 37'000'000);
  EXPECT_EQ(entries[20].arrival, int64_t{20} * 37'000'000);
  EXPECT_EQ(entries[59].arrival, int64_t{59} * 37'000'000);
  EXPECT_EQ(entries[47].prompt_tokens, entries[7].prompt_tokens);
  const auto fast = all_of(**open_trace(path_, {{.limit = 30, .request_rate = 10}, 3}));
  ASSERT_EQ(fast.size(), 30u);
  EXPECT_NEAR(static_cast<double>(fast.back().arrival), 2.9e9, 2);
}

TEST_F(TraceStreamTest, OutputLengthsAreDrawnWhereTheTraceHasNone) {
  write("{\"ts\": 0, \"il\": 100, \"ol\": 0}\n{\"ts\": 5, \"il\": 50, \"ol\": 0}\n{\"ts\": 6, \"il\": 50, \"ol\": 77}\n");
  const auto refused = open_trace(path_, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("2 of its 3 requests"), std::string::npos) << refused.error().message;
  StreamOptions options;
  options.output_lengths = LengthDistribution::parse("uniform:3,9", "--output-lengths").value();
  const auto stream = open_trace(path_, options);
  ASSERT_TRUE(stream.ok()) << stream.error().message;
  const auto once = all_of(**stream);
  ASSERT_EQ(once.size(), 3u);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(once[i].output_tokens >= 3 && once[i].output_tokens <= 9);
  EXPECT_EQ(once[2].output_tokens, 77);
  (*stream)->rewind();
  expect_same(all_of(**stream), once);
  write("{\"ts\": 0, \"il\": 100, \"ol\": 4}\n");
  EXPECT_FALSE(open_trace(path_, options).ok()) << "there is nothing to draw";
}

TEST_F(TraceStreamTest, AzureTracesOf2024AndErrorsNameTheLine) {
  write("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:01.509930+00:00,12,50\n");
  const auto entries = all_of(**open_trace(path_, {}));
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[1].arrival, 1'500'000'000);
  EXPECT_EQ(entries[0].prompt_tokens, 2162);
  write("TIMESTAMP,ContextTokens\n2024-05-10 00:00:00.009930+00:00,2162\n");
  EXPECT_FALSE(open_trace(path_, {}).ok());
  write("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.1,2162,5\n2024-05-10,12\n");
  const auto bad = open_trace(path_, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find(":3"), std::string::npos) << bad.error().message;
  EXPECT_FALSE(open_trace(path_ + "none", {}).ok());
}

TEST(LengthDistribution, HaveTheMeansTheySay) {
  struct Case { const char* text; double mean, within; };
  for (const Case& c : {Case{"constant:64", 64, 0}, {"uniform:10,20", 15, 0.2}, {"exponential:128", 128, 3}, {"lognormal:5.0,0.8", std::exp(5 + 0.32), 4}}) {
    const auto d = LengthDistribution::parse(c.text, "--output-lengths");
    ASSERT_TRUE(d.ok()) << d.error().message;
    Rng rng(8);
    double sum = 0;
    for (int i = 0; i < 20'000; ++i) sum += d->draw(rng);
    EXPECT_NEAR(sum / 20'000, c.mean, c.within) << c.text;
  }
  for (const char* text : {"", "constant", "constant:", "constant:0", "uniform:9", "uniform:9,3", "exponential:1,2", "lognormal:5", "normal:3,1", "constant:x"})
    EXPECT_FALSE(LengthDistribution::parse(text, "--output-lengths").ok()) << text;
}

TEST(Arrivals, GapsHaveTheirRateAndSpread) {
  for (const double shape : {0.3, 1.0, 4.0}) {
    Rng rng(5);
    double gamma = 0, squares = 0, weibull = 0;
    constexpr int n = 200'000;
    for (int i = 0; i < n; ++i) {
      const double g = gamma_gap(rng, 2, shape);
      gamma += g;
      squares += g * g;
      weibull += weibull_gap(rng, 2, shape);
    }
    EXPECT_NEAR(gamma / n, 0.5, 0.01) << shape;
    EXPECT_NEAR(squares / n / 0.25 - 1, 1 / shape, 0.1 / shape) << shape;  // squared coefficient of variation
    EXPECT_NEAR(weibull / n, 0.5, shape < 1 ? 0.03 : 0.01) << shape;
  }
}

class ServeGenTest : public TraceStreamTest {
 protected:
  void client(int n, const std::string& windows, const std::string& lengths) {
    std::filesystem::create_directories(path_);
    std::ofstream(fmt::format("{}/chunk-{}-trace.csv", path_, n)) << windows;
    std::ofstream(fmt::format("{}/chunk-{}-dataset.json", path_, n)) << lengths;
  }
};
constexpr const char* kShort = R"({"0": {"input_tokens": "{10: 0.25, 20: 0.75}", "output_tokens": "{1: 1.0}"}, "43200": {"input_tokens": "{}", "output_tokens": "{2: 0.5}"}})";
constexpr const char* kLong = R"({"0": {"input_tokens": "{500: 1}", "output_tokens": "{7: 1}"}})";

TEST_F(ServeGenTest, ClientsKeepTheirRatesWindowsAndLengths) {
  client(0, "0,0.2,1.0,Gamma,1.0,5.0\n43200,0.1,2.0,Gamma,0.25,40\n", kShort);
  client(7, "0,0,0,,0,0\n43200,0.3,0.8,Weibull,1.2,3.5\n", kLong);
  const auto stream = open_trace(path_, {});
  ASSERT_TRUE(stream.ok()) << stream.error().message;
  const auto day = all_of(**stream);
  int first_half = 0, of_seven = 0, tens = 0, twos = 0;
  for (size_t i = 0; i < day.size(); ++i) {
    ASSERT_GE(day[i].arrival, day[i > 0 ? i - 1 : 0].arrival);
    const bool early = day[i].arrival < Nanos{43'100} * 1'000'000'000;
    first_half += early;
    if (day[i].prompt_tokens == 500) {
      ++of_seven;
      EXPECT_FALSE(early);
      EXPECT_EQ(day[i].output_tokens, 7);
    } else {
      tens += day[i].prompt_tokens == 10;
      twos += day[i].output_tokens == 2;
    }
  }
  EXPECT_NEAR(first_half, 8620, 300);
  EXPECT_NEAR(of_seven, 12960, 400);
  EXPECT_NEAR(tens, (8640 + 4320) / 4, 200);
  EXPECT_NEAR(twos, 4320, 450);
  (*stream)->rewind();
  expect_same(all_of(**stream), day);
  const auto fast = all_of(**open_trace(path_, {{.limit = 3000, .length_scale = 2, .request_rate = 20}}));
  ASSERT_EQ(fast.size(), 3000u);
  // The first half of the day has 8640 of its 25920 requests.
  EXPECT_NEAR(static_cast<double>(fast.back().arrival) / 1e9, 3000 / (20 * 2 * 8640.0 / 25920), 20);
  EXPECT_EQ(fast[0].prompt_tokens % 20, 0);
}

TEST_F(ServeGenTest, BadFilesAreNamed) {
  std::filesystem::create_directories(path_);
  EXPECT_FALSE(open_trace(path_, {}).ok());
  client(3, "0,1,1,Gamma,1,1\nx,1\n", kLong);
  auto bad = open_trace(path_, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("chunk-3-trace.csv:2"), std::string::npos) << bad.error().message;
  client(3, "0,1,1,Gamma,1,1\n", R"({"0": {"input_tokens": "{1: x}", "output_tokens": "{}"}})");
  bad = open_trace(path_, {});
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message.find("input_tokens"), std::string::npos) << bad.error().message;
  client(3, "0,1,1,Gamma,1,1\n", "{}");
  EXPECT_FALSE(open_trace(path_, {}).ok());
}

}  // namespace
}  // namespace sluice
