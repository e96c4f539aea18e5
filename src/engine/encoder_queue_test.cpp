#include "engine/encoder_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <numeric>
#include <thread>

namespace sluice {
namespace {

// Gives [number of tokens, first token] of each text; notes the passes.
struct Counting {
  std::mutex mutex;
  std::vector<std::vector<size_t>> passes;  // lengths of the texts
  std::promise<void> gate;
  std::shared_future<void> open = gate.get_future().share();

  EncoderQueue::Encode encode() {
    return [this](std::span<const QueuedText* const> texts, float* out) -> Status {
      open.wait();
      std::lock_guard lock(mutex);
      passes.emplace_back();
      for (const QueuedText* text : texts) {
        passes.back().push_back(text->tokens.size());
        *out++ = static_cast<float>(text->tokens.size());
        *out++ = static_cast<float>(text->tokens.front());
        if (text->tokens.front() == -1) return resource_exhausted("no room");
      }
      return {};
    };
  }
};

QueuedText text(int tokens, TokenId first) {
  QueuedText t;
  t.tokens.assign(static_cast<size_t>(tokens), 0);
  t.tokens[0] = first;
  return t;
}

struct Answers {
  std::promise<Result<std::vector<float>>> promise;
  std::future<Result<std::vector<float>>> future = promise.get_future();
  EncoderQueue::Done done() {
    return [this](Result<std::vector<float>> result) { promise.set_value(std::move(result)); };
  }
};

TEST(EncoderQueue, PassesHoldWhatTheBudgetAllowsInTheOrderOfArrival) {
  const RealClock clock;
  Counting model;
  EncoderQueue queue(model.encode(), {.width = 2, .max_batched_tokens = 10, .max_waiting = 100}, clock);
  Answers a, b, c;
  ASSERT_TRUE(queue.add({text(4, 1), text(4, 2), text(4, 3)}, a.done()).ok());
  ASSERT_TRUE(queue.add({text(25, 4)}, b.done()).ok());
  ASSERT_TRUE(queue.add({text(6, 5), text(1, 6)}, c.done()).ok());
  EXPECT_EQ(queue.stats().waiting, 6);
  std::jthread loop([&](std::stop_token stop) { queue.run(stop); });
  model.gate.set_value();
  EXPECT_EQ(a.future.get().value(), (std::vector<float>{4, 1, 4, 2, 4, 3}));
  EXPECT_EQ(b.future.get().value(), (std::vector<float>{25, 4}));
  EXPECT_EQ(c.future.get().value(), (std::vector<float>{6, 5, 1, 6}));
  EXPECT_EQ(model.passes, (std::vector<std::vector<size_t>>{{4, 4}, {4}, {25}, {6, 1}}));
  const EncoderStats stats = queue.stats();
  EXPECT_EQ(stats.texts, 6u);
  EXPECT_EQ(stats.tokens, 44u);
  EXPECT_EQ(stats.passes, 4u);
  EXPECT_EQ(stats.waiting + stats.running, 0);
}

TEST(EncoderQueue, RefusesWhatIsTooMuchAndAfterClosing) {
  const RealClock clock;
  Counting model;
  EncoderQueue queue(model.encode(), {.width = 2, .max_batched_tokens = 10, .max_waiting = 3}, clock);
  Answers a;
  ASSERT_TRUE(queue.add({text(1, 1), text(1, 2)}, a.done()).ok());
  const auto more = queue.add({text(1, 1), text(1, 2)}, [](auto) { FAIL(); });
  ASSERT_FALSE(more.ok());
  EXPECT_EQ(more.error().code, ErrorCode::resource_exhausted);
  EXPECT_EQ(queue.stats().refused, 1u);
  queue.close();
  EXPECT_EQ(queue.add({text(1, 1)}, [](auto) { FAIL(); }).error().code, ErrorCode::unavailable);
  std::jthread loop([&](std::stop_token stop) { queue.run(stop); });
  model.gate.set_value();
  EXPECT_TRUE(a.future.get().ok());
}

TEST(EncoderQueue, CancelledRequestsAreDropped) {
  const RealClock clock;
  Counting model;
  EncoderQueue queue(model.encode(), {.width = 2, .max_batched_tokens = 4, .max_waiting = 100}, clock);
  Answers last;
  const auto first = queue.add({text(4, 1), text(4, 2)}, [](auto) { FAIL(); });
  const auto second = queue.add({text(3, 3)}, [](auto) { FAIL(); });
  ASSERT_TRUE(queue.add({text(2, 4)}, last.done()).ok());
  std::jthread loop([&](std::stop_token stop) { queue.run(stop); });
  while (queue.stats().running == 0) std::this_thread::yield();  // the first text's pass waits at the gate
  EXPECT_TRUE(queue.cancel(*first));
  EXPECT_TRUE(queue.cancel(*second));
  EXPECT_FALSE(queue.cancel(*second));
  EXPECT_EQ(queue.stats().waiting, 1);
  model.gate.set_value();
  EXPECT_EQ(last.future.get().value(), (std::vector<float>{2, 4}));
  EXPECT_EQ(model.passes, (std::vector<std::vector<size_t>>{{4}, {2}}));
}

TEST(EncoderQueue, AStopEndsItAfterThePassThatRuns) {
  const RealClock clock;
  Counting model;
  EncoderQueue queue(model.encode(), {.width = 2, .max_batched_tokens = 10, .max_waiting = 100}, clock);
  Answers first, second;
  ASSERT_TRUE(queue.add({text(10, 1)}, first.done()).ok());
  ASSERT_TRUE(queue.add({text(10, 2)}, second.done()).ok());
  std::jthread loop([&](std::stop_token stop) { queue.run(stop); });
  while (queue.stats().running == 0) std::this_thread::yield();
  loop.request_stop();
  model.gate.set_value();
  loop.join();
  EXPECT_EQ(first.future.get().value(), (std::vector<float>{10, 1}));
  EXPECT_EQ(model.passes.size(), 1u);
}

TEST(EncoderQueue, AFailedPassFailsItsRequestsAndNoOthers) {
  const RealClock clock;
  Counting model;
  EncoderQueue queue(model.encode(), {.width = 2, .max_batched_tokens = 4, .max_waiting = 100}, clock);
  Answers bad, good;
  ASSERT_TRUE(queue.add({text(4, -1), text(4, 2)}, bad.done()).ok());
  ASSERT_TRUE(queue.add({text(3, 3)}, good.done()).ok());
  std::jthread loop([&](std::stop_token stop) { queue.run(stop); });
  model.gate.set_value();
  EXPECT_EQ(bad.future.get().error().message, "no room");
  EXPECT_EQ(good.future.get().value(), (std::vector<float>{3, 3}));
  EXPECT_EQ(queue.stats().waiting, 0);
}

TEST(EncoderQueue, ManyThreadsGetTheirOwn) {
  const RealClock clock;
  Counting model;
  model.gate.set_value();
  EncoderQueue queue(model.encode(), {.width = 2, .max_batched_tokens = 16, .max_waiting = 100000}, clock);
  std::jthread loop([&](std::stop_token stop) { queue.run(stop); });
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> clients;
    for (int c = 0; c < 8; ++c)
      clients.emplace_back([&, c] {
        for (int i = 0; i < 50; ++i) {
          Answers answer;
          std::vector<QueuedText> texts;
          std::vector<float> expected;
          for (int t = 0; t <= i % 5; ++t) {
            texts.push_back(text(1 + (i * 7 + t) % 13, c * 1000 + i));
            expected.insert(expected.end(), {static_cast<float>(texts.back().tokens.size()), static_cast<float>(c * 1000 + i)});
          }
          if (!queue.add(std::move(texts), answer.done()).ok()) continue;
          if (answer.future.get().value() == expected) ++right;
        }
      });
  }
  EXPECT_EQ(right, 400);
}

}  // namespace
}  // namespace sluice
