#include "serve/openai/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <sstream>

namespace sluice {

namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// vLLM's boundaries, so that its dashboards work.
const Buckets kFirstToken_s = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                               1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
const Buckets kInterToken_s = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                               0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
const Buckets kRequest_s = {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                            30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};

constexpr const char* kFinishReasons[] = {"stop", "length", "abort", "error"};

const char* finish_label(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return kFinishReasons[0];
    case FinishReason::length: return kFinishReasons[1];
    case FinishReason::error: return kFinishReasons[3];
    default: return kFinishReasons[2];
  }
}

double seconds(Nanos ns) { return static_cast<double>(ns) * 1e-9; }

struct EngineMetric {
  const char *name, *help;
  prometheus::MetricType type;
  double (*value)(const EngineStats&);
};
constexpr auto kGauge = prometheus::MetricType::Gauge;
constexpr auto kCounter = prometheus::MetricType::Counter;
constexpr EngineMetric kEngineMetrics[] = {
    {"sluice:num_requests_running", "Sequences that take part in steps.", kGauge,
     [](const EngineStats& s) { return double(s.running); }},
    {"sluice:num_requests_waiting", "Sequences in the queue.", kGauge,
     [](const EngineStats& s) { return double(s.waiting); }},
    {"sluice:kv_cache_usage_perc",
     "Share of the KV blocks in use, from 0 to 1; cached blocks that nobody uses are free.", kGauge,
     [](const EngineStats& s) {
       return s.total_blocks == 0 ? 0.0
                                  : double(s.total_blocks - s.free_blocks - s.cached_idle_blocks) / s.total_blocks;
     }},
    {"sluice:kv_window_pages", "Pages of KV of layers that read the last tokens only; 0: it is in the blocks.", kGauge, [](const EngineStats& s) { return double(s.kv_pages); }},
    {"sluice:kv_window_pages_used", "Of them, those that hold something.", kGauge, [](const EngineStats& s) { return double(s.used_kv_pages); }},
    {"sluice:kv_window_pages_reclaimed_total", "Pages that cached blocks have lost to running sequences.", kCounter,
     [](const EngineStats& s) { return double(s.kv_pages_reclaimed); }},
    {"sluice:prefix_cache_queries_total", "Tokens looked up in the prefix cache.", kCounter,
     [](const EngineStats& s) { return double(s.prefix_queries_tokens); }},
    {"sluice:prefix_cache_hits_total", "Tokens found in the prefix cache.", kCounter,
     [](const EngineStats& s) { return double(s.prefix_hits_tokens); }},
    {"sluice:segment_cache_hits_total", "Tokens of modules and chunks whose KV was reused as it is.", kCounter,
     [](const EngineStats& s) { return double(s.segment_hits_tokens); }},
    {"sluice:prompt_tokens_prepared_total", "Rows computed to encode modules and chunks, and to repair their KV where it was reused.", kCounter,
     [](const EngineStats& s) { return double(s.prompt_tokens_prepared); }},
    {"sluice:num_preemptions_total", "Running sequences that gave up their KV blocks.", kCounter,
     [](const EngineStats& s) { return double(s.preemptions); }},
    {"sluice:prompt_tokens_total", "Prompt tokens of the requests taken.", kCounter,
     [](const EngineStats& s) { return double(s.prompt_tokens); }},
    {"sluice:generation_tokens_total", "Tokens generated.", kCounter,
     [](const EngineStats& s) { return double(s.generation_tokens); }},
    {"sluice:prompt_tokens_computed_total", "Prompt tokens computed, not found in the prefix cache.", kCounter,
     [](const EngineStats& s) { return double(s.prompt_tokens_computed); }},
    {"sluice:tokens_recomputed_total", "Positions computed again: after a preemption, and the last one of a prompt for each further sample.", kCounter,
     [](const EngineStats& s) { return double(s.tokens_recomputed); }},
    {"sluice:kv_host_blocks", "KV blocks kept in host memory beside the cache.", kGauge, [](const EngineStats& s) { return double(s.tiers.host_blocks); }},
    {"sluice:kv_disk_blocks", "KV blocks kept on disk.", kGauge, [](const EngineStats& s) { return double(s.tiers.disk_blocks); }},
    {"sluice:kv_blocks_saved_total", "KV blocks saved to host memory or disk.", kCounter, [](const EngineStats& s) { return double(s.tiers.saved); }},
    {"sluice:kv_blocks_loaded_host_total", "KV blocks loaded from host memory.", kCounter, [](const EngineStats& s) { return double(s.tiers.loaded_host); }},
    {"sluice:kv_blocks_loaded_disk_total", "KV blocks loaded from disk.", kCounter, [](const EngineStats& s) { return double(s.tiers.loaded_disk); }},
    {"sluice:kv_blocks_lost_total", "KV blocks that could not be written or read back, and were computed again.", kCounter,
     [](const EngineStats& s) { return double(s.tiers.lost); }},
    {"sluice:kv_evicted_tokens_total", "Tokens whose KV running sequences have let go of (--kv-retention).", kCounter,
     [](const EngineStats& s) { return double(s.kv_evicted_tokens); }},
    {"sluice:kv_load_stall_seconds_total", "Time that steps waited for KV blocks from host memory or disk.", kCounter, [](const EngineStats& s) { return double(s.load_ns) / 1e9; }},
    {"sluice:kv_offload_read_bytes_total", "Bytes of offloaded KV read for steps.", kCounter, [](const EngineStats& s) { return double(s.offload.read_bytes); }},
    {"sluice:kv_offload_written_bytes_total", "Bytes of offloaded KV written back.", kCounter, [](const EngineStats& s) { return double(s.offload.written_bytes); }},
    {"sluice:kv_offload_stall_seconds_total", "Time that steps waited for offloaded KV.", kCounter, [](const EngineStats& s) { return double(s.offload.stall_ns) / 1e9; }},
    {"sluice:requests_refused_queue_full_total", "Requests refused since --max-waiting wait.", kCounter,
     [](const EngineStats& s) { return double(s.refused.queue_full); }},
    {"sluice:requests_refused_client_rate_total", "Requests refused by --client-token-rate.", kCounter,
     [](const EngineStats& s) { return double(s.refused.client_rate); }},
    {"sluice:requests_refused_client_queue_total", "Requests refused by --max-waiting-per-client.", kCounter,
     [](const EngineStats& s) { return double(s.refused.client_queue); }},
    {"sluice:requests_refused_slo_total", "Requests refused by --slo-ttft-ms.", kCounter,
     [](const EngineStats& s) { return double(s.refused.slo); }},
    {"sluice:steps_total", "Steps run.", kCounter, [](const EngineStats& s) { return double(s.steps); }},
    {"sluice:step_tokens_total", "Positions computed in all steps.", kCounter,
     [](const EngineStats& s) { return double(s.step_tokens); }},
};

