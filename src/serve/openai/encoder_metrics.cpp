#include "serve/openai/encoder_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <sstream>

namespace sluice {
namespace {

constexpr const char* kEnds[] = {"stop", "abort", "error"};

struct QueueMetric {
  const char *name, *help;
  bool counter;
  double (*value)(const EncoderStats&);
};
constexpr QueueMetric kQueueMetrics[] = {
    {"sluice:num_requests_running", "Texts in the pass that runs.", false, [](const EncoderStats& s) { return double(s.running); }},
    {"sluice:num_requests_waiting", "Texts in the queue.", false, [](const EncoderStats& s) { return double(s.waiting); }},
    {"sluice:prompt_tokens_total", "Tokens of the texts computed.", true, [](const EncoderStats& s) { return double(s.tokens); }},
    {"sluice:texts_total", "Texts computed.", true, [](const EncoderStats& s) { return double(s.texts); }},
    {"sluice:steps_total", "Passes run.", true, [](const EncoderStats& s) { return double(s.passes); }},
    {"sluice:requests_refused_queue_full_total", "Requests refused since --max-waiting texts wait.", true,
     [](const EncoderStats& s) { return double(s.refused); }},
};

}  // namespace

struct EncoderMetrics::Registry {
  explicit Registry(std::string model) : model_name(std::move(model)) {
    for (const char* end : kEnds) ended(end);  // shown from the start, as zero
  }
  prometheus::Counter& ended(const char* end) { return success.Add({{"model_name", model_name}, {"finished_reason", end}}); }

  const std::string model_name;
  prometheus::Registry registry;
  prometheus::Histogram& request =
      prometheus::BuildHistogram()
          .Name("sluice:e2e_request_latency_seconds")
          .Help("From a request's arrival to its end.")
          .Register(registry)
          .Add({{"model_name", model_name}}, prometheus::Histogram::BucketBoundaries{0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60});
  prometheus::Family<prometheus::Counter>& success =
      prometheus::BuildCounter().Name("sluice:request_success_total").Help("Requests ended, by reason.").Register(registry);
};

EncoderMetrics::EncoderMetrics(const std::string& model_name, const EncoderQueue& queue) : queue_(queue), registry_(std::make_unique<Registry>(model_name)) {}
EncoderMetrics::~EncoderMetrics() = default;

void EncoderMetrics::finished(End end, Nanos since_arrival) {
  registry_->request.Observe(static_cast<double>(since_arrival) * 1e-9);
  registry_->ended(kEnds[static_cast<size_t>(end)]).Increment();
}

std::string EncoderMetrics::text() const {
  const EncoderStats stats = queue_.stats();
  std::vector<prometheus::MetricFamily> families;
  for (const QueueMetric& metric : kQueueMetrics) {
    prometheus::ClientMetric client;
    client.label.push_back({"model_name", registry_->model_name});
    (metric.counter ? client.counter.value : client.gauge.value) = metric.value(stats);
    families.push_back({metric.name, metric.help, metric.counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge, {std::move(client)}});
  }
  for (prometheus::MetricFamily& family : registry_->registry.Collect()) families.push_back(std::move(family));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

}  // namespace sluice
