#pragma once
// A whole server around a real engine and a toy model: the next token is a hash of the prefix, so that what a request
// yields depends on its tokens and its sample alone. The model can be held between steps.

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/engine.h"
#include "sched/chunk/catalog.h"
#include "sched/gate/catalog.h"
#include "sched/branch_by_request.h"
#include "sched/preempt/catalog.h"
#include "sched/queue/catalog.h"
#include "serve/openai/api_server.h"
#include "tests/support/http_client.h"
#include "text/chat/chat_template.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice::test {

inline constexpr TokenId kFirstPlainToken = 259;  // of tok512: after the control tokens and the bytes

class ToyExecutor final : public Executor {
 public:
  /// `script`: what every sequence says before it goes on with hashes.
  explicit ToyExecutor(int vocab, std::vector<TokenId> script = {}) : vocab_(vocab), script_(std::move(script)) {}

  Ticket submit(const StepPlan& plan) override {
    std::unique_lock lock(mutex_);
    released_.wait(lock, [&] { return !held_ || credit_ > 0 || closing_; });
    if (held_ && credit_ > 0) --credit_;
    result_.items.clear();
    for (const PlanItem& item : plan.items) {
      clients_.insert(item.request->client);
      ItemResult done{item.seq, item.samples, {}};
      if (item.samples) done.token = next(item);
      for (int k = 1; k <= item.n_scored; ++k) done.prompt.push_back(score(item, item.first_pos + k));
      result_.items.push_back(std::move(done));
    }
    return ++ticket_;
  }
  std::optional<StepResult> poll(Ticket) override { return result_; }

  /// No step is done from now on, but for those that allow() grants.
  void hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
    credit_ = 0;
  }
  void allow(int steps) {
    std::lock_guard lock(mutex_);
    credit_ += steps;
    released_.notify_all();
  }
  void release() {
    std::lock_guard lock(mutex_);
    held_ = false;
    released_.notify_all();
  }
  /// Whose requests have run.
  std::set<std::string> clients() {
    std::lock_guard lock(mutex_);
    return clients_;
  }
  void close() {
    std::lock_guard lock(mutex_);
    closing_ = true;
    released_.notify_all();
  }

  /// What the toy says of a prompt's token: its place, in eighths.
  static float prompt_logprob(int position) { return -0.125f * static_cast<float>(position); }

 private:
  static SampledToken score(const PlanItem& item, int position) {
    SampledToken token{item.request->prompt[position], prompt_logprob(position), {}};
    for (int i = 0; i < item.request->prompt_logprobs; ++i)
      token.top.push_back({kFirstPlainToken + position + i, prompt_logprob(position) - 0.25f * static_cast<float>(i)});
    return token;
  }
  SampledToken next(const PlanItem& item) const {
    uint64_t h = 1469598103934665603ull + static_cast<uint64_t>(item.sample);
    if (item.request->sampling.temperature > 0) h ^= item.request->sampling.seed * 0x9e3779b97f4a7c15ull;
    for (const TokenId t : item.tokens) h = (h ^ static_cast<uint64_t>(t)) * 1099511628211ull;
    h ^= h >> 29;
    SampledToken token;
    token.token = kFirstPlainToken + static_cast<TokenId>(h % static_cast<uint64_t>(vocab_ - kFirstPlainToken));
    if (const size_t said = item.tokens.size() - item.request->prompt.size(); said < script_.size())
      token.token = script_[said];
    token.logprob = -0.25f - static_cast<float>(h % 8);
    for (int i = 0; i < item.request->sampling.logprobs; ++i)
      token.top.push_back(
          {static_cast<TokenId>(kFirstPlainToken + (token.token + i) % 250), -0.25f - static_cast<float>(i)});
    return token;
  }

  const int vocab_;
  const std::vector<TokenId> script_;
  std::mutex mutex_;
  std::condition_variable released_;
  std::set<std::string> clients_;
  bool held_ = false, closing_ = false;
  int credit_ = 0;
  StepResult result_;
  Ticket ticket_ = 0;
};

