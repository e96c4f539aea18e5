#include "sim/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "route/catalog.h"
#include "sim/replay.h"
#include "sim/trace.h"

namespace sluice {
namespace {

EngineOptions small_engine() {
  EngineOptions options;
  options.kv_blocks = 300;
  options.max_model_len = 1000;
  options.max_num_seqs = 16;
  options.max_num_batched_tokens = 256;
  options.max_waiting = 1 << 20;
  return options;
}

StepCost cost() {
  StepCost cost;
  cost.ns = {1e7, 1e5, 0, 0, 0, 100, 0, 3};
  return cost;
}

std::vector<Request> mixed(int n, double rate) {
  Rng rng(6);
  std::vector<Request> requests;
  double t = 0;
  for (int i = 0; i < n; ++i) {
    TraceRequest entry{0, static_cast<int>(rng.between(20, 400)), static_cast<int>(rng.between(1, 100)), {rng.below(6)}, 128, 0};
    requests.push_back(trace_request(entry, static_cast<size_t>(i), 1, 5000));
    requests.back().arrival = static_cast<Nanos>(t * 1e9);
    t += rng.next_exponential(rate);
  }
  return requests;
}

struct Seen {
  std::vector<RequestRecord> records;  // in the order in which they ended
  std::vector<ReplicaStep> steps;
  std::vector<EngineStats> stats;
};

Seen run(int replicas, const std::string& router, const std::vector<Request>& requests) {
  auto cluster = Cluster::build(small_engine(), replicas, cost(), make_router(router, {}).value());
  EXPECT_TRUE(cluster.ok()) << cluster.error().message;
  Seen seen;
  size_t at = 0;
  ClusterHooks hooks;
  Nanos now = 0;
  const auto in_order = [&now](Nanos t) { EXPECT_GE(t, now), now = std::max(now, t); };
  hooks.arrived = in_order;
  hooks.ended = [&](const RequestRecord& record) {
    if (!record.token_times.empty()) in_order(record.token_times.back());
    seen.records.push_back(record);
  };
  hooks.stepped = [&](const ReplicaStep& step) {
    in_order(step.end);
    seen.steps.push_back(step);
  };
  (*cluster)->run([&](Request& request) {
    if (at == requests.size()) return false;
    request = requests[at++];
    return true;
  }, hooks);
  seen.stats = (*cluster)->stats();
  return seen;
}

TEST(Cluster, OfOneIsAReplay) {
  std::vector<Request> requests = mixed(200, 8);
  const Seen seen = run(1, "round-robin", requests);
  VirtualClock clock;
  SimExecutor executor(cost(), clock);
  const auto engine = build_engine(small_engine(), executor, clock).value();
  std::vector<Nanos> arrivals;
  for (const Request& r : requests) arrivals.push_back(r.arrival);
  auto records = replay(*engine, requests, arrivals, {clock, [&](Nanos t) { clock.advance_to(t); }});
  ASSERT_EQ(seen.records.size(), records.size());
  EXPECT_EQ(make_report(seen.records, {}).to_json(), make_report(records, {}).to_json());
  EXPECT_EQ(seen.stats[0].steps, engine->stats().steps);
  EXPECT_EQ(seen.stats[0].prefix_hits_tokens, engine->stats().prefix_hits_tokens);
  EXPECT_GT(seen.stats[0].preemptions + seen.stats[0].prefix_hits_tokens, 0u);
}

TEST(Cluster, EveryRouterServesEveryRequestOnceAndTheSameWayTwice) {
  const std::vector<Request> requests = mixed(300, 20);
  for (const RouterEntry& entry : router_catalog()) {
    const Seen a = run(3, std::string(entry.name), requests), b = run(3, std::string(entry.name), requests);
    ASSERT_EQ(a.records.size(), requests.size()) << entry.name;
    int64_t tokens = 0;
    std::vector<Nanos> end(3, 0);
    for (const ReplicaStep& step : a.steps) {
      EXPECT_GE(step.start, end[step.replica]) << "a replica has one step at a time";
      end[step.replica] = step.end;
      tokens += step.tokens;
    }
    uint64_t counted = 0, finished = 0;
    for (const EngineStats& s : a.stats) counted += s.step_tokens, finished += s.finished_requests;
    EXPECT_EQ(static_cast<uint64_t>(tokens), counted);
    EXPECT_EQ(finished, requests.size());
    EXPECT_EQ(make_report(a.records, {}).to_json(), make_report(b.records, {}).to_json()) << entry.name;
  }
}

TEST(Cluster, MoreReplicasServeMoreAndPrefixesStayTogether) {
  const std::vector<Request> requests = mixed(400, 30);
  const auto ttft = [](const Seen& seen) { return make_report(seen.records, {}).ttft_ms.mean; };
  const auto hits = [](const Seen& seen) {
    uint64_t tokens = 0;
    for (const EngineStats& s : seen.stats) tokens += s.prefix_hits_tokens;
    return tokens;
  };
  const Seen one = run(1, "round-robin", requests), four = run(4, "round-robin", requests), aware = run(4, "prefix-aware", requests);
  EXPECT_LT(ttft(four), 0.5 * ttft(one));
  EXPECT_GT(hits(aware), hits(four));
}

TEST(Cluster, RefusedRequestsEndToo) {
  std::vector<Request> requests = mixed(20, 8);
  requests[3].max_tokens = 5000;
  const Seen seen = run(2, "least-loaded", requests);
  const ServingReport report = make_report(seen.records, {});
  EXPECT_EQ(report.completed, 19);
  EXPECT_EQ(report.failed, 1);
  EXPECT_NE(report.errors[0].find("max_tokens"), std::string::npos);
}

TEST(ReportBuilder, StreamedRecordsGiveTheReportOfAllAtOnce) {
  const Seen seen = run(2, "round-robin", mixed(300, 200));
  ReportBuilder streamed({500, 50, 0});
  std::vector<RequestRecord> records = seen.records;
  std::ranges::sort(records, {}, &RequestRecord::arrival);
  // As a cluster calls: arrivals and ends, each in order of time.
  size_t next = 0;
  for (const RequestRecord& ended : seen.records) {
    for (; next < records.size() && records[next].arrival <= ended.token_times.back(); ++next) streamed.arrived(records[next].arrival);
    streamed.add(ended);
  }
  const ServingReport report = make_report(seen.records, {500, 50, 0});
  EXPECT_TRUE(report.overloaded);
  EXPECT_EQ(streamed.report().to_json(), report.to_json());
}

}  // namespace
}  // namespace sluice
