#include "sched/queue/mlfq.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr Nanos kMs = 1'000'000;

/// Steps of 1 ms and 1 ms more for each token.
class MlfqTest : public ::testing::Test {
 protected:
  Sequence& arrive(SeqId id, int prompt_tokens) {
    auto request = std::make_shared<Request>();
    request->prompt.assign(static_cast<size_t>(prompt_tokens), 1);
    Sequence& seq = sequences_[id];
    seq.id = id;
    seq.request = request;
    seq.tokens = request->prompt;
    seq.arrival = now_;
    mlfq_.on_new(seq);
    return seq;
  }
  void admit(SeqId id) {
    sequences_[id].state = Sequence::State::running;
    mlfq_.on({Event::Kind::admitted, id, 0, now_});
  }
  void step(SeqId id, int tokens, bool samples) {
    now_ += (1 + tokens) * kMs;
    mlfq_.on({Event::Kind::ran, id, tokens, now_});
    if (samples) mlfq_.on({Event::Kind::sampled, id, 1, now_});
  }
  void preempt(SeqId id) {
    sequences_[id].state = Sequence::State::waiting;
    mlfq_.on({Event::Kind::preempted, id, 0, now_});
  }
  double rank(SeqId id) { return mlfq_.rank(sequences_[id], now_); }
  bool outranks(SeqId a, SeqId b) { return mlfq_.outranks(sequences_[a], sequences_[b], now_); }
  /// Until the times of steps are known.
  void learn() {
    arrive(1000, 10);
    admit(1000);
    for (int i = 1; i <= 20; ++i) step(1000, i, true);
    mlfq_.on({Event::Kind::finished, 1000, 20, now_});
  }

  Mlfq mlfq_{100 * kMs};
  std::map<SeqId, Sequence> sequences_;
  Nanos now_ = kMs;
};

TEST_F(MlfqTest, ANewRequestEntersTheQueueThatItsPrefillFits) {
  learn();
  // The first quantum is 8 iterations of 2 ms; a prompt of n tokens takes 1 + n.
  const std::pair<int, int> want[] = {{1, 0}, {14, 0}, {17, 1}, {30, 1}, {33, 2}, {120, 3}, {1'000'000, Mlfq::kQueues - 1}};
  SeqId id = 1;
  for (const auto& [prompt, queue] : want) {
    arrive(id, prompt);
    EXPECT_EQ(rank(id), queue) << prompt;
    ++id;
  }
}

TEST_F(MlfqTest, AUsedUpQuantumSendsARequestDownToOneTwiceAsLong) {
  learn();
  arrive(1, 5);
  admit(1);
  int in_queue[3] = {};
  for (int i = 0; i < 8 + 16 + 32; ++i) {
    step(1, 1, true);
    if (rank(1) < 3) ++in_queue[static_cast<int>(rank(1))];
  }
  EXPECT_NEAR(in_queue[0], 8, 1);
  EXPECT_NEAR(in_queue[1], 16, 1);
  EXPECT_NEAR(in_queue[2], 32, 2);
}

TEST_F(MlfqTest, OneThatWaitsTakesAPlaceBelowItsOwnBetweenTwoTokens) {
  learn();
  arrive(1, 40);
  admit(1);
  arrive(2, 5);
  EXPECT_FALSE(outranks(2, 1)) << "its iteration is not over";
  EXPECT_LT(rank(1), rank(2));
  step(1, 30, false);
  EXPECT_FALSE(outranks(2, 1));
  step(1, 10, true);
  EXPECT_GT(rank(1), rank(2));
  EXPECT_FALSE(outranks(2, 1)) << "to compute it again would take longer than it has run since";
  for (Nanos ran = 0; ran < 4 * (31 + 11); ran += 2) step(1, 1, true);
  EXPECT_TRUE(outranks(2, 1));
  preempt(1);
  admit(2);
  step(2, 5, true);
  EXPECT_FALSE(outranks(1, 2)) << "what was displaced does not displace in turn";
}

TEST_F(MlfqTest, OneThatHasWaitedForItsAgingGoesFirstAndIsTakenAsNew) {
  learn();
  arrive(1, 1);
  admit(1);
  int tokens = 1;
  for (; rank(1) < 3; ++tokens) step(1, 1, true);  // through queues of 16, 32 and 64 ms
  ASSERT_LT(tokens, 62);
  preempt(1);
  now_ += 99 * kMs;
  EXPECT_EQ(rank(1), 3);
  now_ += 1 * kMs;
  EXPECT_EQ(rank(1), 0);
  admit(1);
  step(1, tokens, true);
  EXPECT_EQ(rank(1), 2) << "the queue whose 64 ms its tokens have not used up";
  for (int i = 0; i < 4; ++i) step(1, 1, true);
  EXPECT_EQ(rank(1), 3);
}

}  // namespace
}  // namespace sluice
