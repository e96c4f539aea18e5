// sluice serve: the model over the OpenAI API, until SIGINT or SIGTERM.

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <semaphore>
#include <thread>

#include "apps/catalog_help.h"
#include "apps/command.h"
#include "apps/encoder_stack.h"
#include "apps/engine_stack.h"
#include "apps/model_text.h"
#include "apps/schema_flags.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "serve/openai/api_server.h"
#include "text/self_check/self_check.h"

namespace sluice {
namespace {

struct ServeFlags {
  std::string host = "127.0.0.1", chat_template, log_level = "info", cors_origin;
  int port = 8000, max_connections = 1024;
  std::vector<std::string> api_keys, served_names;
  ByteSize max_body{16 << 20};
  double request_timeout_s = 0, health_timeout_s = 60, drain_timeout_s = 30;
  bool show_config = false, self_check = true;
};

Status check(const ServeFlags& flags) {
  constexpr double kMaxSeconds = 1e9;
  struct Range {
    const char* flag;
    double value, low, high;
  };
  const Range ranges[] = {
      {"--port", double(flags.port), 0, 65535},
      {"--max-body-size", double(flags.max_body.bytes), 1, double(int64_t{1} << 40)},
      {"--max-connections", double(flags.max_connections), 1, 1 << 20},
      {"--request-timeout", flags.request_timeout_s, 0, kMaxSeconds},
      {"--health-timeout", flags.health_timeout_s, 0.001, kMaxSeconds},
      {"--drain-timeout", flags.drain_timeout_s, 0, kMaxSeconds},
  };
  for (const Range& r : ranges)
    if (!(r.value >= r.low && r.value <= r.high))  // NaN is in no range
      return invalid_argument(fmt::format("{} is {}; it must be from {} to {}", r.flag, r.value, r.low, r.high));
  if (std::ranges::count(flags.api_keys, "") > 0)
    return invalid_argument(
        "--api-key holds an empty key; a key has at least one character, and none at all asks for none");
  return {};
}

Nanos seconds(double s) { return static_cast<Nanos>(s * 1e9); }

/// SIGINT and SIGTERM, taken from every thread that is made later. Until serving() either ends the process at once,
/// since there is nothing to drain; then the first is what wait() returns, and a second ends the process.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    thread_ = std::thread([this] { run(); });
  }
  ~StopSignals() {
    leaving_ = true;
    pthread_kill(thread_.native_handle(), SIGTERM);  // out of sigwait
    thread_.join();
  }
  void serving() { serving_ = true; }
  int wait() {
    came_.acquire();
    return first_;
  }
  static const char* name(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

 private:
  void run() {
    while (true) {
      int signal = 0;
      sigwait(&set_, &signal);
      if (leaving_) return;
      if (!serving_ || first_ != 0) {
        log_info("{}: stopping at once", name(signal));
        std::_Exit(128 + signal);  // as a shell reports a process that a signal ended
      }
      first_ = signal;
      came_.release();
    }
  }

  sigset_t set_;
  std::atomic<bool> serving_{false}, leaving_{false};
  std::atomic<int> first_{0};
  std::binary_semaphore came_{0};
  std::thread thread_;
};

std::vector<std::string> served_names(const ServeFlags& flags, const std::string& model) {
  if (!flags.served_names.empty()) return flags.served_names;
  std::filesystem::path path = std::filesystem::absolute(model).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return {is_directory(model) ? path.filename().string() : path.stem().string()};
}

/// What both kinds of serving end with: a signal, a drain, and the end of the loop.
void serve_until_signal(StopSignals& signals, ApiServer& server, const ServeFlags& flags, std::jthread& loop) {
  const int signal = signals.wait();
  log_info("{}: draining, at most {} s", StopSignals::name(signal), flags.drain_timeout_s);
  const bool drained = server.drain(std::chrono::milliseconds(static_cast<int64_t>(flags.drain_timeout_s * 1000)));
  if (!drained) log_warn("some requests had not ended and are cut off");
  loop.request_stop();
  loop.join();
}

/// What a model that reads texts whole has a use for: it has neither a KV cache nor a template, and its texts wait in one queue.
constexpr std::string_view kEncoderFlags[] = {
    "model", "threads", "isa", "repack", "matmul-tuning", "max-model-len", "memory-utilization", "max-num-batched-tokens", "max-waiting", "task", "pooling",
    "host", "port", "served-model-name", "api-key", "max-body-size", "max-connections", "request-timeout", "health-timeout", "drain-timeout", "cors-origin",
    "log-level"};

/// "--chat-template, --block-size": those of the given flags that are of no use to it; empty where all are.
std::string useless_to_encoders(const OptionSet& options) {
  std::string list;
  for (const std::string& name : options.given())
    if (std::ranges::find(kEncoderFlags, name) == std::end(kEncoderFlags)) list += (list.empty() ? "--" : ", --") + name;
  return list;
}

Result<int> serve_encoder(const ServeFlags& flags, const EngineFlags& engine_flags, TextUse use, const ApiOptions& api, StopSignals& signals,
                          const std::string& useless) {
  const RealClock clock;
  const Nanos begin = clock.now();
  SLUICE_TRY(const auto source, open_tensor_source(engine_flags.model));
  SLUICE_TRY(const ModelText text, load_model_text(engine_flags.model, *source, {}));
  SLUICE_TRY_STATUS(resolve_answers(use, *text.tokenizer));
  SLUICE_TRY(const auto stack, open_encoder_stack(engine_flags, use));
  std::unique_ptr<EncoderQueue> queue;  // outlives the server
  SLUICE_TRY(auto server, ApiServer::start(api));
  log_info("listening on http://{}:{}; reading the weights", flags.host, server->port());
  SLUICE_TRY_STATUS(stack->load());
  queue = stack->make_queue();
  for (const std::string& note : stack->notes) log_info("{}", note);
  if (!useless.empty()) log_warn("not used: {}; this model reads texts whole, without a KV cache, a chat template and a schedule", useless);
  const EncoderInfo& info = stack->encoder->info();
  const std::string odd = text_oddities(*text.tokenizer, nullptr);
  log_info("text: {} tokens; self-check: {}", text.tokenizer->vocab_size(), odd.empty() ? "nothing odd" : odd);
  const std::vector<std::string> names = served_names(flags, engine_flags.model);
  signals.serving();
  ModelIdentity identity{*text.tokenizer, stack->clock, names, engine_flags.model, std::time(nullptr)};
  EncoderContext context{.identity = std::move(identity), .queue = *queue};
  context.max_tokens = static_cast<int>(info.max_tokens);
  context.vocab_size = info.model.vocab_size;
  context.scores = info.use.task == TextUse::Task::score;
  context.normalized = info.use.normalize;
  context.pair = stack->pair_style(*text.tokenizer);
  server->set_ready(std::move(context));
  std::jthread loop([&](std::stop_token stop) { queue->run(stop); });
  log_info("ready in {:.2f} s: {} at http://{}:{}/v1", static_cast<double>(clock.now() - begin) / 1e9, names[0], flags.host, server->port());
  serve_until_signal(signals, *server, flags, loop);
  server.reset();
  return 0;
}

}  // namespace

