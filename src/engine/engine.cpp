#include "engine/engine.h"

#include <algorithm>
#include <ranges>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "engine/reuse_check.h"
#include "kv/recent_pages.h"

namespace sluice {

/// Counts events; read by the loop's thread only, copied into stats_ after every step.
struct Engine::Accountant : Observer {
  EngineStats counts;
  struct Reach {
    int computed = 0, prompt = 0;
    int high_water = 0;            // positions that it had computed before: what is computed below is a repeat
    bool first_admission = false;  // has not been yet
  };
  std::unordered_map<SeqId, Reach> reach;

  void on(const Event& e) override {
    if (e.kind == Event::Kind::sampled) {
      counts.generation_tokens += e.tokens;
      return;
    }
    Reach& r = reach[e.seq];
    switch (e.kind) {
      case Event::Kind::arrived:
        counts.prompt_tokens += e.tokens;
        r = {0, e.tokens, 0, true};
        break;
      case Event::Kind::admitted:
        // Once a request: what a preempted sequence finds of its own, and a late sample of its prompt, are no hits.
        if (std::exchange(r.first_admission, false)) {
          counts.prefix_queries_tokens += r.prompt;
          counts.prefix_hits_tokens += e.tokens;
        }
        r.computed = e.tokens;
        break;
      case Event::Kind::ran: {
        const int begin = r.computed, end = begin + e.tokens, seen = r.high_water;
        counts.step_tokens += e.tokens;
        counts.tokens_recomputed += std::max(0, std::min(end, seen) - begin);
        counts.prompt_tokens_computed += std::max(0, std::min(end, r.prompt) - std::max(begin, seen));
        r.high_water = std::max(seen, end);
        r.computed = end;
        break;
      }
      case Event::Kind::reused: r.computed += e.tokens; break;
      case Event::Kind::prepared:
        counts.step_tokens += e.tokens;
        counts.prompt_tokens_prepared += e.tokens;
        break;
      case Event::Kind::sampled: break;
      case Event::Kind::preempted:
        ++counts.preemptions;
        r.computed = 0;
        break;
      case Event::Kind::forked: {
        const int prompt = r.prompt, computed = std::min(e.tokens, r.computed);  // what the parent had computed
        reach[e.other] = {e.tokens - 1, prompt, computed, false};
        break;
      }
      case Event::Kind::finished: reach.erase(e.seq); break;
    }
  }
};

Engine::Engine(EngineConfig config, std::unique_ptr<BlockPool> pool, std::unique_ptr<PrefixCache> cache,
               SchedulerPolicies policies, Executor& executor, const Clock& clock, EngineTimes* times)
    : config_(config),
      pool_(std::move(pool)),
      cache_(std::move(cache)),
      scheduler_(config.scheduler, *pool_, *cache_, std::move(policies), config.tiers),
      executor_(executor),
      clock_(clock),
      times_(times),
      limiter_(config.limits),
      accountant_(std::make_unique<Accountant>()) {
  scheduler_.observe(accountant_.get());
  limiter_.settled(0, 0, config.scheduler.max_num_seqs, clock.now());
  stats_.total_blocks = stats_.free_blocks = pool_->total();
  stats_.last_progress = clock_.now();
}

Engine::~Engine() = default;

Status Engine::check(const Request& request) const {
  const int context = config_.scheduler.max_model_len;
  const int64_t prompt = static_cast<int64_t>(request.prompt.size());
  if (prompt == 0) return invalid_argument("the prompt has no tokens; at least one is needed", "prompt");
  if (prompt >= context)
    return invalid_argument(fmt::format("the prompt has {} tokens, but the context holds {} including at least one "
                                        "new token (--max-model-len)", prompt, context), "prompt");
  if (request.max_tokens < 1)
    return invalid_argument(fmt::format("max_tokens is {}; it must be at least 1", request.max_tokens), "max_tokens");
  if (prompt + request.max_tokens > context)
    return invalid_argument(fmt::format("{} prompt tokens and max_tokens {} make {}, but the context holds {} "
                                        "(--max-model-len)", prompt, request.max_tokens,
                                        prompt + request.max_tokens, context), "max_tokens");
  if (request.n < 1 || request.n > 128)
    return invalid_argument(fmt::format("n is {}; it must be from 1 to 128", request.n), "n");
  if (request.beam_width > 0 && config_.closed_batches)
    return invalid_argument("beam search needs --batching continuous: its beams come and go, and nobody may join a batch that runs", "use_beam_search");
  if (request.beam_width > 0 && request.n > request.beam_width)
    return invalid_argument(fmt::format("n is {}; of {} beams at most so many are the best", request.n, request.beam_width), "n");
  if (request.beam_width > 0 && request.prompt_logprobs >= 0)
    return invalid_argument("logprobs of the prompt are not told by a beam search; leave them out", "prompt_logprobs");
  SLUICE_TRY_STATUS(check_reuse(request, config_));
  for (size_t i = 0; config_.vocab_size > 0 && i < request.prompt.size(); ++i)
    if (request.prompt[i] < 0 || request.prompt[i] >= config_.vocab_size)
      return invalid_argument(fmt::format("prompt token {} is {}, outside the vocabulary of {}", i, request.prompt[i],
                                          config_.vocab_size), "prompt");
  return {};
}

Result<RequestId> Engine::add(Request request, Sink sink, double* retry_after_s) {
  std::vector<Request> requests;
  requests.push_back(std::move(request));
  std::vector<Sink> sinks;
  sinks.push_back(std::move(sink));
  SLUICE_TRY(const std::vector<RequestId> ids, add(std::move(requests), std::move(sinks), retry_after_s));
  return ids[0];
}

Result<std::vector<RequestId>> Engine::add(std::vector<Request> requests, std::vector<Sink> sinks, double* retry_after_s) {
  for (Request& request : requests) {
    SLUICE_TRY_STATUS(check(request));
    if (request.arrival == 0) request.arrival = clock_.now();
    if (request.reuse.any()) request.reuse.seal(request.salt, request.prompt);
  }
  const int count = static_cast<int>(requests.size());
  const int most_of_client = config_.limits.max_waiting_per_client;
  if (most_of_client > 0 && count > most_of_client)
    return invalid_argument(fmt::format("{} prompts come at once, but at most {} requests of one client may wait "
                                        "(--max-waiting-per-client); send fewer at a time", count, most_of_client), "prompt");
  std::lock_guard lock(mutex_);
  if (closed_) return unavailable("the server is shutting down and takes no new requests");
  if (queued_requests_ + count > config_.max_waiting) {
    ++limiter_.refused.queue_full;
    return resource_exhausted(fmt::format("{} requests wait already (--max-waiting {}){}; try again later", queued_requests_,
                                          config_.max_waiting, count > 1 ? fmt::format(", and {} more are too many", count) : ""));
  }
  SLUICE_TRY_STATUS(limiter_.take(requests, clock_.now(), retry_after_s));
  if (!busy_ && arrivals_.empty()) stats_.last_progress = clock_.now();  // it was idle until now
  queued_requests_ += count;
  std::vector<RequestId> ids;
  for (size_t i = 0; i < requests.size(); ++i) {
    ids.push_back(next_request_++);
    arrivals_.push_back({ids.back(), std::make_shared<const Request>(std::move(requests[i])), std::move(sinks[i])});
  }
  wake_.notify_one();
  return ids;
}

void Engine::cancel(RequestId id, int sample) {
  std::lock_guard lock(mutex_);
  cancellations_.push_back({id, sample});
  wake_.notify_one();
}

void Engine::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  wake_.notify_one();
}

