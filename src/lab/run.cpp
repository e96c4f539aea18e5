#include "lab/run.h"

#include <algorithm>
#include <bit>
#include <thread>

#include "backend/op_table.h"
#include "exec/virtual_arena.h"
#include "sim/replay.h"
#include "sim/sim_executor.h"
#include "weights/tensor_source.h"

namespace sluice::lab {
namespace {

/// When each request was first let in. Sequences come in the order of the trace.
struct Admissions : Observer {
  explicit Admissions(size_t requests) : waited(requests, -1) {}
  void on(const Event& event) override {
    if (event.kind == Event::Kind::arrived) arrivals[event.seq] = {next++, event.at};
    if (event.kind == Event::Kind::forked) arrivals.erase(event.other);
    if (event.kind != Event::Kind::admitted) return;
    const auto it = arrivals.find(event.seq);
    if (it == arrivals.end()) return;
    waited[it->second.first] = event.at - it->second.second;
    arrivals.erase(it);
  }
  std::vector<Nanos> waited;
  std::map<SeqId, std::pair<size_t, Nanos>> arrivals;  // request, when; of those that have not been admitted
  size_t next = 0;
};

Result<Run> run_on(const EngineOptions& options, const Load& load, Executor& executor, const ReplayTime& time,
                   std::span<const RecoveredBlock> recovered = {}) {
  Run run;
  SLUICE_TRY(const auto engine, build_engine(options, executor, time.clock, &run.times));
  engine->recover(recovered);
  double free_share = 0;
  Admissions admissions(load.requests.size());
  engine->observe(&admissions);
  Nanos executed = 0;
  EngineStats before;
  ReplayHooks hooks;
  hooks.output = [&run](size_t request, const Output& out) {
    SampleOutput& sample = run.outputs[{request, out.sample}];
    for (const SampledToken& t : out.prompt) {
      run.scored[request].push_back(t.logprob);
      if (!t.top.empty()) run.likeliest[request].push_back(t.top[0].token);
    }
    for (const SampledToken& t : out.tokens) {
      sample.tokens.push_back(t.token);
      sample.logprob_bits.push_back(std::bit_cast<uint32_t>(t.logprob));
      sample.top.push_back(t.top);
    }
  };
  hooks.stepped = [&] {
    const EngineStats stats = engine->stats();
    run.longest_step = std::max(run.longest_step, run.times.execute - executed);
    executed = run.times.execute;
    run.peak_blocks = std::max(run.peak_blocks, stats.total_blocks - stats.free_blocks - stats.cached_idle_blocks);
    run.peak_running = std::max(run.peak_running, stats.running);
    run.steps.push_back({time.clock.now(), stats.running, stats.waiting, static_cast<int>(stats.step_tokens - before.step_tokens),
                         static_cast<int>(stats.finished_requests - before.finished_requests)});
    before = stats;
    free_share += static_cast<double>(stats.free_blocks + stats.cached_idle_blocks) / stats.total_blocks;
  };
  const std::vector<Nanos> at_once(load.requests.size(), 0);
  run.records = replay(*engine, load.requests, load.arrivals.empty() ? at_once : load.arrivals, time, hooks);
  run.stats = engine->stats();
  run.waited = std::move(admissions.waited);
  run.report = make_report(run.records, {});
  run.mean_free_share = run.stats.steps > 0 ? free_share / static_cast<double>(run.stats.steps) : 1;
  std::string why;
  CHECK(engine->consistent(&why), "the books are wrong: {}", why);
  return run;
}

}  // namespace

double Run::mean_running() const {
  double sum = 0;
  for (const StepRecord& s : steps) sum += s.running;
  return steps.empty() ? 0 : sum / static_cast<double>(steps.size());
}

Result<std::unique_ptr<Bench>> Bench::open(const Setting& setting) {
  SLUICE_TRY(auto source, open_tensor_source(setting.model));
  SLUICE_TRY(const OpTable* table, select_op_table(""));
  std::unique_ptr<Bench> bench(new Bench(setting.threads > 0 ? setting.threads : usable_cores(), *table));
  bench->weights_ = std::make_unique<WeightStore>(std::move(source), bench->ops_);
  SLUICE_TRY(bench->model_, build_model(*bench->weights_, bench->ops_));
  bench->ops_.set_meter(&bench->meter_);
  return bench;
}

Result<Run> Bench::run(const EngineOptions& asked, const Load& load, const KvFormats& kv, const std::string& disk, const KvOffload& offload) {
  EngineOptions with_states = asked;
  with_states.seals_blocks = model_->kv().has(KvGroup::Kind::state);
  const EngineOptions options = fitted(with_states, kv);
  const int open_blocks = most_open_blocks(options.max_num_seqs, options.max_num_batched_tokens, options.block_tokens, options.kv_blocks);
  SLUICE_TRY(auto store, open_kv_store(model_->kv(), kv, {.allocator = options.kv_allocator, .blocks = options.kv_blocks, .block_tokens = options.block_tokens,
                                                          .tile_tokens = kTileTokens, .slots = options.max_num_seqs,
                                                          .max_model_len = options.max_model_len, .offload = offload, .open_blocks = open_blocks}));
  const auto* virtual_kv = dynamic_cast<const VirtualArena*>(store.get());
  const size_t block_bytes = KvArena::block_bytes(model_->kv(), kv, options.block_tokens);
  std::unique_ptr<BlockFile> file;
  if (options.disk_blocks > 0) {
    const BlockFileIdentity identity{1, block_bytes, options.block_tokens};
    SLUICE_TRY(file, BlockFile::open(disk, BlockFile::bytes_for(options.disk_blocks, identity), identity));
  }
  SLUICE_TRY(KvTiers tiers, KvTiers::allocate(options.host_blocks, std::move(file), block_bytes));
  LocalExecutor executor(*model_, ops_, std::move(store), std::move(tiers), retention_of(options));
  RealClock clock;
  const auto sleep_until = [&clock](Nanos t) {
    std::this_thread::sleep_for(std::chrono::nanoseconds(std::max<Nanos>(0, t - clock.now())));
  };
  meter_.reset();
  SLUICE_TRY(Run run, run_on(options, load, executor, {clock, sleep_until}, executor.tiers().recovered()));
  for (const OpMeter::Entry& entry : meter_.entries())
    if (entry.work.op == "attention") run.attention_bytes = entry.work.bytes, run.attention_ns = entry.ns;
  if (virtual_kv != nullptr) run.page_groups = virtual_kv->counts(), run.kv_physical_bytes = virtual_kv->physical_bytes();
  return run;
}

Result<Run> simulate(const EngineOptions& options, const Load& load, const StepCost& cost, const TierCost& tiers) {
  VirtualClock clock;
  SimExecutor executor(cost, clock, tiers);
  EngineOptions with_times = options;
  if (with_times.step_time == nullptr) with_times.step_time = std::make_shared<CostStepTime>(cost);
  return run_on(with_times, load, executor, {clock, [&clock](Nanos t) { clock.advance_to(t); }});
}

EngineOptions fitted(EngineOptions options, const KvFormats& kv) {
  const int tokens = options.kv_blocks * options.block_tokens;
  options.block_tokens = kv.fitting_block(options.block_tokens);
  options.kv_blocks = (tokens + options.block_tokens - 1) / options.block_tokens;
  options.seals_blocks = kv.seals() || options.seals_blocks;
  options.ends_at_blocks = kv.pairs();
  return options;
}

double kv_token_bytes(Model& model, const KvFormats& kv) {
  const int tokens = kv.fitting_block(16);
  return static_cast<double>(KvArena::block_bytes(model.kv(), kv, tokens)) / tokens;
}

EngineOptions engine_options(int context, int tokens) {
  EngineOptions options;
  options.max_model_len = context;
  options.kv_blocks = (tokens + options.block_tokens - 1) / options.block_tokens;
  options.max_waiting = 1 << 24;
  return options;
}

}  // namespace sluice::lab
