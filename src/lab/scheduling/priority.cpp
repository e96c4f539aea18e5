#include "lab/scheduling/measures.h"

namespace sluice::lab {
namespace {

bool urgent(const Request& r) { return r.priority == 0; }
bool patient(const Request& r) { return r.priority > 0; }

Load urgent_requests(int n, double rate) {
  return mixed_lengths(kSimulatedVocab, {.n = n, .prompt_mean = 24, .output_mean = 16, .output_most = 64, .rate = rate, .seed = 2});
}
Load patient_requests(int n, double rate) {
  Load load = mixed_lengths(kSimulatedVocab, {.n = n, .prompt_mean = 64, .output_mean = 128, .output_most = 512, .rate = rate, .seed = 3});
  for (Request& r : load.requests) {
    r.priority = 1;
    r.sampling.seed += 1 << 20;
  }
  return load;
}

EngineOptions sixteen_seats(const char* policy) {
  EngineOptions options = engine_options(1024, 32 * 1024);
  options.max_num_seqs = 16;
  options.scheduling_policy = policy;
  return options;
}

Result<Finding> run_priority(const Setting& setting) {
  const int n = setting.quick ? 60 : 600;
  const Load load = merged(urgent_requests(n, 2), patient_requests(4 * n, 8));
  SLUICE_TRY(const Run fcfs, simulate(sixteen_seats("fcfs"), load));
  SLUICE_TRY(const Run priority, simulate(sixteen_seats("priority"), load));

  Finding f;
  std::string why;
  const bool same = same_outputs(fcfs, priority, &why);
  f.must("the same outputs as under fcfs", same, why);
  int overtaken = 0;  // an urgent one that a patient one, come later or not, was let in before while it waited
  for (size_t i = 0; i < load.requests.size(); ++i)
    for (size_t k = 0; k < load.requests.size(); ++k)
      overtaken += urgent(load.requests[i]) && patient(load.requests[k]) &&
                   load.arrivals[k] + priority.waited[k] > load.arrivals[i] &&
                   load.arrivals[k] + priority.waited[k] < load.arrivals[i] + priority.waited[i];
  f.must("no patient request starts while an urgent one waits", overtaken == 0, fmt::format("{} did", overtaken));
  f.effect = {"simulated TTFT of the urgent class, p99", "ms", ttft_ms(fcfs, load, urgent).p99,
              ttft_ms(priority, load, urgent).p99, Better::lower, false};
  f.count("longest wait of the patient class, ms", longest_wait_ms(fcfs, load, patient), longest_wait_ms(priority, load, patient));
  return f;
}

Result<Finding> run_aging(const Setting& setting) {
  const int n = setting.quick ? 60 : 600;
  const Load alone = urgent_requests(n, 2), load = merged(alone, patient_requests(4 * n, 8));
  EngineOptions aging = sixteen_seats("priority-aging");
  aging.preemption_policy = "lowest-priority";
  aging.aging_ms = 600'000;  // longer than the run: the classes are strict
  SLUICE_TRY(const Run by_itself, simulate(aging, alone));
  SLUICE_TRY(const Run fcfs, simulate(sixteen_seats("fcfs"), load));
  SLUICE_TRY(const Run strict, simulate(aging, load));

  Finding f;
  std::string why;
  const bool same = same_outputs(fcfs, strict, &why);
  f.must("the same outputs as under fcfs, through preemptions", same && strict.stats.preemptions > 0,
         fmt::format("{}; {} preemptions", why, strict.stats.preemptions));
  f.must("an urgent request starts within one iteration of its arrival, whatever the patient class does",
         longest_wait_ms(strict, load, urgent) <= static_cast<double>(strict.longest_step) / kMs,
         fmt::format("{:.1f} ms, the longest iteration took {:.1f}", longest_wait_ms(strict, load, urgent),
                     static_cast<double>(strict.longest_step) / kMs));
  // Urgent requests alone fill the machine: what is patient still has its turn.
  Load crowd = merged(urgent_requests(20 * n, 40), patient_requests(n / 4, 1));
  aging.aging_ms = 2000;
  SLUICE_TRY(const Run priority, simulate(sixteen_seats("priority"), crowd));
  SLUICE_TRY(const Run aged, simulate(aging, crowd));
  int late = 0;  // pairs where a patient request was let in after an urgent one that came more than its aging later
  for (size_t i = 0; i < crowd.requests.size(); ++i)
    for (size_t k = 0; k < crowd.requests.size(); ++k)
      late += patient(crowd.requests[i]) && urgent(crowd.requests[k]) && crowd.arrivals[k] > crowd.arrivals[i] + 2'000'000'000 &&
              crowd.arrivals[k] + aged.waited[k] < crowd.arrivals[i] + aged.waited[i];
  f.must("a request of the next class is overtaken by none that comes more than its aging later", late == 0, fmt::format("{} were", late));
  f.effect = {"simulated TTFT of the urgent class, p99", "ms", ttft_ms(fcfs, load, urgent).p99, ttft_ms(strict, load, urgent).p99,
              Better::lower, false};
  f.count("the same without the patient class, ms", ttft_ms(by_itself, alone).p99, ttft_ms(by_itself, alone).p99);
  f.count("preemptions", static_cast<double>(fcfs.stats.preemptions), static_cast<double>(strict.stats.preemptions));
  f.count("longest wait of the patient class beside too many urgent ones, ms: priority, aging 2 s",
          longest_wait_ms(priority, crowd, patient), longest_wait_ms(aged, crowd, patient));
  return f;
}

}  // namespace

extern const Experiment kPriority, kPriorityAging;
const Experiment kPriority = {
    .name = "priority",
    .ids = "H5",
    .group = "scheduling",
    .technique = "Priority classes",
    .paper = "vLLM's field and policy",
    .file = "src/sched/queue/priority.h",
    .flag = "`--scheduling-policy priority`",
    .test = "`tests/property`",
    .baseline = "first come, first served",
    .workload = "simulated, 16 seats; an urgent class beside a patient one that alone asks for more than there is",
    .holds = "lossless; no patient request starts while an urgent one waits",
    .run = run_priority};
const Experiment kPriorityAging = {
    .name = "priority-aging",
    .ids = "H5",
    .group = "scheduling",
    .technique = "Preemptive classes with aging",
    .paper = "Sun et al., Llumnix, OSDI 2024 (classes); aging as in operating systems",
    .file = "src/sched/queue/priority_aging.h",
    .flag = "`--scheduling-policy priority-aging --aging-ms N`, `--preemption-policy lowest-priority`",
    .test = "`tests/property`",
    .baseline = "first come, first served",
    .workload = "as `priority`",
    .holds = "lossless; the urgent class starts within one iteration; a bound on who may overtake the others",
    .run = run_aging};

}  // namespace sluice::lab
