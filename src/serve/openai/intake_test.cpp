#include "serve/openai/intake.h"

#include <gtest/gtest.h>

#include <future>

namespace sluice {
namespace {

constexpr size_t kSmall = 100, kLarge = Intake::kLargeBytes + 1;

/// A job that says when it runs and waits to be let go.
struct Held {
  std::promise<void> running, go;
  Worker::Job job() {
    return [this] {
      running.set_value();
      go.get_future().wait();
    };
  }
};

TEST(Intake, ASmallRequestDoesNotWaitForALargeOne) {
  Intake intake({});
  Held large;
  ASSERT_TRUE(intake.post(kLarge, large.job()).ok());
  large.running.get_future().wait();
  std::promise<void> done;
  ASSERT_TRUE(intake.post(kSmall, [&] { done.set_value(); }).ok());
  done.get_future().wait();
  large.go.set_value();
}

TEST(Intake, BoundsJobsAndBytes) {
  for (const IntakeLimits limits : {IntakeLimits{.jobs = 2, .bytes = 1 << 20}, {.jobs = 10, .bytes = 2 * kSmall}}) {
    Intake intake(limits);
    Held first;
    ASSERT_TRUE(intake.post(kSmall, first.job()).ok());
    first.running.get_future().wait();
    std::promise<void> done;
    ASSERT_TRUE(intake.post(kSmall, [&] { done.set_value(); }).ok());
    EXPECT_EQ(intake.post(kSmall, [] {}).error().code, ErrorCode::resource_exhausted);
    first.go.set_value();
    done.get_future().wait();
    while (!intake.post(kSmall, [] {}).ok()) std::this_thread::yield();  // the places come back
  }
  Intake intake({.jobs = 1, .bytes = 10});
  EXPECT_TRUE(intake.post(kLarge, [] {}).ok());  // what the HTTP server let through alone is taken
}

}  // namespace
}  // namespace sluice