struct ToyServerOptions {
  ApiOptions api;
  int kv_blocks = 512, block_tokens = 4, max_model_len = 256, max_num_seqs = 64, max_waiting = 128;
  std::string queue = "fcfs";
  RequestLimits limits = {};
  bool ready = true;
  std::string tokenizer_dir = SLUICE_SOURCE_DIR "/tests/data/tokenizers/tok512";
  std::vector<TokenId> script;
  std::string chat_template =
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
      "{% if add_generation_prompt %}assistant:{% endif %}";  // empty: none
};

class ToyServer {
 public:
  explicit ToyServer(ToyServerOptions o = {}) : options(std::move(o)) {
    auto loaded = load_tokenizer_directory(options.tokenizer_dir);
    CHECK(loaded.ok(), "{}", loaded.error().message);
    tokenizer = std::move(*loaded);
    executor = std::make_unique<ToyExecutor>(tokenizer->vocab_size(), options.script);
    auto pool = std::make_unique<BlockPool>(options.kv_blocks, options.block_tokens);
    auto cache = prefix_cache_catalog()[0].make(*pool);
    SchedulerPolicies policies;
    const auto queue = std::ranges::find(queue_catalog(), options.queue, &QueuePolicyEntry::name);
    policies.queue = queue->make({.aging = queue->aging, .cache = cache.get()});
    policies.chunk = chunk_catalog()[0].make({256, 0});
    policies.gates = make_gates(batching_catalog()[0], admission_catalog()[0], {});
    policies.preempt = preempt_catalog()[0].make(*policies.queue);
    policies.allocator = kv_allocator_catalog()[0].make({options.block_tokens, options.max_model_len});
    policies.branching = std::make_unique<BranchByRequest>(options.max_model_len);
    EngineConfig config;
    config.scheduler = {options.max_num_seqs, 256, options.max_model_len};
    config.kv_blocks = options.kv_blocks;
    config.block_tokens = options.block_tokens;
    config.vocab_size = tokenizer->vocab_size();
    config.max_waiting = options.max_waiting;
    config.limits = options.limits;
    config.reads_priority = queue->reads_priority;
    engine = std::make_unique<Engine>(config, std::move(pool), std::move(cache), std::move(policies), *executor, clock);
    if (!options.chat_template.empty()) {
      auto parsed = ChatTemplate::parse(options.chat_template, "toy");
      CHECK(parsed.ok(), "{}", parsed.error().message);
      chat_template = std::move(*parsed);
    }
    options.api.port = 0;
    auto started = ApiServer::start(options.api);
    CHECK(started.ok(), "{}", started.error().message);
    api = std::move(*started);
    if (options.ready) make_ready();
  }
  ~ToyServer() {
    executor->close();
    loop.request_stop();
    if (loop.joinable()) loop.join();
    api.reset();
  }

  void make_ready() {
    ApiContext context{.engine = *engine, .tokenizer = *tokenizer, .clock = clock};
    context.chat_template = chat_template.get();
    context.served_names = {"toy", "org/alias"};
    context.root = "/models/toy";
    context.created = 1234;
    context.default_sampling.temperature = 0;
    api->set_ready(context);
    loop = std::jthread([this](std::stop_token stop) { engine->run(stop); });
  }
  int port() const { return api->port(); }
  /// One call on a connection of its own.
  HttpAnswer call(std::string_view method, std::string_view path, std::string_view body = {},
                  std::string_view headers = {}) {
    HttpClient client(port());
    return client.call(method, path, body, headers);
  }
  template <class Condition>
  ::testing::AssertionResult eventually(Condition condition) {
    for (int i = 0; i < 4000; ++i) {
      if (condition(engine->stats())) return ::testing::AssertionSuccess();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const EngineStats s = engine->stats();
    return ::testing::AssertionFailure() << "running " << s.running << ", waiting " << s.waiting << ", free blocks "
                                         << s.free_blocks << ", cached " << s.cached_idle_blocks;
  }

  ToyServerOptions options;
  RealClock clock;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ToyExecutor> executor;
  std::unique_ptr<ChatTemplate> chat_template;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<ApiServer> api;
  std::jthread loop;
};

}  // namespace sluice::test
