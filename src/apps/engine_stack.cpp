#include "apps/engine_stack.h"

#include <algorithm>

#include "apps/catalog_help.h"
#include "apps/kv_sizing.h"
#include "apps/matrix_types.h"
#include "apps/progress.h"
#include "backend/op_table.h"
#include "base/machine.h"
#include "engine/combinations.h"
#include "exec/layered_arena.h"
#include "sched/chunk/catalog.h"
#include "weights/map_ahead.h"
#include "sched/gate/catalog.h"
#include "sched/length/catalog.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/catalog.h"
#include "weights/memory_check.h"
#include "weights/quant_recipe.h"
#include "weights/repacked_source.h"

namespace sluice {
namespace {

/// Flags of llama.cpp and vLLM whose name here is another.
constexpr std::pair<const char*, const char*> kCalledElsewhere[] = {
    {"--ctx-size", "-c, --max-model-len"},
    {"--parallel", "-np, --max-num-seqs"},
    {"--batch-size", "-ub, --max-num-batched-tokens"},
    {"--ubatch-size", "-ub, --max-num-batched-tokens"},
    {"--context-shift", "--kv-retention sink-window"},
    {"--keep", "--kv-retention-sinks, under --kv-retention sink-window"},
    {"--cache-type-k", "--kv-cache-dtype"},
    {"--cache-type-v", "--kv-cache-dtype"},
    {"--gpu-memory-utilization", "--memory-utilization"},
    {"--kv-cache-memory", "--kv-cache-memory-bytes"},
    {"--dtype", "--repack, which encodes the weights in another type"},
    {"--quantization", "--repack, which encodes the weights in another type; files that are quantized say so themselves"},
    {"--jinja", "always so"},
    {"--flash-attn", "always so: attention never holds all of its scores"},
    {"-fa", "always so: attention never holds all of its scores"},
    {"--n-gpu-layers", "nothing: it runs on the CPU"},
    {"--gpu-layers", "nothing: it runs on the CPU"},
    {"-ngl", "nothing: it runs on the CPU"},
    {"--tensor-parallel-size", "--threads, of one machine"},
};

}  // namespace

void declare_scheduling(OptionSet& o, EngineOptions& engine) {
  o.add("--block-size", engine.block_tokens, "tokens per KV block, 1 to 256");
  o.add("--prefix-cache", engine.prefix_cache, catalog_help("how prefixes are found", prefix_cache_catalog()));
  o.add("--kv-allocator", engine.kv_allocator, catalog_help("which blocks a sequence holds", kv_allocator_catalog()));
  o.add("--kv-retention", engine.kv_retention,
        catalog_help("what stays of a sequence that outgrows its share of the KV cache (approximate)", retention_catalog()));
  o.add("--kv-retention-budget", engine.retention.budget_tokens, "most tokens whose KV a sequence holds");
  o.add("--kv-retention-share", engine.retention.prompt_share,
        "in its place: the prompt is computed whole, and from then on a sequence holds this share of it");
  o.add("--kv-retention-sinks", engine.retention.sinks, "of sink-window: the first tokens, which stay (llama.cpp's --keep)");
  o.add("--kv-retention-recent", engine.retention.recent_share,
        "of policies that go by attention: how much of the budget the newest tokens have; 0: the policy's own");
  o.add("--kv-retention-stride", engine.retention.stride_tokens, "tokens let go of at a time; 0: a sixteenth of the budget");
  o.group("Scheduling");
  o.add("-np,--max-num-seqs", engine.max_num_seqs, "most sequences that run at once");
  o.add("-ub,--max-num-batched-tokens", engine.max_num_batched_tokens, "token budget of one step");
  o.add("--scheduling-policy", engine.scheduling_policy, catalog_help("order of the queue", queue_catalog()));
  o.add("--length-predictor", engine.length_predictor,
        catalog_help("how many tokens a request will generate, for the policies that ask", length_predictor_catalog()) + fmt::format("; {} when absent", length_predictor_catalog()[0].name));
  o.add("--client-weights", engine.client_weights,
        "shares of service under vtc, as in alice=2,bob=1; others have 1. A client is an API key (key1, key2, ... in the order of --api-key), or without keys the "
        "request's field user");
  o.add("--aging-ms", engine.aging_ms,
        "the time of aging, of which the scheduling policies speak; 0: the policy's own");
  o.add("--chunk-policy", engine.chunk_policy, catalog_help("how prefill and decode share a step", chunk_catalog()));
  o.add("--long-prefill-token-threshold", engine.long_prefill_token_threshold,
        "most prefill tokens of one sequence in one step; 0: no limit");
  o.add("--chunked-prefill-size", engine.chunked_prefill_size,
        fmt::format("most prefill tokens beside decodes in one step, under stall-free; 0: as many as decodes, at least {}; "
                    "more shortens the time to first token of long prompts and lengthens the gaps between others' tokens",
                    kLeastChunkTokens));
  o.add("--tbt-target-ms", engine.tbt_target_ms,
        "under stall-free, how long a step with decodes may take, so that the time between two tokens is at most that: chunks "
        "are the longest for which the step is predicted to; 0: no target");
  o.add("--forward-tokens", engine.forward_tokens,
        "under split-and-fuse, tokens of every step; 0: where more hardly raise the throughput, as measured");
  o.add("--batching", engine.batching, catalog_help("who may join", batching_catalog()));
  o.add("--kv-tier-policy", engine.kv_tier_policy, catalog_help("what stays in host memory and on disk", tier_policy_catalog()));
  o.add("--kv-restore", engine.kv_restore, catalog_help("what becomes of blocks that a tier has", restore_catalog()));
  o.add("--max-queue-delay-ms", engine.max_queue_delay_ms,
        "under windowed batching, how long the first request of a batch waits for others; 0: a batch is whoever waits");
  o.add("--admission-policy", engine.admission_policy, catalog_help("for whom there is memory", admission_catalog()));
  o.add("--preemption-policy", engine.preemption_policy,
        catalog_help("what gives way when the KV cache is full, or to those that outrank it", preempt_catalog()));
  o.add("--watermark", engine.watermark, "share of the KV cache that admission by watermark leaves free");
  o.add("--max-waiting", engine.max_waiting, "most requests in the queue; one more is refused");
  o.add("--max-waiting-per-client", engine.limits.max_waiting_per_client, "most of them of one client; 0: no limit");
  o.add("--client-token-rate", engine.limits.client_token_rate,
        "tokens per second that one client may ask for by its prompts and max_tokens; more is refused; 0: no limit");
  o.add("--client-token-burst", engine.limits.client_token_burst, "of them, how many at once; 0: those of a minute");
  o.add("--slo-ttft-ms", engine.limits.slo_ttft_ms,
        "refuse requests whose first token is predicted to come later than that; 0: none");
}

void EngineFlags::declare(OptionSet& o) {
  engine.max_model_len = 0;
  for (const auto& [there, here] : kCalledElsewhere) o.called_elsewhere(there, here);
  o.group("Model");
  o.add("-m,--model,model", model, "a .gguf file, or a Hugging Face directory");
  o.add("-t,--threads", threads, "compute threads; 0: the cores that this process may use");
  o.add("--isa", isa, catalog_help("force a kernel table, also by SLUICE_ISA; the best here when absent", op_tables()));
  o.add("--repack", repack,
        catalog_help("encode the weights in this type as they are loaded, as 'sluice convert --type' would (mixtures only of a GGUF file); as the file has "
                     "them when absent",
                     quant_recipes()));
  o.add("--matmul-tuning", matmul_tuning,
        "how products go over their weights, the same bits in any way: auto (as measured here; what is not yet is measured "
        "now, once), cached (as measured before, else the defaults), off (the defaults)");
  o.group("KV cache");
  o.add("-c,--max-model-len", engine.max_model_len,
        "context: most tokens of one sequence; 0: the model's, or what fits");
  o.add("--kv-cache-memory-bytes", kv_cache_memory,
        "size of the KV cache; 0: what full contexts need, within --memory-utilization");
  o.add("--swa-full-tokens-ratio", swa_full_tokens_ratio,
        "of layers that read the last tokens only (sliding windows, recurrent states), how many tokens' KV there is for each token of the others; 1: all of it. Less leaves "
        "room for more tokens, and now and then a prefix is found whose last window is gone: then it is computed again");
  o.add("--kv-page-group-size", kv_page_group,
        "under --kv-allocator virtual: least bytes of one layer's keys that are mapped at once, 4K to 2M");
  o.add("--memory-utilization", memory_utilization,
        "share of the memory that is free at start which weights and KV cache may take");
  o.add("--kv-cache-dtype", kv_cache_dtype,
        fmt::format("auto, {}; or several with their layers, as in f16:0-3,kivi2. auto is as precise as the weights; int8 and fp8 take half of f16, int4 a "
                    "quarter, kivi2 3 bits a value, kvquant3 4.3, kivi4 5, gear4 6.5, and minicache, which merges pairs of layers of the upper half (kivi4,minicache:12-23), "
                    "about 4; all of these are approximate",
                    KvFormats::known_names()));
  o.add("--enable-prefix-caching", enable_prefix_caching, "share the KV of common prefixes between requests");
  offload.declare(o);
  o.add("--cache-reuse", engine.cache_reuse,
        "reuse runs of at least so many tokens that the prefix cache holds at another place, as when the oldest turns of a conversation were cut: their keys are "
        "rotated to where they are now. Approximate: they have seen what was cut. 0: only exact prefixes");
  tiers.declare(o);
  declare_scheduling(o, engine);
}

Status EngineFlags::check() const {
  if (threads < 0 || threads > 1024)
    return invalid_argument(fmt::format("--threads is {}; it must be from 0 to 1024", threads), "--threads");
  if (engine.max_model_len < 0 || engine.max_model_len == 1)
    return invalid_argument(
        fmt::format("--max-model-len is {}; it must be at least 2, or 0 for as many as fit", engine.max_model_len),
        "--max-model-len");
  if (!(memory_utilization > 0 && memory_utilization <= 1))
    return invalid_argument(
        fmt::format("--memory-utilization is {}; it must be above 0 and at most 1", memory_utilization),
        "--memory-utilization");
  if (!repack.empty()) {
    if (auto recipe = find_quant_recipe(repack); !recipe.ok())
      return invalid_argument("--repack: " + recipe.error().message, "--repack");
  }
  if (engine.block_tokens > 256)
    return invalid_argument(fmt::format("--block-size is {}; it must be from 1 to 256", engine.block_tokens), "--block-size");
  if (kv_page_group.bytes < 4 << 10 || kv_page_group.bytes > 2 << 20)
    return invalid_argument(fmt::format("--kv-page-group-size is {}; it must be from 4 KiB to 2 MiB", kv_page_group.bytes), "--kv-page-group-size");
  SLUICE_TRY_STATUS(check_kv_formats(*this));
  SLUICE_TRY([[maybe_unused]] const TuningMode mode, parse_tuning_mode(matmul_tuning));
  SLUICE_TRY_STATUS(tiers.check(engine));
  SLUICE_TRY_STATUS(offload.check(engine));
  if (!(swa_full_tokens_ratio >= 0.01 && swa_full_tokens_ratio <= 1))
    return invalid_argument(fmt::format("--swa-full-tokens-ratio is {}; it must be from 0.01 to 1", swa_full_tokens_ratio), "--swa-full-tokens-ratio");
  return check_scheduling(asked());
}

EngineOptions EngineFlags::asked() const {
  EngineOptions options = engine;
  if (!enable_prefix_caching) options.prefix_cache = "none";
  options.host_blocks = tiers.swap_space.bytes > 0;  // how many is not known yet
  options.disk_blocks = !tiers.kv_disk.empty();
  return options;
}

Result<std::shared_ptr<TensorSource>> open_weights(const EngineFlags& flags, ThreadPool& pool) {
  SLUICE_TRY(auto source, open_tensor_source(flags.model));
  if (flags.repack.empty()) return source;
  SLUICE_TRY(const QuantRecipe* recipe, find_quant_recipe(flags.repack));
  auto repacked = repack_source(std::move(source), *recipe, pool);
  if (!repacked.ok()) return repacked.error().in("--repack " + flags.repack);
  return repacked;
}

Result<std::unique_ptr<EngineStack>> open_engine_stack(const EngineFlags& flags) {
  if (flags.model.empty())
    return invalid_argument("no model given: name a .gguf file or a Hugging Face directory", "--model");
  SLUICE_TRY_STATUS(flags.check());
  auto stack = std::make_unique<EngineStack>();
  stack->clock = std::make_unique<RealClock>();
  stack->pool = std::make_unique<ThreadPool>(flags.threads > 0 ? flags.threads : usable_cores());
  SLUICE_TRY(stack->source, open_weights(flags, *stack->pool));
  if (!flags.repack.empty())
    stack->notes.push_back(fmt::format("weights: encoded as they are loaded (--repack {}); matrices: {}", flags.repack,
                                       matrix_types(stack->source->tensors())));
  SLUICE_TRY(stack->table, select_op_table(flags.isa));
  stack->ops = std::make_unique<Ops>(*stack->table, *stack->pool);
  SLUICE_TRY(stack->matmul_tuning, parse_tuning_mode(flags.matmul_tuning));
  SLUICE_TRY(const ModelPlan plan, plan_model(*stack->source));
  SLUICE_TRY(const KvSizing sizing, size_kv_cache(flags, *stack->source, plan));
  stack->weight_bytes = plan.info.weight_bytes;
  stack->notes.push_back(sizing.note);
  stack->kv_formats = sizing.formats;
  stack->offload = sizing.offload;
  stack->options = flags.engine;
  if (!flags.enable_prefix_caching) stack->options.prefix_cache = "none";
  stack->options.recent = sizing.recent;
  stack->tile_tokens = sizing.tile_tokens;
  stack->open_blocks = sizing.open_blocks;
  stack->options.seals_blocks = sizing.formats.seals() || plan.kv.has(KvGroup::Kind::state);
  stack->options.ends_at_blocks = sizing.formats.pairs();
  stack->options.kv_blocks = sizing.blocks;
  stack->options.block_tokens = sizing.block_tokens;
  stack->options.max_model_len = sizing.max_model_len;
  stack->options.vocab_size = plan.info.vocab_size;
  SLUICE_TRY_STATUS(check_engine_options(stack->options));
  std::string path = fmt::format("{} {} {}", stack->table->isa, sizing.formats.name(), flags.repack);
  if (plan.info.original_positions > 0)  // keys are rotated otherwise on either side of it
    path += sizing.max_model_len > plan.info.original_positions ? " long rope" : " short rope";
  if (sizing.block_tokens != stack->tile_tokens) path += fmt::format(" tiles of {}", stack->tile_tokens);  // in which a block's bytes stand
  SLUICE_TRY(stack->tiers, flags.tiers.open(flags.model, path, sizing.block_bytes, stack->options, stack->notes));
  for (std::string& note : fallbacks(stack->options)) stack->notes.push_back(std::move(note));
  stack->mapper = map_ahead(stack->source);
  return stack;
}

Status EngineStack::load() {
  const PlanChoice plans = choose_plans(*table, *pool, multiplied_types(*source), matmul_tuning, false, [this] {
    if (mapper.joinable()) mapper.join();
  });
  ops->set_plans(with_tuned(*table, plans.tuned));
  notes.insert(notes.begin(), plans.note);
  const Nanos start = clock->now();
  weights = std::make_unique<WeightStore>(source, *ops);
  Progress progress("loading " + source->metadata().origin());
  weights->on_progress([&progress, all = weight_bytes](size_t done) {
    progress.update(static_cast<double>(done), static_cast<double>(all));
  });
  auto built = build_model(*weights, *ops);
  weights->on_progress({});  // before any return: it refers to what lives here
  SLUICE_TRY(model, std::move(built));
  if (std::string note = model->set_context(options.max_model_len); !note.empty()) notes.push_back(std::move(note));
  const size_t mapped = weights->mapped_bytes(), bytes = weights->owned_bytes() + mapped;
  notes.insert(notes.begin(),
               fmt::format("model: {} ({} parameters), weights {}{} in {:.2f} s, {} threads, {}", model->info().arch,
                           model->info().parameters, format_bytes(static_cast<double>(bytes)),
                           mapped > 0 ? " (a native pack, mapped)" : "",
                           static_cast<double>(clock->now() - start) / 1e9, pool->size(), ops->isa()));
  SLUICE_TRY(auto kv, open_kv_store(model->kv(), kv_formats, {.allocator = options.kv_allocator, .blocks = options.kv_blocks, .block_tokens = options.block_tokens,
                                                              .tile_tokens = tile_tokens, .slots = options.max_num_seqs,
                                                              .max_model_len = options.max_model_len, .offload = offload, .open_blocks = open_blocks, .pages = options.recent.pages}));
  if (const auto* layered = dynamic_cast<const LayeredArena*>(kv.get()); layered != nullptr && !layered->asynchronous())
    notes.push_back("offloaded KV: read and written synchronously, so that nothing overlaps (the kernel refuses io_uring)");
  executor = std::make_unique<LocalExecutor>(*model, *ops, std::move(kv), std::move(tiers), retention_of(options));
  return {};
}

Result<std::unique_ptr<EngineStack>> load_engine_stack(const EngineFlags& flags) {
  SLUICE_TRY(auto stack, open_engine_stack(flags));
  SLUICE_TRY_STATUS(stack->load());
  return stack;
}

Result<std::unique_ptr<Engine>> EngineStack::make_engine(Executor* wrapped, const EngineOptions* changed,
                                                         EngineTimes* times) {
  SLUICE_TRY(auto engine, build_engine(changed != nullptr ? *changed : options, wrapped != nullptr ? *wrapped : *executor, *clock, times));
  engine->recover(executor->tiers().recovered());
  return engine;
}

}  // namespace sluice
