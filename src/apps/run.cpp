// sluice run: one prompt, or a chat in the terminal.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/engine_stack.h"
#include "apps/model_text.h"
#include "apps/printable.h"
#include "apps/reply_printer.h"
#include "base/log.h"
#include "sched/sampling_limits.h"
#include "serve/openai/choice.h"
#include "text/self_check/self_check.h"

namespace sluice {
namespace {

struct RunFlags {
  std::string prompt, system, chat_template;
  bool chat = false, stats = true, ignore_eos = false;
  bool reasoning = isatty(STDERR_FILENO) != 0;
  int max_tokens = 256;
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k;
  std::optional<int64_t> seed;
};

/// Puts the flags that were given in place of the model's defaults; they may be what a request's fields may be.
Status apply(const RunFlags& flags, SamplingParams& sampling) {
  struct Number {
    const NumberLimits& limits;
    const std::optional<double>& given;
    float& target;
  };
  for (const Number& n :
       {Number{kTemperatureLimits, flags.temperature, sampling.temperature},
        Number{kTopPLimits, flags.top_p, sampling.top_p}, Number{kMinPLimits, flags.min_p, sampling.min_p},
        Number{kRepetitionPenaltyLimits, flags.repetition_penalty, sampling.repetition_penalty},
        Number{kPresencePenaltyLimits, flags.presence_penalty, sampling.presence_penalty},
        Number{kFrequencyPenaltyLimits, flags.frequency_penalty, sampling.frequency_penalty}}) {
    if (!n.given) continue;
    std::string flag = std::string("--") + n.limits.name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    if (!n.limits.allow(*n.given))
      return invalid_argument(fmt::format("{} is {}; it must be {}", flag, *n.given, n.limits.text()), flag);
    n.target = static_cast<float>(*n.given);
  }
  if (flags.top_k && *flags.top_k < kLowestTopK)
    return invalid_argument(
        fmt::format("--top-k is {}; it must be an integer of at least {}", *flags.top_k, kLowestTopK), "--top-k");
  sampling.top_k = flags.top_k.value_or(sampling.top_k);
  settle_sampling(sampling);
  return {};
}

std::atomic<bool> g_interrupted{false};

/// Generates from prompt tokens and prints as it goes; returns the reply's content.
class Generator {
 public:
  Generator(EngineStack& stack, Engine& engine, const ModelText& text, const GenerationDefaults& defaults,
            const SamplingParams& sampling, const RunFlags& flags)
      : stack_(stack), engine_(engine), text_(text), flags_(flags), sampling_(sampling), eos_(defaults.eos_token_ids) {}

  /// `harmony`: what parts the reply to a chat; null where it is content as it stands.
  Result<std::string> generate(std::vector<TokenId> prompt, bool continues_text,
                               std::shared_ptr<const HarmonyTokens> harmony) {
    Request request;
    request.prompt = std::move(prompt);
    request.sampling = sampling_;
    request.sampling.seed = flags_.seed ? static_cast<uint64_t>(*flags_.seed) : std::random_device{}();
    request.eos_token_ids = eos_;
    request.ignore_eos = flags_.ignore_eos;
    const int room = stack_.options.max_model_len - static_cast<int>(request.prompt.size());
    request.max_tokens = std::max(1, std::min(flags_.max_tokens, room));
    const bool shortened = flags_.max_tokens > room && room > 0;
    const int prompt_tokens = static_cast<int>(request.prompt.size());

    Choice choice(*text_.tokenizer, {.stop = std::make_shared<const StopStrings>(std::vector<std::string>()),
                                     .at_text_start = !continues_text,
                                     .harmony = std::move(harmony)});
    ReplyPrinter printer(flags_.reasoning);
    bool done = false;
    int generated = 0, cached = 0;
    FinishReason finish = FinishReason::none;
    std::string error;
    const Nanos start = stack_.clock->now();
    Nanos first = start;
    SLUICE_TRY(const RequestId id, engine_.add(std::move(request), [&](const Output& out) {
      if (generated == 0 && !out.tokens.empty()) first = stack_.clock->now();
      generated += static_cast<int>(out.tokens.size());
      choice.take(out.tokens, out.finish);
      printer.take(choice);
      cached = out.cached_tokens;
      finish = out.finish;
      error = std::string(out.error);
      done = out.request_done;
    }));
    while (!done) {
      if (g_interrupted.exchange(false)) engine_.cancel(id);
      engine_.step();
    }
    printer.finish();
    if (finish == FinishReason::error) return Error{ErrorCode::internal, error, {}};
    if (flags_.stats) {
      const double prefill_s = static_cast<double>(first - start) / 1e9,
                   decode_s = static_cast<double>(stack_.clock->now() - first) / 1e9;
      std::fputs(
          fmt::format("\n[{} prompt tokens ({} cached) in {:.2f} s, {} generated at {:.1f} tok/s, ended by {}{}]\n",
                      prompt_tokens, cached, prefill_s, generated, generated > 1 ? (generated - 1) / decode_s : 0.0,
                      finish_reason_name(finish),
                      shortened && finish == FinishReason::length ? ": the context is full" : "")
              .c_str(),
          stderr);
    }
    return printer.content();
  }

