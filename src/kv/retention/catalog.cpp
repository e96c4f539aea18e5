#include "kv/retention/averaged.h"
#include "kv/retention/h2o.h"
#include "kv/retention/keyformer.h"
#include "kv/retention/none.h"
#include "kv/retention/sink_window.h"

namespace sluice {
namespace {

template <class Policy>
constexpr auto kMake = [](const RetentionOptions& o) -> std::unique_ptr<KvRetention> { return std::make_unique<Policy>(o); };

}  // namespace

std::span<const RetentionEntry> retention_catalog() {
  static constexpr RetentionEntry kEntries[] = {
      {.name = "none", .help = "every token stays", .make = kMake<KeepAll>},
      {.name = "sink-window", .help = "the first tokens and the newest, as llama.cpp's --context-shift with --keep", .make = kMake<SinkWindow>, .reads_sinks = true},
      {.name = "h2o", .help = "the newest and those that have got most attention", .make = kMake<H2o>, .reads_recent = true},
      {.name = "averaged", .help = "the same by attention per row that saw them", .make = kMake<Averaged>, .reads_recent = true},
      {.name = "keyformer", .help = "the same by attention with Gumbel noise and a rising temperature", .make = kMake<Keyformer>, .reads_recent = true},
  };
  return kEntries;
}

}  // namespace sluice