EngineStats Engine::stats() const {
  std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.refused = limiter_.refused;
  stats.waiting += static_cast<int>(arrivals_.size());
  if (!busy_ && arrivals_.empty()) stats.last_progress = clock_.now();
  return stats;
}

bool Engine::idle() const {
  std::lock_guard lock(mutex_);
  return !busy_ && arrivals_.empty() && cancellations_.empty();
}

void Engine::take_inbox() {
  std::vector<Arrival> arrivals;
  std::vector<Cancellation> cancellations;
  {
    std::lock_guard lock(mutex_);
    arrivals.swap(arrivals_);
    cancellations.swap(cancellations_);
    busy_ = busy_ || !arrivals.empty();
  }
  for (Arrival& arrival : arrivals) {
    const SeqId seq = scheduler_.add(arrival.request, clock_.now());
    Live live{arrival.id, arrival.request, std::move(arrival.sink), {{0, seq}}, 0, -1};
    if (arrival.request->beam_width == 0) live.unborn = arrival.request->n - 1;
    owner_[seq] = {arrival.id, 0};
    live_.emplace(arrival.id, std::move(live));
    ++never_admitted_;
  }
  for (const Cancellation& c : cancellations) {
    const auto it = live_.find(c.id);
    if (it == live_.end()) continue;
    Live& live = it->second;
    if (live.request->beam_width > 0) {  // its outputs are one answer
      if (c.sample < 0) end_search(live, FinishReason::cancelled, {});
      continue;
    }
    std::vector<std::pair<int, SeqId>> ended;
    for (const auto& [sample, seq] : live.samples)
      if (c.sample < 0 || c.sample == sample) ended.emplace_back(sample, seq);
    // Sample 0 carries the prompt until the others have split off, so it goes last: `live` goes with it.
    for (const auto& [sample, seq] : std::views::reverse(ended)) {
      scheduler_.drop(seq, clock_.now());
      owner_.erase(seq);
      end_with_unborn(live, sample, FinishReason::cancelled, {});
    }
  }
}

