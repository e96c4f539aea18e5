#include "engine/encoder_queue.h"

#include <algorithm>

namespace sluice {

EncoderQueue::EncoderQueue(Encode encode, EncoderQueueOptions options, const Clock& clock)
    : encode_(std::move(encode)), options_(options), clock_(clock) {
  stats_.last_progress = clock.now();
}

Result<uint64_t> EncoderQueue::add(std::vector<QueuedText> texts, Done done) {
  CHECK(!texts.empty(), "a request without texts");
  std::lock_guard lock(mutex_);
  if (closed_) return unavailable("the server is shutting down");
  if (stats_.waiting + static_cast<int64_t>(texts.size()) > options_.max_waiting) {
    ++stats_.refused;
    return resource_exhausted(fmt::format("{} texts wait, and {} more are above the {} that may (--max-waiting); try again later", stats_.waiting,
                                          texts.size(), options_.max_waiting));
  }
  if (stats_.waiting == 0 && stats_.running == 0) stats_.last_progress = clock_.now();
  stats_.waiting += static_cast<int>(texts.size());
  auto job = std::make_shared<Job>();
  job->id = next_id_++;
  job->results.resize(texts.size() * static_cast<size_t>(options_.width));
  job->texts = std::move(texts);
  job->done = std::move(done);
  jobs_.push_back(job);
  work_.notify_one();
  return job->id;
}

bool EncoderQueue::cancel(uint64_t request) {
  std::lock_guard lock(mutex_);
  const auto is_it = [&](const auto& job) { return job->id == request; };
  std::shared_ptr<Job> found;
  if (const auto at = std::ranges::find_if(jobs_, is_it); at != jobs_.end()) {
    found = *at;
    stats_.waiting -= static_cast<int>(found->texts.size() - found->taken);
    jobs_.erase(at);
  } else if (const auto running = std::ranges::find_if(running_, is_it); running != running_.end()) {
    found = *running;
  }
  if (found == nullptr || found->cancelled) return false;
  found->cancelled = true;
  return true;
}

void EncoderQueue::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
}

std::vector<EncoderQueue::Taken> EncoderQueue::next_pass() {
  std::vector<Taken> pass;
  int64_t tokens = 0;
  while (!jobs_.empty()) {
    const std::shared_ptr<Job>& job = jobs_.front();
    const auto size = static_cast<int64_t>(job->texts[job->taken].tokens.size());
    if (!pass.empty() && tokens + size > options_.max_batched_tokens) break;
    tokens += size;
    pass.push_back({job, job->taken++});
    if (running_.empty() || running_.back() != job) running_.push_back(job);
    if (job->taken == job->texts.size()) jobs_.pop_front();
  }
  stats_.waiting -= static_cast<int>(pass.size());
  stats_.running = static_cast<int>(pass.size());
  return pass;
}

void EncoderQueue::settle(std::span<const Taken> pass, const Status& status, std::span<const float> results) {
  std::vector<std::shared_ptr<Job>> ended;
  {
    std::lock_guard lock(mutex_);
    const auto width = static_cast<size_t>(options_.width);
    ++stats_.passes;
    for (size_t i = 0; i < pass.size(); ++i) {
      Job& job = *pass[i].job;
      ++stats_.texts;
      stats_.tokens += job.texts[pass[i].text].tokens.size();
      if (status.ok()) std::ranges::copy(results.subspan(i * width, width), job.results.begin() + static_cast<int64_t>(pass[i].text * width));
      ++job.computed;
    }
    for (const std::shared_ptr<Job>& job : running_) {
      if (job->cancelled || (status.ok() && job->computed < job->texts.size())) continue;
      job->cancelled = true;  // nobody may cancel it any more
      ended.push_back(job);
      if (const auto at = std::ranges::find(jobs_, job); at != jobs_.end()) {  // failed with texts left
        stats_.waiting -= static_cast<int>(job->texts.size() - job->taken);
        jobs_.erase(at);
      }
    }
    running_.clear();
    stats_.running = 0;
    stats_.last_progress = clock_.now();
  }
  for (const std::shared_ptr<Job>& job : ended) {
    if (status.ok())
      job->done(std::move(job->results));
    else
      job->done(status.error());
  }
}

void EncoderQueue::run(std::stop_token stop) {
  std::vector<float> results;
  std::vector<const QueuedText*> texts;
  while (true) {
    std::vector<Taken> pass;
    {
      std::unique_lock lock(mutex_);
      if (!work_.wait(lock, stop, [&] { return !jobs_.empty(); }) || stop.stop_requested()) return;
      pass = next_pass();
    }
    texts.clear();
    for (const Taken& each : pass) texts.push_back(&each.job->texts[each.text]);
    results.resize(pass.size() * static_cast<size_t>(options_.width));
    const Status status = encode_(texts, results.data());
    settle(pass, status, results);
  }
}

EncoderStats EncoderQueue::stats() const {
  std::lock_guard lock(mutex_);
  EncoderStats stats = stats_;
  if (stats.waiting == 0 && stats.running == 0) stats.last_progress = clock_.now();
  return stats;
}

}  // namespace sluice