 private:
  EngineStack& stack_;
  Engine& engine_;
  const ModelText& text_;
  const RunFlags& flags_;
  SamplingParams sampling_;
  std::vector<TokenId> eos_;
};

/// The messages as tokens; the model has a chat template.
Result<std::vector<TokenId>> render(const ModelText& text, const nlohmann::ordered_json& messages) {
  const nlohmann::ordered_json no_tools;
  ChatInputs inputs;
  inputs.messages = &messages;
  inputs.tools = &no_tools;
  const auto spelled = [&](std::optional<TokenId> id) {
    return id ? std::string(text.tokenizer->token_bytes(*id)) : std::string();
  };
  inputs.bos_token = spelled(text.tokenizer->bos());
  inputs.eos_token = spelled(text.tokenizer->eos());
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  inputs.now_local_s = now + local.tm_gmtoff;
  SLUICE_TRY(const RenderedChat rendered, text.chat->render(inputs));
  std::vector<TextSegment> segments;
  for (const RenderedChat::Segment& s : rendered.segments) segments.push_back({s.text, s.trusted});
  return text.tokenizer->encode_segments(segments, false);
}

Result<int> chat_in_terminal(Generator& generator, const ModelText& text, const RunFlags& flags) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  const auto reset = [&] {
    messages = nlohmann::ordered_json::array();
    if (!flags.system.empty()) messages.push_back({{"role", "system"}, {"content", flags.system}});
  };
  reset();
  const auto harmony = find_harmony_tokens(text.chat.get(), *text.tokenizer);
  std::signal(SIGINT, [](int) { g_interrupted = true; });
  std::fputs("Chat; /reset starts anew, /exit or Ctrl-D ends, Ctrl-C stops an answer.\n", stderr);
  for (std::string line;;) {
    std::fputs("\n> ", stderr);
    if (!std::getline(std::cin, line) || line == "/exit") return 0;
    g_interrupted = false;
    if (line == "/reset") {
      reset();
      continue;
    }
    if (line.empty()) continue;
    messages.push_back({{"role", "user"}, {"content", line}});
    SLUICE_TRY(auto prompt, render(text, messages));
    const Result<std::string> answer = generator.generate(std::move(prompt), false, harmony);
    if (!answer.ok()) {
      std::fputs((printable(answer.error().message, true) + "\n").c_str(), stderr);
      messages.erase(messages.size() - 1);
      continue;
    }
    messages.push_back({{"role", "assistant"}, {"content", *answer}});
  }
}

}  // namespace