void Engine::leaves_queue(const Live& live) {
  --never_admitted_;
  left_queue_.push_back(live.request);
}

void Engine::end_search(Live& live, FinishReason reason, std::string_view error) {
  for (const auto& [beam, seq] : live.samples) {
    scheduler_.drop(seq, clock_.now());
    owner_.erase(seq);
  }
  live.samples.clear();
  for (int sample = 0, n = live.request->n; sample < n; ++sample) {
    live.unborn = n - 1 - sample;
    end_sample(live, sample, reason, error);
  }
}

/// Of a step of beams: who they are now, and at the end what they found.
void Engine::deliver_search(Live& live, const Outcome& outcome) {
  if ((outcome.sampled || outcome.done) && !std::exchange(live.has_token, true)) ++first_tokens_;
  for (const SeqId id : outcome.dropped) {
    live.samples.erase(owner_.at(id).second);
    owner_.erase(id);
  }
  for (const SeqId child : outcome.forks) {
    const int beam = scheduler_.find(child)->sample;
    live.samples[beam] = child;
    owner_[child] = {live.id, beam};
  }
  if (!outcome.done) return;
  for (int sample = 0, n = live.request->n; sample < n; ++sample) {
    live.unborn = n - 1 - sample;
    if (sample >= static_cast<int>(outcome.found.size())) {
      end_sample(live, sample, FinishReason::error, "the search found fewer continuations than were asked for");
      continue;
    }
    const Hypothesis& found = outcome.found[static_cast<size_t>(sample)];
    Output output;
    output.request = live.id;
    output.sample = sample;
    output.tokens = found.tokens;
    output.finish = found.finish;
    output.request_done = live.unborn == 0;
    output.cached_tokens = std::max(0, live.cached_tokens);
    live.sink(output);
    if (!output.request_done) continue;
    ++accountant_->counts.finished_requests;
    live_.erase(live.id);
  }
}

void Engine::end_with_unborn(Live& live, int sample, FinishReason reason, std::string_view error) {
  if (live.request->beam_width > 0) return end_search(live, reason, error);
  if (sample == 0)
    for (; live.unborn > 0; --live.unborn) end_sample(live, live.request->n - live.unborn, reason, error);
  end_sample(live, sample, reason, error);
}

void Engine::end_sample(Live& live, int sample, FinishReason reason, std::string_view error) {
  live.samples.erase(sample);
  Output output;
  output.request = live.id;
  output.sample = sample;
  output.finish = reason;
  output.request_done = live.samples.empty() && live.unborn == 0;
  output.cached_tokens = std::max(0, live.cached_tokens);
  output.error = error;
  live.sink(output);
  if (output.request_done) {
    if (live.cached_tokens < 0) leaves_queue(live);
    ended_without_token_ += !live.has_token;
    ++accountant_->counts.finished_requests;
    live_.erase(live.id);
  }
}