Result<int> serve_main(const std::vector<std::string>& args) {
  EngineFlags engine_flags;
  ServeFlags flags;
  OptionSet options(
      "sluice serve",
      "Serves a model over the OpenAI API: /v1/completions, /v1/chat/completions, /v1/models, /tokenize, /detokenize,\n"
      "/health, /version and /metrics; embedding models: /v1/embeddings; rerankers: /v1/rerank.");
  SchemaFlags schema_flags;
  EncoderFlags encoder_flags;
  engine_flags.declare(options);
  encoder_flags.declare(options);
  options.group("Prompts");
  schema_flags.declare(options);
  options.group("Server");
  options.add("--host", flags.host, "address to listen on");
  options.add("--port", flags.port, "port; 0 takes a free one and prints it");
  for (const char* of_requests : {"--temp", "--temperature", "--top-k", "--top-p", "--min-p", "--seed", "--n-predict", "--repeat-penalty"})
    options.called_elsewhere(of_requests, "for each request to say, with defaults from the model's generation_config.json");
  constexpr std::pair<const char*, const char*> kOfServers[] = {{"--alias", "--served-model-name"}, {"--embedding", "--task embed"}, {"--embeddings", "--task embed"},
                                                                {"--rerank", "--task rerank"}, {"--reranking", "--task rerank"}, {"--chat-template-file", "--chat-template"}};
  for (const auto& [there, here] : kOfServers) options.called_elsewhere(there, here);
  options.add("--served-model-name", flags.served_names,
              "names that clients may use; the first is reported. Default: the file's");
  options.add("--api-key", flags.api_keys, "keys of which clients must send one as a bearer token");
  options.add("--chat-template", flags.chat_template,
              catalog_help("a file, or a built-in template; the model's when absent", builtin_chat_templates()));
  options.add("--max-body-size", flags.max_body, "most bytes of a request");
  options.add("--max-connections", flags.max_connections, "most open connections");
  options.add("--request-timeout", flags.request_timeout_s, "seconds that one request may take; 0: no limit");
  options.add("--health-timeout", flags.health_timeout_s,
              "/health is 503 after so many seconds of work without a step");
  options.add("--drain-timeout", flags.drain_timeout_s, "seconds that running requests get after SIGTERM");
  options.add("--cors-origin", flags.cors_origin, "Access-Control-Allow-Origin; empty: no CORS");
  options.add("--log-level", flags.log_level, "debug, info, warn, error or off");
  options.add("--show-config", flags.show_config,
              "print every flag, its value and where it came from, after the checks that need no model, and stop");
  SLUICE_TRY(const auto outcome, options.parse(args));
  if (outcome == OptionSet::Outcome::done) return 0;
  if (!set_log_level(flags.log_level))
    return invalid_argument(fmt::format("--log-level '{}' is none of debug, info, warn, error, off", flags.log_level));
  SLUICE_TRY_STATUS(check(flags));
  engine_flags.engine.segment_cache = schema_flags.any();
  SLUICE_TRY(const std::vector<PromptSchema> schemas, schema_flags.read());
  SLUICE_TRY_STATUS(engine_flags.check());
  SLUICE_TRY_STATUS(encoder_flags.check());
  if (flags.show_config) {  // only what would run
    SLUICE_TRY([[maybe_unused]] const OpTable* table, select_op_table(engine_flags.isa));
    std::fputs(options.show().c_str(), stdout);
    return 0;
  }
  if (engine_flags.model.empty())
    return invalid_argument("no model given: name a .gguf file or a Hugging Face directory");

  const RealClock clock;
  const Nanos begin = clock.now();
  StopSignals signals;
  ApiOptions api;
  api.host = flags.host;
  api.port = flags.port;
  api.api_keys = flags.api_keys;
  api.cors_origin = flags.cors_origin;
  api.request_timeout = std::chrono::nanoseconds(seconds(flags.request_timeout_s));
  api.health_timeout = std::chrono::nanoseconds(seconds(flags.health_timeout_s));
  api.version = SLUICE_VERSION;
  api.http.max_body_bytes = static_cast<size_t>(flags.max_body.bytes);
  api.http.max_connections = flags.max_connections;
  api.intake = {engine_flags.engine.max_waiting, 4 * api.http.max_body_bytes};
  // What can be refused is refused before anybody is let in; while the weights are read, the server listens already.
  log_info("loading {}", engine_flags.model);
  {
    SLUICE_TRY(const auto source, open_tensor_source(engine_flags.model));
    SLUICE_TRY(const std::optional<TextUse> use, choose_use(encoder_flags, *source));
    if (use) return serve_encoder(flags, engine_flags, *use, api, signals, useless_to_encoders(options));
  }
  SLUICE_TRY(const auto stack, open_engine_stack(engine_flags));
  SLUICE_TRY(const ModelText text, load_model_text(engine_flags.model, *stack->source, flags.chat_template));
  SLUICE_TRY(const GenerationDefaults defaults, load_generation_defaults(engine_flags.model, *text.tokenizer));
  ModularPrompts modular{{}, schema_flags.chunks};
  for (const PromptSchema& schema : schemas) {
    modular.schemas.push_back(lay_out(schema, *text.tokenizer));
    const PromptLayout& layout = modular.schemas.back();
    log_info("prompt schema {}: {} modules, {} positions ({}); each is computed when it is first used", layout.name, layout.modules.size(), layout.positions,
             schema.origin);
    if (layout.positions >= stack->options.max_model_len)
      return invalid_argument(fmt::format("{}: the schema takes {} positions, but the context holds {} (--max-model-len)", schema.origin, layout.positions,
                                          stack->options.max_model_len), "--prompt-schema");
  }
  if (schema_flags.any()) log_info("KV of modules and chunks is reused behind tokens that it has not seen: such answers are approximate");
  std::unique_ptr<Engine> engine;  // outlives the server
  SLUICE_TRY(auto server, ApiServer::start(api));
  log_info("listening on http://{}:{}; reading the weights", flags.host, server->port());
  SLUICE_TRY_STATUS(stack->load());
  SLUICE_TRY(engine, stack->make_engine());
  for (const std::string& note : stack->notes) log_info("{}", note);
  const std::string odd = text_oddities(*text.tokenizer, text.chat.get());
  log_info("text: {} tokens, chat template: {}; self-check: {}", text.tokenizer->vocab_size(),
           text.chat ? text.chat_origin : "none", odd.empty() ? "nothing odd" : odd);
  if (text.tokenizer->vocab_size() > stack->model->info().vocab_size)
    log_warn("the tokenizer has {} tokens, the model {}: the ids above are refused", text.tokenizer->vocab_size(),
             stack->model->info().vocab_size);
  const EngineOptions& o = stack->options;
  log_info("scheduling: {}, {}, {}, prefix cache {}, at most {} sequences and {} tokens a step", o.scheduling_policy,
           o.chunk_policy, o.batching, retention_of(o)->evicts() ? "none" : o.prefix_cache, o.max_num_seqs, o.max_num_batched_tokens);

  const std::vector<std::string> names = served_names(flags, engine_flags.model);
  signals.serving();
  server->set_ready(ApiContext{.engine = *engine,
                     .tokenizer = *text.tokenizer,
                     .chat_template = text.chat.get(),
                     .tool_template = text.tool_chat.get(),
                     .clock = *stack->clock,
                     .served_names = names,
                     .root = engine_flags.model,
                     .created = std::time(nullptr),
                     .default_sampling = defaults.sampling,
                     .default_max_tokens = defaults.max_tokens,
                     .eos_token_ids = defaults.eos_token_ids,
                     .salt = stack->kv_formats.salt(),
                     .modular = std::move(modular)});
  std::jthread loop([&](std::stop_token stop) { engine->run(stop); });
  log_info("ready in {:.2f} s: {} at http://{}:{}/v1", static_cast<double>(clock.now() - begin) / 1e9, names[0],
           flags.host, server->port());

  serve_until_signal(signals, *server, flags, loop);
  server.reset();
  return 0;
}

}  // namespace sluice
