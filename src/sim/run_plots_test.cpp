#include "sim/run_plots.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sim/timeline.h"

namespace sluice {
namespace {

struct Sum {
  double sum = 0;
  int n = 0;
  void merge(const Sum& other) { sum += other.sum, n += other.n; }
};

TEST(TimeBins, KeepEverythingWhileTheyWiden) {
  TimeBins<Sum> bins;
  double all = 0;
  for (int i = 0; i < 5000; ++i) {
    bins.at(Nanos{i} * 77'000'000).merge({static_cast<double>(i), 1});
    all += i;
  }
  Sum total;
  double last = 0;
  for (size_t b = 0; b < bins.bins().size(); ++b) {
    const Sum& s = bins.bins()[b];
    total.merge(s);
    ASSERT_GT(s.n, 0);
    // What is in a bin came within its width of its middle.
    EXPECT_NEAR(s.sum / s.n * 0.077, bins.second(b), bins.second(1) - bins.second(0)) << b;
    EXPECT_GT(bins.second(b), last);
    last = bins.second(b);
  }
  EXPECT_EQ(total.sum, all);
  EXPECT_EQ(total.n, 5000);
  EXPECT_LE(bins.bins().size(), TimeBins<Sum>::kMost);
  EXPECT_GT(bins.bins().size(), TimeBins<Sum>::kMost / 2);
}

ReplicaStep step(int replica, Nanos start, Nanos end, int waiting) {
  ReplicaStep s{replica, start, end, 5, {}};
  s.stats.waiting = waiting;
  s.stats.running = 3;
  s.stats.total_blocks = 100;
  s.stats.free_blocks = 40;
  s.stats.cached_idle_blocks = 10;
  return s;
}

TEST(RunPlots, DrawWhatWasSeen) {
  RunPlots plots(2);
  plots.stepped(step(0, 0, 1'000'000'000, 4));
  plots.stepped(step(1, 0, 2'000'000'000, 8));
  plots.ended({500'000'000, {1'000'000'000, 1'030'000'000, 1'080'000'000}, 10, 0, true, ""});
  plots.ended({500'000'000, {}, 10, 0, false, "refused"});
  const auto files = plots.plots();
  ASSERT_EQ(files.size(), 4u);
  EXPECT_EQ(files[0].plot.lines[1].points[0].second, 8);
  EXPECT_EQ(files[1].plot.lines[0].points[0].second, 50);
  EXPECT_EQ(files[2].plot.lines[0].points[0].second, 500);
  EXPECT_NEAR(files[3].plot.lines[1].points[0].second, 30, 11);
  for (const auto& [name, plot] : files) {
    const std::string svg = plot.to_svg();
    EXPECT_NE(svg.find("simulated time, s"), std::string::npos) << name;
    EXPECT_EQ(svg.find("nan"), std::string::npos) << name;
    EXPECT_EQ(svg.find("inf"), std::string::npos) << name;
  }
  EXPECT_EQ(RunPlots(1).plots()[0].plot.to_svg().find("nan"), std::string::npos) << "of a run without requests";
  EXPECT_NE((Plot{"a < b & c", "x", "y", {}}.to_svg().find("a &lt; b &amp; c")), std::string::npos);
}

TEST(Timeline, IsAChromeTrace) {
  const std::string path = ::testing::TempDir() + "sluice_timeline_test.json";
  const auto timeline = Timeline::open(path, 2);
  ASSERT_TRUE(timeline.ok());
  (*timeline)->stepped(step(1, 1'000'500, 3'000'500, 4));
  ASSERT_TRUE((*timeline)->close().ok());
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::remove(path.c_str());
  const auto events = nlohmann::json::parse(text.str(), nullptr, false);
  ASSERT_TRUE(events.is_array());
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[2]["ph"], "X");
  EXPECT_EQ(events[2]["pid"], 1);
  EXPECT_EQ(events[2]["ts"], 1000.5);
  EXPECT_EQ(events[2]["dur"], 2000);
  EXPECT_EQ(events[2]["args"]["tokens"], 5);
  EXPECT_EQ(events[3]["args"]["waiting"], 4);
  EXPECT_EQ(events[4]["args"]["used"], 50);
  EXPECT_FALSE(Timeline::open("/nonexistent/x.json", 1).ok());
}

}  // namespace
}  // namespace sluice
