#include <algorithm>
#include <numeric>

#include "exec/layered_arena.h"
#include "lab/workloads.h"
#include "weights/convert.h"
#include "weights/gguf_writer.h"
#include "weights/quant_recipe.h"

namespace sluice::lab {
namespace {

constexpr int kSequences = 4;

double mib(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }
/// Of steps that compute a prompt, or of those that only decode: ms from one's end to the next one's.
double step_ms(const Run& run, bool prompts) {
  double sum = 0;
  int n = 0;
  for (size_t i = 1; i < run.steps.size(); ++i) {
    if ((run.steps[i].tokens > kSequences) != prompts) continue;
    sum += static_cast<double>(run.steps[i].at - run.steps[i - 1].at) / 1e6;
    ++n;
  }
  return sum / std::max(1, n);
}
double stall_ms(const Run& run) { return static_cast<double>(run.stats.offload.stall_ns) / 1e6 / static_cast<double>(run.stats.steps); }

/// The setting's model, or where that has hardly more layers than windows are kept, random weights of twelve.
Result<std::unique_ptr<Bench>> open_deep(Setting setting) {
  SLUICE_TRY(auto bench, Bench::open(setting));
  if (bench->model().info().layers >= 5) return bench;
  SLUICE_TRY(const QuantRecipe* recipe, find_quant_recipe("f32"));
  SLUICE_TRY(const GgufPlan plan, plan_random("tiny-llama-deep", 1, *recipe));
  setting.model = setting.scratch + "/deep.gguf";
  ThreadPool pool(1);
  SLUICE_TRY([[maybe_unused]] const size_t bytes, write_gguf(setting.model, plan, pool));
  return Bench::open(setting);
}

Result<Finding> run_kv_offload(const Setting& setting) {
  SLUICE_TRY(const auto bench, open_deep(setting));
  const KvSpec& spec = bench->model().kv();
  const int layers = bench->model().info().layers;
  Finding f;
  // The pool is what the sequences fill: of a larger one the resident blocks would be enough.
  const int n = kSequences, prompt = std::min(bench->max_positions() - 64, setting.quick ? 800 : 3000) / 16 * 16, output = setting.quick ? 24 : 64;
  Rng rng(7);
  Load load;
  for (int i = 0; i < n; ++i) load.requests.push_back(forced_request(random_tokens(rng, bench->vocab(), prompt), output, static_cast<uint64_t>(i)));
  EngineOptions options = engine_options(prompt + output, n * (prompt + output + 16));
  options.prefix_cache = "none";
  options.max_num_seqs = n;
  options.max_num_batched_tokens = 512;
  options.chunk_policy = "prefill-first";  // so that all of them decode together
  KvOffload offload;
  offload.layers.resize(static_cast<size_t>(layers));
  std::iota(offload.layers.begin(), offload.layers.end(), 0);
  offload.path = setting.scratch;
  const size_t all = KvArena::block_bytes(spec, kKvF32, options.block_tokens) * static_cast<size_t>(options.kv_blocks);
  const auto memory = [&](double share, int depth) {
    KvStoreOptions store{.blocks = options.kv_blocks, .block_tokens = options.block_tokens, .offload = offload};
    store.offload.share = share, store.offload.depth = depth;
    return LayeredArena::memory_bytes(spec, kKvF32, store);
  };
  const auto serve = [&](double share, int depth) {
    KvOffload to = offload;
    to.share = share, to.depth = depth;
    return bench->run(options, load, kKvF32, {}, to);
  };
  SLUICE_TRY(const Run in_memory, bench->run(options, load));
  SLUICE_TRY(const Run when_needed, serve(1, 0));
  SLUICE_TRY(const Run ahead, serve(1, 1));
  SLUICE_TRY(const Run further, serve(1, 2));
  std::string why;
  bool same = same_outputs(in_memory, when_needed, &why);
  f.must("equal bits when all layers are offloaded and read when needed", same, why);
  same = same_outputs(in_memory, ahead, &why);
  f.must("equal bits one layer ahead", same, why);
  same = same_outputs(in_memory, further, &why);
  f.must("equal bits two layers ahead", same, why);

  // The share (O8): from a quarter of every layer's blocks to all.
  size_t memory_before = all, read_before = 0;
  std::vector<Run> parts;
  for (const double share : {0.25, 0.5, 0.75}) {
    SLUICE_TRY(Run part, serve(share, 1));
    same = same_outputs(in_memory, part, &why);
    f.must(fmt::format("equal bits with {}% of the blocks offloaded", 100 * share), same, why);
    f.must(fmt::format("less memory at {}% than at the share before, and more is read", 100 * share),
           memory(share, 1) < memory_before && part.stats.offload.read_bytes > read_before,
           fmt::format("{:.2f} MiB after {:.2f}, {:.1f} MiB read after {:.1f}", mib(memory(share, 1)), mib(memory_before), mib(part.stats.offload.read_bytes), mib(read_before)));
    memory_before = memory(share, 1), read_before = part.stats.offload.read_bytes;
    parts.push_back(std::move(part));
  }
  f.must("least memory where all is offloaded, and most is read", memory(1, 1) < memory_before && ahead.stats.offload.read_bytes > read_before,
         fmt::format("{:.2f} MiB after {:.2f}", mib(memory(1, 1)), mib(memory_before)));
  f.must("reading further ahead reads no more", ahead.stats.offload.read_bytes == when_needed.stats.offload.read_bytes &&
                                                    further.stats.offload.read_bytes == when_needed.stats.offload.read_bytes);

  f.effect = {fmt::format("memory of {} tokens of KV, {} layers", options.kv_blocks * options.block_tokens, layers), "MiB", mib(all), mib(memory(1, 1)), Better::lower, false};
  f.count("MiB read", 0, mib(ahead.stats.offload.read_bytes));
  f.count("MiB written back", 0, mib(ahead.stats.offload.written_bytes));
  for (const bool prompts : {true, false}) {
    const std::string steps = prompts ? "ms a step that computes prompts (timed)" : "ms a step that decodes (timed)";
    const double computing = step_ms(in_memory, prompts), apart = step_ms(when_needed, prompts);
    f.count(steps + ": in memory, read when needed", computing, apart);
    f.count(steps + ": the longer of computing and reading, one layer ahead", std::max(computing, apart - computing), step_ms(ahead, prompts));
    f.count(steps + ": a quarter offloaded, a half", step_ms(parts[0], prompts), step_ms(parts[1], prompts));
  }
  f.count("ms a step that waits for the file (timed): read when needed, one layer ahead", stall_ms(when_needed), stall_ms(ahead));
  f.count("the same: two layers ahead", stall_ms(when_needed), stall_ms(further));
  return f;
}

}  // namespace

extern const Experiment kKvOffload;
const Experiment kKvOffload = {
    .name = "kv-offload",
    .ids = "O7 O8",
    .group = "kv",
    .technique = "Layer-wise and model-wise KV offload, with read-ahead and asynchronous write-back",
    .paper = "Sheng et al., FlexGen, ICML 2023; Lee et al., InfiniGen, OSDI 2024",
    .file = "src/exec/layered_arena.h",
    .flag = "`--kv-offload-layers`, `--kv-offload-share`, `--kv-offload-path`, `--kv-offload-depth`",
    .test = "`tests/exactness`, `src/exec/layered_arena_test.cpp` (failing devices, random tables)",
    .baseline = "all KV in memory",
    .workload = "random weights of 12 layers where the model has fewer than 5; 4 sequences of 800 tokens that decode 24; all layers offloaded; shares of 25 to 100%",
    .holds = "lossless: equal bits at every share and depth; memory falls with the share",
    .run = run_kv_offload};

}  // namespace sluice::lab
