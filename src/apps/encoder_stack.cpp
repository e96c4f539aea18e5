#include "apps/encoder_stack.h"

#include <algorithm>

#include "apps/progress.h"
#include "base/machine.h"
#include "weights/memory_check.h"

namespace sluice {
namespace {

constexpr std::pair<std::string_view, Pooling> kPoolings[] = {{"cls", Pooling::cls}, {"mean", Pooling::mean}, {"last", Pooling::last}};

std::string_view words(Pooling pooling) {
  constexpr std::string_view kWords[] = {"of the first token", "the mean of all tokens", "of the last token"};
  return kWords[static_cast<size_t>(pooling)];
}

}  // namespace

void EncoderFlags::declare(OptionSet& o) {
  o.group("Embeddings and reranking");
  o.add("--task", task,
        "auto (what the model's files say), generate, embed (POST /v1/embeddings), or rerank (POST /v1/rerank; of a model without a classifier by its answers \"yes\" "
        "and \"no\", as Qwen3-Reranker)");
  o.add("--pooling", pooling, "what stands for a text: auto (what the model's files say), cls, mean or last");
}

Status EncoderFlags::check() const {
  if (task != "auto" && task != "generate" && task != "embed" && task != "rerank")
    return invalid_argument(fmt::format("--task is '{}'; it must be auto, generate, embed or rerank", task), "--task");
  if (pooling != "auto" && std::ranges::find(kPoolings, pooling, &std::pair<std::string_view, Pooling>::first) == std::end(kPoolings))
    return invalid_argument(fmt::format("--pooling is '{}'; it must be auto, cls, mean or last", pooling), "--pooling");
  return {};
}

Result<std::optional<TextUse>> choose_use(const EncoderFlags& flags, const TensorSource& source) {
  SLUICE_TRY_STATUS(flags.check());
  if (flags.task == "generate") return std::optional<TextUse>();
  SLUICE_TRY(std::optional<TextUse> use, read_text_use(source));
  SLUICE_TRY(const bool generates, generates_text(source));
  const std::string& origin = source.metadata().origin();
  const bool scores = use && use->task == TextUse::Task::score;
  if (flags.task == "embed" && scores)
    return invalid_argument(fmt::format("{}: --task embed, but the model has a classifier, which scores: use --task rerank", origin), "--task");
  if (flags.task == "rerank" && !scores) {
    if (!generates) return invalid_argument(fmt::format("{}: --task rerank, but the model has no classifier, which makes scores", origin), "--task");
    use.emplace();
    use->task = TextUse::Task::score;
    use->pooling = Pooling::last;
    use->answers.emplace();
  }
  if (flags.task == "embed" && !use) {
    use.emplace();
    use->pooling = Pooling::last;  // the only one that has seen all of the text
    use->assumed = flags.pooling == "auto";
  }
  if (flags.pooling == "auto") return use;
  if (!use || use->task == TextUse::Task::score)
    return invalid_argument(fmt::format("{}: --pooling is of embeddings, which this model {}; leave it out{}", origin, use ? "does not make" : "is not asked for",
                                        use ? "" : ", or give --task embed"),
                            "--pooling");
  use->pooling = std::ranges::find(kPoolings, flags.pooling, &std::pair<std::string_view, Pooling>::first)->second;
  use->assumed = false;
  return use;
}

Status resolve_answers(TextUse& use, const Tokenizer& tokenizer) {
  if (!use.answers) return {};
  for (const auto& [word, id] : {std::pair{"yes", &use.answers->yes}, {"no", &use.answers->no}}) {
    const std::optional<TokenId> found = tokenizer.token_id(word);
    if (!found) return unsupported(fmt::format("--task rerank: the tokenizer has no token \"{}\", which this model would have to answer with", word), "--task");
    *id = *found;
  }
  return {};
}

std::string describe(const EncoderInfo& info) {
  if (info.use.task == TextUse::Task::score)
    return fmt::format("scores of a query and a document (POST /v1/rerank){}, of at most {} tokens together", info.use.answers ? ", by its answers \"yes\" and \"no\"" : "",
                       info.max_tokens);
  return fmt::format("embeddings of {} values (POST /v1/embeddings), {}, {}, of texts of at most {} tokens", info.width, words(info.use.pooling),
                     info.use.normalize ? "normalized" : "not normalized", info.max_tokens);
}

Result<std::unique_ptr<EncoderStack>> open_encoder_stack(const EngineFlags& flags, TextUse use) {
  SLUICE_TRY_STATUS(flags.check());
  auto stack = std::make_unique<EncoderStack>();
  stack->pool = std::make_unique<ThreadPool>(flags.threads > 0 ? flags.threads : usable_cores());
  SLUICE_TRY(stack->source, open_weights(flags, *stack->pool));
  SLUICE_TRY(stack->table, select_op_table(flags.isa));
  stack->ops = std::make_unique<Ops>(*stack->table, *stack->pool);
  SLUICE_TRY(stack->matmul_tuning, parse_tuning_mode(flags.matmul_tuning));
  SLUICE_TRY(EncoderInfo info, plan_encoder(*stack->source, use));
  if (flags.engine.max_model_len > info.model.max_positions)
    return invalid_argument(fmt::format("--max-model-len is {}; this model was made for {} positions", flags.engine.max_model_len, info.model.max_positions),
                            "--max-model-len");
  if (flags.engine.max_model_len > 0) info.max_tokens = flags.engine.max_model_len;
  // A pass holds all rows of its texts.
  MemoryLimit limit = memory_limit();
  limit.available_bytes = static_cast<size_t>(flags.memory_utilization * static_cast<double>(limit.available_bytes));
  const auto per_token = static_cast<size_t>(info.bytes_per_token), weights = info.model.weight_bytes;
  const size_t least = per_token * static_cast<size_t>(flags.engine.max_model_len > 0 ? info.max_tokens : std::min<int64_t>(info.max_tokens, 128));
  SLUICE_TRY_STATUS(check_fits(stack->source->metadata().origin(), weights, 0, least, limit));
  const auto fits = static_cast<int64_t>((limit.available_bytes - weights) / per_token);
  if (fits < info.max_tokens) {
    stack->notes.push_back(fmt::format("memory holds the pass of {} tokens; the model's own {} do not fit", fits, info.max_tokens));
    info.max_tokens = fits;
  }
  stack->weight_bytes = weights;
  stack->use = use;
  stack->use.max_tokens = info.max_tokens;
  stack->options.width = info.width;
  stack->options.max_batched_tokens = std::min<int64_t>(flags.engine.max_num_batched_tokens, fits);
  stack->options.max_waiting = flags.engine.max_waiting;
  stack->notes.push_back(fmt::format("use: {}; {} tokens a pass", describe(info), stack->options.max_batched_tokens));
  if (use.assumed)
    stack->notes.push_back(fmt::format("the files do not say what stands for a text: {} is taken (--pooling says otherwise)", words(use.pooling)));
  if (!use.default_prompt.empty())
    stack->notes.push_back(fmt::format("the files name the prompt \"{}\" for every text; texts are taken as they come, so that it is the client's to add", use.default_prompt));
  return stack;
}

Status EncoderStack::load() {
  const PlanChoice plans = choose_plans(*table, *pool, multiplied_types(*source), matmul_tuning, false, [] {});
  ops->set_plans(with_tuned(*table, plans.tuned));
  notes.insert(notes.begin(), plans.note);
  const Nanos start = clock.now();
  weights = std::make_unique<WeightStore>(source, *ops);
  Progress progress("loading " + source->metadata().origin());
  weights->on_progress([&progress, all = weight_bytes](size_t done) { progress.update(static_cast<double>(done), static_cast<double>(all)); });
  auto built = build_encoder(*weights, *ops, use);
  weights->on_progress({});
  SLUICE_TRY(encoder, std::move(built));
  const ModelInfo& info = encoder->info().model;
  notes.insert(notes.begin(), fmt::format("model: {} ({} parameters), weights {} in {:.2f} s, {} threads, {}", info.arch, info.parameters,
                                          format_bytes(static_cast<double>(weights->owned_bytes() + weights->mapped_bytes())),
                                          static_cast<double>(clock.now() - start) / 1e9, pool->size(), ops->isa()));
  return {};
}

std::unique_ptr<EncoderQueue> EncoderStack::make_queue() {
  return std::make_unique<EncoderQueue>(
      [encoder = encoder.get()](std::span<const QueuedText* const> queued, float* out) {
        std::vector<EncoderText> texts;
        for (const QueuedText* text : queued) texts.push_back({text->tokens, text->second});
        return encoder->encode(texts, out);
      },
      options, clock);
}

PairStyle EncoderStack::pair_style(const Tokenizer& tokenizer) const {
  const EncoderInfo& info = encoder->info();
  if (!info.causal) return {.separators = info.pair_separators};
  const auto own = tokenizer.chat_templates().find("rerank");
  return {.prompt = own != tokenizer.chat_templates().end() ? own->second : std::string(kRerankPrompt)};
}

}  // namespace sluice
