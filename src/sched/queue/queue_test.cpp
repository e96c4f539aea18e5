#include <gtest/gtest.h>

#include "kv/block_pool.h"
#include "kv/prefix/prefix_cache.h"
#include "sched/queue/client_weights.h"
#include "sched/queue/longest_prefix.h"
#include "sched/queue/vtc.h"

namespace sluice {
namespace {

TEST(ClientWeights, AreReadOrRefusedWithTheForm) {
  EXPECT_TRUE(parse_client_weights("")->empty());
  EXPECT_EQ(*parse_client_weights("alice=2,b=0.5"), (ClientWeights{{"alice", 2}, {"b", 0.5}}));
  EXPECT_EQ(*parse_client_weights("a=b=3"), (ClientWeights{{"a=b", 3}}));
  for (const char* wrong : {"alice", "alice=", "=2", "alice=0", "alice=-1", "alice=1x", "alice=1,,b=2", "alice=1,alice=2", "a=nan", "a=inf"}) {
    const auto weights = parse_client_weights(wrong);
    ASSERT_FALSE(weights.ok()) << wrong;
    EXPECT_NE(weights.error().message.find("--client-weights"), std::string::npos);
  }
}

/// Sequences as a scheduler would announce them.
struct Clients {
  explicit Clients(ClientWeights weights = {}) : vtc(std::move(weights)) {}
  SeqId arrive(const std::string& client, int prompt_tokens) {
    auto request = std::make_shared<Request>();
    request->client = client;
    request->prompt.assign(static_cast<size_t>(prompt_tokens), 1);
    Sequence& seq = sequences[next];
    seq.id = next;
    seq.request = request;
    vtc.on_new(seq);
    vtc.on({Event::Kind::arrived, next, prompt_tokens});
    return next++;
  }
  double rank(SeqId id) { return vtc.rank(sequences.at(id), 0); }
  void run(SeqId id, int outputs) {
    vtc.on({Event::Kind::admitted, id});
    for (int i = 0; i < outputs; ++i) vtc.on({Event::Kind::sampled, id, 1});
    vtc.on({Event::Kind::finished, id, outputs});
  }
  Vtc vtc;
  std::map<SeqId, Sequence> sequences;
  SeqId next = 1;
};

TEST(Vtc, ChargesInputOnceAndOutputAsItComes) {
  Clients c({{"a", 2}});
  const SeqId a = c.arrive("a", 10), b = c.arrive("b", 10);
  EXPECT_EQ(c.rank(a), 0);
  c.vtc.on({Event::Kind::admitted, a});
  EXPECT_EQ(c.rank(a), 10 / 2);
  c.vtc.on({Event::Kind::sampled, a, 1});
  EXPECT_EQ(c.rank(a), (10 + 2) / 2);
  c.vtc.on({Event::Kind::preempted, a, 10});
  c.vtc.on({Event::Kind::admitted, a});
  EXPECT_EQ(c.rank(a), (10 + 2) / 2) << "computing it again is not charged";
  EXPECT_EQ(c.rank(b), 0);
  c.vtc.on({Event::Kind::prepared, a, 30});
  EXPECT_EQ(c.rank(a), (10 + 2 + 30) / 2) << "what repairs reused KV is computed too";
}

TEST(Vtc, IdlingEarnsNoCredit) {
  Clients c;
  c.run(c.arrive("late", 5), 0);
  for (int i = 0; i < 100; ++i) c.run(c.arrive("busy", 10), 20);
  const SeqId waits = c.arrive("busy", 10);
  EXPECT_EQ(c.rank(c.arrive("late", 5)), c.rank(waits)) << "lifted to the least of those that wait";
  c.run(waits, 20);
  c.run(c.next - 1, 0);
  EXPECT_GE(c.rank(c.arrive("new", 1)), 5 + 100 * 50) << "with nobody waiting, to the last who left the queue";
}

TEST(Vtc, RanksByWhatTheClientsEarlierOnesWillBeCharged) {
  Clients c({{"a", 2}});
  const SeqId first = c.arrive("a", 10), second = c.arrive("a", 20), third = c.arrive("a", 30), fourth = c.arrive("a", 2);
  const auto ranks = [&](std::initializer_list<SeqId> ids) {
    std::vector<double> out;
    for (const SeqId id : ids) out.push_back(c.rank(id));
    return out;
  };
  EXPECT_EQ(ranks({first, second, third, fourth}), (std::vector<double>{0, 5, 15, 30}));
  c.vtc.on({Event::Kind::admitted, first});
  EXPECT_EQ(ranks({first, second, third, fourth}), (std::vector<double>{5, 5, 15, 30})) << "the charge has come, and ranks stay";
  c.vtc.on({Event::Kind::admitted, third});
  EXPECT_EQ(ranks({second, fourth}), (std::vector<double>{20, 30})) << "one was let in out of turn";
  const SeqId fifth = c.arrive("a", 4);
  EXPECT_EQ(c.rank(fifth), 31);
  c.vtc.on({Event::Kind::finished, fourth});
  EXPECT_EQ(ranks({second, fifth}), (std::vector<double>{20, 30})) << "one was cancelled: nothing is charged for it";
  c.vtc.on({Event::Kind::preempted, first});
  EXPECT_EQ(ranks({first, second, fifth}), (std::vector<double>{20, 20, 30})) << "nothing more is charged for it, and nobody waits for it";
  c.vtc.on({Event::Kind::admitted, first});
  c.vtc.on({Event::Kind::admitted, second});
  EXPECT_EQ(c.rank(fifth), 30);
  c.vtc.on({Event::Kind::admitted, fifth});
  EXPECT_EQ(c.rank(c.arrive("a", 1)), 32);
}

TEST(Vtc, ABeamIsNotChargedForThePromptOfItsParent) {
  Clients c;
  const SeqId parent = c.arrive("a", 10);
  c.vtc.on({Event::Kind::admitted, parent});
  Sequence& beam = c.sequences[c.next];
  beam.id = c.next;
  beam.request = c.sequences.at(parent).request;
  beam.tokens.assign(12, 1);
  beam.state = Sequence::State::running;
  c.vtc.on_new(beam);
  c.vtc.on({Event::Kind::forked, parent, 12, 0, beam.id});
  c.vtc.on({Event::Kind::preempted, beam.id, 11});
  EXPECT_EQ(c.rank(beam.id), 10);
  c.vtc.on({Event::Kind::admitted, beam.id});
  EXPECT_EQ(c.rank(beam.id), 10);
}

TEST(Vtc, ForgettingIdleClientsChangesNothing) {
  Clients c;
  const SeqId waits = c.arrive("busy", 10);
  for (int i = 0; i < 30'000; ++i) {
    const SeqId id = c.arrive("client" + std::to_string(i), 1);
    ASSERT_EQ(c.rank(id), c.rank(waits));
    c.run(id, 1);
  }
  const SeqId back = c.arrive("client0", 1);
  EXPECT_GE(c.rank(back), 3) << "it was ahead of those that wait, and still is";
}

TEST(LongestPrefix, LooksAheadSoFarAndAges) {
  BlockPool pool(16, 2);
  const auto cache = prefix_cache_catalog()[0].make(pool);
  const std::vector<TokenId> known = {1, 2, 3, 4, 5, 6};
  BlockTable table;
  for (int i = 0; i < 3; ++i) table.push(*pool.allocate());
  cache->insert(0, known, 3, table);

  LongestPrefix policy(*cache, 1000, 2);
  std::map<SeqId, Sequence> sequences;
  const auto arrive = [&](SeqId id, std::vector<TokenId> prompt) {
    auto request = std::make_shared<Request>();
    request->prompt = prompt;
    Sequence& seq = sequences[id];
    seq.id = id;
    seq.request = request;
    seq.tokens = prompt;
    seq.arrival = static_cast<Nanos>(id);
    policy.on_new(seq);
  };
  const auto rank = [&](SeqId id, Nanos now) { return policy.rank(sequences.at(id), now); };
  arrive(1, {9, 9});
  arrive(2, {1, 2, 9});
  arrive(3, {1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(rank(1, 10), 0);
  EXPECT_EQ(rank(2, 10), -1);
  EXPECT_EQ(rank(3, 10), 0) << "two are looked at, and it is the third";
  policy.on({Event::Kind::admitted, 2});
  EXPECT_EQ(rank(3, 10), -3);
  policy.on({Event::Kind::preempted, 2});
  EXPECT_EQ(rank(2, 10), -1);
  EXPECT_EQ(rank(3, 10), 0);
  EXPECT_LT(rank(1, 1001), rank(2, 1001)) << "it has waited for its aging";
  policy.on({Event::Kind::finished, 1});
  policy.on({Event::Kind::finished, 2});
  EXPECT_EQ(rank(3, 10), -3);
}

}  // namespace
}  // namespace sluice
