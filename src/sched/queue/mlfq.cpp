#include "sched/queue/mlfq.h"

#include <algorithm>

namespace sluice {

void Mlfq::StepLine::add(double tokens, double took) {
  constexpr double kKept = 0.998;  // of an old step's weight, at each new one
  for (double* sum : {&n, &x, &y, &xx, &xy}) *sum *= kKept;
  n += 1;
  x += tokens;
  y += took;
  xx += tokens * tokens;
  xy += tokens * took;
}

double Mlfq::StepLine::ns(double tokens) const {
  if (n == 0) return 0;
  const double spread = n * xx - x * x;
  // Steps of one size tell nothing about others: then all of their time counts as fixed.
  const double slope = spread > 1e-9 * n * xx ? std::max(0.0, (n * xy - x * y) / spread) : 0;
  return std::max(0.0, (y - slope * x) / n) + slope * tokens;
}

int Mlfq::entry_queue(int tokens) const {
  if (!steps_.known()) return 0;
  const double first_iteration = steps_.ns(tokens);
  int queue = 0;
  while (queue + 1 < kQueues && quantum_ns(queue) < first_iteration) ++queue;
  return queue;
}

int Mlfq::queue_of(const Job& job, bool waits, Nanos now) const {
  const bool aged = waits && now - job.waiting_since >= aging_;
  return aged ? 0 : job.queue;
}

double Mlfq::rank(const Sequence& seq, Nanos now) const {
  const Job& job = jobs_.at(seq.id);
  return job.in_iteration ? -1 : queue_of(job, seq.state == Sequence::State::waiting, now);
}

bool Mlfq::outranks(const Sequence& waiting, const Sequence& running, Nanos now) const {
  const Job& job = jobs_.at(running.id);
  return !job.in_iteration && job.since_ns >= (1 + kWorth) * job.iteration_ns &&
         queue_of(jobs_.at(waiting.id), true, now) < job.queue;
}

void Mlfq::on_new(const Sequence& seq) {
  const bool runs = seq.state == Sequence::State::running;  // a fork may run at once
  const int tokens = static_cast<int>(seq.tokens.size());
  jobs_[seq.id] = {.queue = entry_queue(tokens), .waiting_since = seq.arrival, .tokens = tokens, .in_iteration = runs};
}

void Mlfq::ran(Job& job, const Event& event) {
  if (event.at != settled_) {  // the first of its step: the one before is complete
    if (step_tokens_ > 0) steps_.add(step_tokens_, step_ns_);
    step_ns_ = static_cast<double>(event.at - std::max(settled_, started_));
    step_tokens_ = 0;
    settled_ = event.at;
  }
  step_tokens_ += event.tokens;
  job.used_ns += step_ns_;
  job.since_ns += step_ns_;
  if (!steps_.known() || job.queue + 1 == kQueues || job.used_ns < quantum_ns(job.queue)) return;
  ++job.queue;
  job.used_ns = 0;
}

void Mlfq::on(const Event& event) {
  const auto it = jobs_.find(event.seq);
  if (it == jobs_.end()) return;
  Job& job = it->second;
  switch (event.kind) {
    case Event::Kind::admitted:
      started_ = event.at;
      if (queue_of(job, true, event.at) < job.queue) job.queue = std::min(job.queue, entry_queue(job.tokens)), job.used_ns = 0;
      job.in_iteration = true;
      job.since_ns = 0;
      break;
    case Event::Kind::ran:
    case Event::Kind::prepared: ran(job, event); break;
    case Event::Kind::sampled:
      job.tokens += event.tokens;
      if (job.in_iteration) job.iteration_ns = job.since_ns;
      job.in_iteration = false;
      break;
    case Event::Kind::preempted:
      job.waiting_since = event.at;
      job.in_iteration = false;
      break;
    case Event::Kind::finished: jobs_.erase(it); break;
    default: break;
  }
}

}  // namespace sluice
