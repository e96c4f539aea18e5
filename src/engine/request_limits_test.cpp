#include "engine/request_limits.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/build_engine.h"

namespace sluice {
namespace {

constexpr Nanos kSecond = 1'000'000'000;

Request request_of(std::string client, int prompt, int max_tokens) {
  Request r;
  r.client = std::move(client);
  r.prompt.assign(static_cast<size_t>(prompt), 1);
  r.max_tokens = max_tokens;
  return r;
}

TEST(RequestLimits, AClientGetsItsRateAndItsBurst) {
  RequestLimiter limiter({.client_token_rate = 10, .client_token_burst = 100});
  double retry = 0;
  const Request r = request_of("a", 20, 20);
  EXPECT_TRUE(limiter.take(r, 0, &retry).ok());
  EXPECT_TRUE(limiter.take(r, 0, &retry).ok());
  const Status third = limiter.take(r, 0, &retry);
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().code, ErrorCode::resource_exhausted);
  EXPECT_NE(third.error().message.find("--client-token-rate"), std::string::npos) << third.error().message;
  EXPECT_EQ(retry, 2);  // 20 tokens are left, 40 are wanted
  EXPECT_TRUE(limiter.take(request_of("b", 20, 20), 0, &retry).ok()) << "another client has a bucket of its own";
  EXPECT_FALSE(limiter.take(r, 2 * kSecond - 1, &retry).ok());
  EXPECT_TRUE(limiter.take(r, 2 * kSecond, &retry).ok());
  // Over a long time exactly the rate, and the burst once.
  int64_t taken = 120;
  for (Nanos now = 2 * kSecond; now <= 1000 * kSecond; now += kSecond / 10)
    if (limiter.take(r, now, &retry).ok()) taken += 40;
  EXPECT_LE(taken, 10 * 1000 + 100);
  EXPECT_GE(taken, 10 * 1000);
  EXPECT_GT(limiter.refused.client_rate, 1000u);
}

TEST(RequestLimits, ARequestLargerThanTheBucketPassesWhenThatIsFull) {
  RequestLimiter limiter({.client_token_rate = 10, .client_token_burst = 100});
  double retry = 0;
  const Request large = request_of("a", 150, 50);
  EXPECT_TRUE(limiter.take(large, 0, &retry).ok());
  EXPECT_FALSE(limiter.take(large, 10 * kSecond, &retry).ok());
  EXPECT_EQ(retry, 10);  // -100 at the start, 0 now, 100 in ten seconds
  EXPECT_TRUE(limiter.take(large, 20 * kSecond, &retry).ok());
}

TEST(RequestLimits, AListIsTakenAsOneOrNotAtAll) {
  RequestLimiter limiter({.client_token_rate = 10, .client_token_burst = 100, .max_waiting_per_client = 4});
  double retry = 0;
  const std::vector<Request> three(3, request_of("a", 30, 30));  // 180: larger than the burst
  ASSERT_TRUE(limiter.take(three, 0, &retry).ok());
  EXPECT_FALSE(limiter.take(three, 17 * kSecond, &retry).ok()) << "two more would be five that wait";
  EXPECT_EQ(limiter.refused.client_queue, 1u);
  for (const Request& r : three) limiter.left_queue(r);
  EXPECT_FALSE(limiter.take(three, 17 * kSecond, &retry).ok());
  EXPECT_EQ(retry, 1);  // -80 at the start, 90 now
  EXPECT_EQ(limiter.refused.client_rate, 1u);
  EXPECT_TRUE(limiter.take(three, 18 * kSecond, &retry).ok()) << "what was refused has cost nothing";
}

TEST(RequestLimits, EveryBeamCosts) {
  RequestLimiter limiter({.client_token_rate = 10, .client_token_burst = 100});
  double retry = 0;
  Request search = request_of("a", 20, 10);
  search.beam_width = 6;
  EXPECT_TRUE(limiter.take(search, 0, &retry).ok());
  EXPECT_FALSE(limiter.take(search, 0, &retry).ok());
  EXPECT_EQ(retry, 6);  // 20 are left of 100, 80 are wanted
}

TEST(RequestLimits, NobodyIsToldToWaitLongerThanADay) {
  RequestLimiter limiter({.client_token_rate = 1e-9, .client_token_burst = 100});
  double retry = 0;
  EXPECT_TRUE(limiter.take(request_of("a", 50, 50), 0, &retry).ok());
  EXPECT_FALSE(limiter.take(request_of("a", 50, 50), 0, &retry).ok());
  EXPECT_EQ(retry, 86'400);
}

TEST(RequestLimits, ARateThatIsAsGoodAsNoneIsRefused) {
  EngineOptions options;
  EXPECT_TRUE(check_scheduling(options).ok());
  options.limits.client_token_rate = 0.001;
  EXPECT_TRUE(check_scheduling(options).ok());
  options.limits.client_token_rate = 1e-9;
  const Status tiny = check_scheduling(options);
  ASSERT_FALSE(tiny.ok());
  EXPECT_EQ(tiny.error().param, "--client-token-rate");
  EXPECT_NE(tiny.error().message.find("at least 0.001"), std::string::npos) << tiny.error().message;
}

TEST(RequestLimits, AClientHasItsShareOfTheQueue) {
  RequestLimiter limiter({.max_waiting_per_client = 2});
  const Request a = request_of("a", 1, 1), b = request_of("b", 1, 1);
  EXPECT_TRUE(limiter.take(a, 0, nullptr).ok());
  EXPECT_TRUE(limiter.take(a, 0, nullptr).ok());
  EXPECT_FALSE(limiter.take(a, 0, nullptr).ok());
  EXPECT_TRUE(limiter.take(b, 0, nullptr).ok());
  limiter.left_queue(a);
  EXPECT_TRUE(limiter.take(a, 0, nullptr).ok());
  EXPECT_EQ(limiter.refused.client_queue, 1u);
}

TEST(RequestLimits, WhoWouldBeLateIsRefused) {
  RequestLimiter limiter({.slo_ttft_ms = 1000});
  const Request r = request_of("", 1, 1);
  for (int i = 0; i < 31; ++i) ASSERT_TRUE(limiter.take(r, 0, nullptr).ok()) << "nothing is known yet";
  for (int i = 0; i <= 10; ++i) limiter.settled(i > 0, 0, 0, i * kSecond / 10);  // ten a second
  EXPECT_NEAR(limiter.predicted_ttft_ms(kSecond), 2200, 1);  // 21 are ahead, and itself
  double retry = 0;
  const Status late = limiter.take(r, kSecond, &retry);
  ASSERT_FALSE(late.ok());
  EXPECT_NE(late.error().message.find("2.2 s"), std::string::npos) << late.error().message;
  EXPECT_EQ(retry, 2);
  for (int i = 11; i < 28; ++i) limiter.settled(1, 0, 0, i * kSecond / 10);
  EXPECT_TRUE(limiter.take(r, 27 * kSecond / 10, nullptr).ok());  // four are ahead
  limiter.settled(0, 2, 4, 28 * kSecond / 10);
  EXPECT_EQ(limiter.predicted_ttft_ms(3 * kSecond), 0) << "three compute, but there is no queue";
}

TEST(RequestLimits, PlacesOfOneStepAreCounted) {
  RequestLimiter limiter({.slo_ttft_ms = 1000});
  const Request r = request_of("", 1, 1);
  for (int i = 0; i < 3; ++i) limiter.settled(i > 0, 0, 0, i * 5 * kSecond);  // one every five seconds
  limiter.settled(0, 0, 2, 11 * kSecond);
  EXPECT_TRUE(limiter.take(r, 11 * kSecond, nullptr).ok());
  EXPECT_TRUE(limiter.take(r, 11 * kSecond, nullptr).ok());
  EXPECT_FALSE(limiter.take(r, 11 * kSecond, nullptr).ok()) << "the next step has places for two";
}

TEST(RequestLimits, FirstTokensOfOneStepAreOneTurn) {
  RequestLimiter limiter({.slo_ttft_ms = 1000});
  const Request r = request_of("", 1, 1);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(limiter.take(r, 0, nullptr).ok());
  for (int turn = 0; turn < 4; ++turn) limiter.settled(turn > 0 ? 8 : 0, 0, 0, turn * 2 * kSecond);  // eight every two seconds
  EXPECT_NEAR(limiter.predicted_ttft_ms(6 * kSecond), 3 * 2000, 1) << "sixteen are ahead: it is of the third turn";
  EXPECT_NEAR(limiter.predicted_ttft_ms(7 * kSecond), 3 * 2000 - 1000, 1) << "half of the next one has passed";
  EXPECT_NEAR(limiter.predicted_ttft_ms(12 * kSecond), 6000 * 17 / 8.0, 1) << "the next is overdue";
}

// The seats are taken, and nothing has ever come of a queue: what it has waited already, the next may wait again.
TEST(RequestLimits, AQueueThatStandsIsNotJoined) {
  RequestLimiter limiter({.slo_ttft_ms = 1000});
  const Request r = request_of("", 1, 1);
  ASSERT_TRUE(limiter.take(r, 0, nullptr).ok());
  limiter.settled(0, 0, 0, 0);
  EXPECT_TRUE(limiter.take(r, kSecond / 10, nullptr).ok());
  EXPECT_FALSE(limiter.take(r, kSecond, nullptr).ok());
  limiter.settled(2, 0, 4, 10 * kSecond);
  EXPECT_TRUE(limiter.take(r, 10 * kSecond, nullptr).ok()) << "the queue is gone";
  limiter.settled(0, 0, 0, 11 * kSecond);
  EXPECT_FALSE(limiter.take(r, 11 * kSecond, nullptr).ok()) << "it takes ten seconds, as was seen";
}

}  // namespace
}  // namespace sluice