prometheus::MetricFamily expert_rows(const Engine& engine, const std::string& model) {
  prometheus::MetricFamily family{"sluice:expert_rows_total", "Rows that an expert has computed.", kCounter, {}};
  const auto layers = engine.expert_rows();
  for (size_t layer = 0; layer < layers.size(); ++layer)
    for (size_t expert = 0; expert < layers[layer].size(); ++expert) {
      prometheus::ClientMetric client;
      client.label = {{"model_name", model}, {"layer", std::to_string(layer)}, {"expert", std::to_string(expert)}};
      client.counter.value = static_cast<double>(layers[layer][expert]);
      family.metric.push_back(std::move(client));
    }
  return family;
}

}  // namespace

struct ServerMetrics::Registry {
  explicit Registry(const std::string& model) : model_name(model) {}

  prometheus::Histogram& histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({{"model_name", model_name}},
                                                                                     buckets);
  }

  const std::string model_name;
  prometheus::Registry registry;
  prometheus::Histogram& first_token =
      histogram("sluice:time_to_first_token_seconds", "From a request's arrival to its first token.", kFirstToken_s);
  prometheus::Histogram& inter_token =
      histogram("sluice:inter_token_latency_seconds", "Between two tokens of one sample.", kInterToken_s);
  prometheus::Histogram& request =
      histogram("sluice:e2e_request_latency_seconds", "From a request's arrival to the end of a sample.", kRequest_s);
  prometheus::Histogram& queue =
      histogram("sluice:request_queue_time_seconds", "From a request's arrival to its first admission.", kRequest_s);
  prometheus::Family<prometheus::Counter>& success = prometheus::BuildCounter()
                                                         .Name("sluice:request_success_total")
                                                         .Help("Samples ended, by reason.")
                                                         .Register(registry);
  prometheus::Counter& ended(const char* reason) {
    return success.Add({{"model_name", model_name}, {"finished_reason", reason}});
  }
};

ServerMetrics::ServerMetrics(const std::string& model_name, const Engine& engine)
    : engine_(engine), registry_(std::make_unique<Registry>(model_name)) {
  for (const char* reason : kFinishReasons) registry_->ended(reason);  // shown from the start, as zero
}

ServerMetrics::~ServerMetrics() = default;

void ServerMetrics::on(const Event& event) {
  if (event.kind == Event::Kind::arrived) {
    queued_since_[event.seq] = event.at;
  } else if (event.kind == Event::Kind::admitted || event.kind == Event::Kind::finished) {
    const auto it = queued_since_.find(event.seq);
    if (it == queued_since_.end()) return;
    if (event.kind == Event::Kind::admitted) registry_->queue.Observe(seconds(event.at - it->second));
    queued_since_.erase(it);
  }
}

void ServerMetrics::first_token(Nanos since_arrival) { registry_->first_token.Observe(seconds(since_arrival)); }
void ServerMetrics::next_token(Nanos since_the_one_before) {
  registry_->inter_token.Observe(seconds(since_the_one_before));
}
void ServerMetrics::finished(FinishReason reason, Nanos since_arrival) {
  registry_->request.Observe(seconds(since_arrival));
  registry_->ended(finish_label(reason)).Increment();
}

std::string ServerMetrics::text() const {
  const EngineStats stats = engine_.stats();
  std::vector<prometheus::MetricFamily> families;
  for (const EngineMetric& metric : kEngineMetrics) {
    prometheus::ClientMetric client;
    client.label.push_back({"model_name", registry_->model_name});
    (metric.type == kGauge ? client.gauge.value : client.counter.value) = metric.value(stats);
    families.push_back({metric.name, metric.help, metric.type, {std::move(client)}});
  }
  if (prometheus::MetricFamily experts = expert_rows(engine_, registry_->model_name); !experts.metric.empty()) families.push_back(std::move(experts));
  for (prometheus::MetricFamily& family : registry_->registry.Collect()) families.push_back(std::move(family));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace sluice