void Engine::fail_oldest() {
  // Nothing can run and nothing is in flight: waiting longer changes nothing. The engine never spins.
  const SeqId id = scheduler_.oldest_waiting(clock_.now());
  const SeqId victim = id != kNoSeq ? id : owner_.begin()->first;
  const auto [request, sample] = owner_.at(victim);
  log_error("request {} cannot run: no step can be planned for it", request);
  scheduler_.drop(victim, clock_.now());
  owner_.erase(victim);
  end_with_unborn(live_.at(request), sample, FinishReason::error, "no step could be planned for this request with the KV cache that there is");
}

void Engine::deliver(const std::vector<Outcome>& outcomes) {
  for (const Outcome& outcome : outcomes) {
    const auto owner = owner_.find(outcome.seq);
    if (owner == owner_.end()) {  // a search that has failed in this step
      for (const SeqId child : outcome.forks) scheduler_.drop(child, clock_.now());
      continue;
    }
    const auto [request, sample] = owner->second;
    Live& live = live_.at(request);
    if (outcome.finish == FinishReason::error) {
      log_error("request {}: {}", request, outcome.error);
      owner_.erase(outcome.seq);
      end_with_unborn(live, sample, FinishReason::error, outcome.error);
      continue;
    }
    if (!live.has_token) {  // once a request, as with the prefix cache
      live.cached_tokens += outcome.reused;
      accountant_->counts.segment_hits_tokens += static_cast<uint64_t>(outcome.reused);
    }
    if (live.request->beam_width > 0) {
      deliver_search(live, outcome);
      continue;
    }
    for (const SeqId child : outcome.forks) {
      const Sequence* seq = scheduler_.find(child);
      live.samples[seq->sample] = child;
      owner_[child] = {request, seq->sample};
      --live.unborn;
    }
    if (outcome.sampled && !live.has_token) {
      live.has_token = true;
      ++first_tokens_;
    }
    const bool finished = outcome.finish != FinishReason::none;
    // A sequence that was preempted scores its prompt anew: what was heard is not said again.
    const size_t heard =
        std::min(outcome.prompt.size(), static_cast<size_t>(std::max(0, live.scored + 1 - outcome.first_scored)));
    const std::span<const SampledToken> scored = std::span(outcome.prompt).subspan(heard);
    live.scored += static_cast<int>(scored.size());
    if (!outcome.sampled && !finished && scored.empty()) continue;
    Output output;
    output.request = request;
    output.sample = sample;
    if (outcome.sampled) output.tokens = {&outcome.token, 1};
    output.prompt = scored;
    output.finish = outcome.finish;
    output.cached_tokens = std::max(0, live.cached_tokens);
    if (finished) {
      owner_.erase(outcome.seq);
      live.samples.erase(sample);
      output.request_done = live.samples.empty() && live.unborn == 0;
    }
    live.sink(output);
    if (output.request_done) {
      ++accountant_->counts.finished_requests;
      live_.erase(request);
    }
  }
}