Result<int> run_main(const std::vector<std::string>& args) {
  EngineFlags engine_flags;
  RunFlags flags;
  OptionSet options("sluice run", "Generates text from a prompt, or, without one on a terminal, chats.");
  options.add("-p,--prompt", flags.prompt, "text to continue; from standard input when absent and no terminal");
  options.add("--chat", flags.chat, "treat the prompt as a user's message: apply the chat template");
  options.add("--system", flags.system, "system message of a chat");
  options.add("--chat-template", flags.chat_template,
              catalog_help("a file, or a built-in template; the model's when absent", builtin_chat_templates()));
  options.add("--reasoning", flags.reasoning,
              "print the reasoning of a reply that has it apart (gpt-oss) to standard error; on by default where that is a terminal");
  options.add("--stats", flags.stats, "print token counts and speed to standard error");
  options.group("Sampling (defaults: the model's generation_config.json)");
  options.add("-n,--max-tokens", flags.max_tokens, "most tokens to generate");
  options.add("--temperature,--temp", flags.temperature, "0 is greedy");
  options.add("--top-k", flags.top_k, "keep the k likeliest; 0: off");
  options.add("--top-p", flags.top_p, "keep the likeliest that make up this mass");
  options.add("--min-p", flags.min_p, "drop tokens below this share of the likeliest");
  options.add("--repetition-penalty", flags.repetition_penalty, "1: off");
  options.add("--presence-penalty", flags.presence_penalty, "0: off");
  options.add("--frequency-penalty", flags.frequency_penalty, "0: off");
  options.add("-s,--seed", flags.seed, "of the random numbers; a fresh one when absent");
  options.add("--ignore-eos", flags.ignore_eos, "go on after the end of text");
  engine_flags.declare(options);
  engine_flags.engine.max_num_seqs = 4;
  engine_flags.matmul_tuning = "cached";  // the first token is not to wait for a measurement
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  set_log_level("warn");
  if (flags.max_tokens < 1)
    return invalid_argument(fmt::format("--max-tokens is {}; it must be at least 1", flags.max_tokens), "--max-tokens");
  SamplingParams sampling;
  SLUICE_TRY_STATUS(apply(flags, sampling));  // before the model is loaded, to refuse early

  SLUICE_TRY(const auto stack, open_engine_stack(engine_flags));
  SLUICE_TRY(const ModelText text, load_model_text(engine_flags.model, *stack->source, flags.chat_template));
  const bool in_terminal = !options.given("prompt") && isatty(0);
  if ((in_terminal || flags.chat) && text.chat == nullptr)
    return invalid_argument(
        "this model has no chat template; give a prompt (-p TEXT) to have it continued, or name a template "
        "(--chat-template chatml)");
  if (const std::string odd = text_oddities(*text.tokenizer, text.chat.get()); !odd.empty())
    log_warn("text: self-check: {}", odd);
  SLUICE_TRY(const GenerationDefaults defaults, load_generation_defaults(engine_flags.model, *text.tokenizer));
  sampling = defaults.sampling;
  SLUICE_TRY_STATUS(apply(flags, sampling));
  SLUICE_TRY_STATUS(stack->load());
  SLUICE_TRY(const auto engine, stack->make_engine());
  Generator generator(*stack, *engine, text, defaults, sampling, flags);
  if (in_terminal) return chat_in_terminal(generator, text, flags);
  if (!options.given("prompt")) flags.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});

  std::vector<TokenId> prompt;
  if (flags.chat) {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    if (!flags.system.empty()) messages.push_back({{"role", "system"}, {"content", flags.system}});
    messages.push_back({{"role", "user"}, {"content", flags.prompt}});
    SLUICE_TRY(prompt, render(text, messages));
  } else {
    prompt = text.tokenizer->encode(flags.prompt);
    if (prompt.empty()) return invalid_argument("the prompt is empty, and this model has no token that starts a text");
    std::fputs(flags.prompt.c_str(), stdout);
  }
  SLUICE_TRY([[maybe_unused]] const std::string generated,
             generator.generate(std::move(prompt), !flags.chat && !flags.prompt.empty(),
                                flags.chat ? find_harmony_tokens(text.chat.get(), *text.tokenizer) : nullptr));
  std::fputs("\n", stdout);
  return 0;
}

}  // namespace sluice
