#pragma once
// The loop of models that read texts whole: texts come in from any thread, and one thread takes them in the order of their arrival, as many
// as a token budget holds, to one pass after another. The model is a function, so that tests may put any in its place.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"

namespace sluice {

struct QueuedText {
  std::vector<TokenId> tokens;  // at least one
  int64_t second = -1;          // from here on the second text of a pair; -1: none
};

struct EncoderQueueOptions {
  int64_t width = 0;                  // floats that the model gives for a text
  int64_t max_batched_tokens = 2048;  // of a pass; a longer text has one of its own
  int max_waiting = 1024;             // texts; one more is refused
};

/// A snapshot for metrics; counters only grow.
struct EncoderStats {
  int running = 0, waiting = 0;  // texts
  uint64_t passes = 0, texts = 0, tokens = 0, refused = 0;
  Nanos last_progress = 0;  // when a pass last ended, or the queue was last empty
};

class EncoderQueue {
 public:
  /// out[texts, width].
  using Encode = std::function<Status(std::span<const QueuedText* const> texts, float* out)>;
  /// [texts, width], or why not. On the queue's thread, once, unless the request is cancelled before: it must not block.
  using Done = std::function<void(Result<std::vector<float>>)>;

  EncoderQueue(Encode encode, EncoderQueueOptions options, const Clock& clock);

  /// Errors: resource_exhausted when too many wait, unavailable after close().
  Result<uint64_t> add(std::vector<QueuedText> texts, Done done);
  /// What has not begun is dropped, and `done` is not called; false: it was called before.
  bool cancel(uint64_t request);
  /// Takes nothing more; what waits is computed.
  void close();
  void run(std::stop_token stop);

  EncoderStats stats() const;
  const EncoderQueueOptions& options() const { return options_; }

 private:
  struct Job {
    uint64_t id;
    std::vector<QueuedText> texts;
    Done done;
    std::vector<float> results;
    size_t taken = 0, computed = 0;  // texts
    bool cancelled = false;
  };
  struct Taken {
    std::shared_ptr<Job> job;
    size_t text;
  };
  /// The next pass; holds the lock.
  std::vector<Taken> next_pass();
  void settle(std::span<const Taken> pass, const Status& status, std::span<const float> results);

  const Encode encode_;
  const EncoderQueueOptions options_;
  const Clock& clock_;
  mutable std::mutex mutex_;  // guards what stands below
  std::condition_variable_any work_;
  std::deque<std::shared_ptr<Job>> jobs_;     // with texts that no pass has taken
  std::vector<std::shared_ptr<Job>> running_;  // of which a pass has some
  EncoderStats stats_;
  uint64_t next_id_ = 1;
  bool closed_ = false;
};

}  // namespace sluice