bool Engine::step() {
  LapTimer lap(times_, clock_);
  take_inbox();
  lap.mark(&EngineTimes::inbox);
  bool worked = false;
  held_until_ = 0;
  if (!live_.empty() || scheduler_.has_copies()) {
    worked = true;
    const Nanos now = clock_.now();
    scheduler_.find_kept_history(now);
    Decision decision = scheduler_.decide(now);
    lap.mark(&EngineTimes::decide);
    const bool moved = !decision.preempt.empty() || !decision.never.empty();
    std::vector<RequestId> failed_searches;  // after the step, of which their other beams may be part
    for (const SeqId id : decision.never) {
      const auto [request, sample] = owner_.at(id);
      if (live_.at(request).request->beam_width > 0) {
        failed_searches.push_back(request);
        continue;
      }
      const Sequence* seq = scheduler_.find(id);
      const std::string error = fmt::format("{} tokens need more KV blocks than the {} that there are",
                                            seq->tokens.size(), pool_->total());
      scheduler_.drop(id, now);
      owner_.erase(id);
      end_with_unborn(live_.at(request), sample, FinishReason::error, error);
    }
    for (const Decision::Admission& a : decision.admit) {
      const auto [request, sample] = owner_.at(a.seq);
      Live& live = live_.at(request);
      if (live.cached_tokens >= 0) continue;
      live.cached_tokens = a.computed;
      leaves_queue(live);
    }
    const StepPlan plan = scheduler_.commit(std::move(decision), now);
    lap.mark(&EngineTimes::commit);
    if (plan.empty()) {
      const Nanos opens_at = moved ? now : scheduler_.opens_at(now);
      if (opens_at > now) {
        held_until_ = opens_at;
        worked = false;
      } else if (!moved) {
        fail_oldest();
      }
    } else {
      const Nanos submitted = clock_.now();
      const Ticket ticket = executor_.submit(plan);
      std::optional<StepResult> result;
      while (!(result = executor_.poll(ticket))) {
      }
      lap.mark(&EngineTimes::execute);
      accountant_->counts.copied_blocks += static_cast<uint64_t>(std::ranges::count_if(
          plan.copies, [](const KvCopy& copy) { return copy.from == Tier::pool && copy.to == Tier::pool; }));
      for (const KvEviction& e : plan.evictions) {
        ++accountant_->counts.kv_evictions;
        accountant_->counts.kv_evicted_tokens += static_cast<uint64_t>(e.slots_before - e.slots_after);
      }
      if (StepTimeEstimate* estimate = scheduler_.step_time()) estimate->measured(step_shape(plan), clock_.now() - submitted);
      ++accountant_->counts.steps;
      accountant_->counts.offload = result->offload;
      accountant_->counts.load_ns += result->load_ns;
      accountant_->counts.load_span_ns += result->load_span_ns;
      const std::vector<Outcome> outcomes = scheduler_.settle(plan, *result, clock_.now());
      lap.mark(&EngineTimes::settle);
      deliver(outcomes);
      lap.mark(&EngineTimes::deliver);
      if (times_ != nullptr) ++times_->steps;
    }
    for (const RequestId id : failed_searches)
      if (const auto it = live_.find(id); it != live_.end())
        end_search(it->second, FinishReason::error, "a beam of this request cannot be admitted again");
  }
  std::lock_guard lock(mutex_);
  const Nanos progress = clock_.now();
  stats_ = accountant_->counts;
  stats_.running = scheduler_.running();
  stats_.waiting = scheduler_.waiting();
  stats_.tiers = scheduler_.tier_stats();
  stats_.total_blocks = pool_->total();
  stats_.free_blocks = pool_->free();
  stats_.cached_idle_blocks = pool_->idle_cached();
  if (const RecentPages* recent = pool_->recent(); recent != nullptr) {
    stats_.kv_pages = recent->pages().total();
    stats_.used_kv_pages = stats_.kv_pages - recent->pages().free();
    stats_.kv_pages_reclaimed = recent->reclaimed();
  }
  stats_.last_progress = progress;
  for (const auto& request : left_queue_) limiter_.left_queue(*request);
  limiter_.settled(std::exchange(first_tokens_, 0), std::exchange(ended_without_token_, 0),
                   stats_.waiting > 0 ? 0 : config_.scheduler.max_num_seqs - stats_.running - static_cast<int>(arrivals_.size()), progress);
  left_queue_.clear();
  queued_requests_ = static_cast<int>(arrivals_.size()) + never_admitted_;
  busy_ = !live_.empty() || scheduler_.has_copies();
  return worked;
}

void Engine::run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    if (step()) continue;
    executor_.idle();
    std::unique_lock lock(mutex_);
    const auto news = [&] { return !arrivals_.empty() || !cancellations_.empty(); };
    if (held_until_ == 0) wake_.wait(lock, stop, news);
    else wake_.wait_for(lock, stop, std::chrono::nanoseconds(std::max<Nanos>(0, held_until_ - clock_.now())), news);
  }
}

}  // namespace sluice
