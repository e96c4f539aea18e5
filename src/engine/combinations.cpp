#include "engine/combinations.h"

#include <algorithm>

#include "engine/build_engine.h"

namespace sluice {
namespace {

constexpr const char kQueue[] = "--scheduling-policy", kChunk[] = "--chunk-policy", kBatching[] = "--batching", kAdmission[] = "--admission-policy",
                     kCache[] = "--prefix-cache", kAllocator[] = "--kv-allocator", kRetention[] = "--kv-retention";

bool chosen(const EngineOptions& o, const ChosenPolicy& choice) {
  const std::pair<std::string_view, const std::string*> values[] = {
      {kQueue, &o.scheduling_policy}, {kChunk, &o.chunk_policy}, {kBatching, &o.batching},
      {kAdmission, &o.admission_policy}, {"--preemption-policy", &o.preemption_policy}, {kCache, &o.prefix_cache}, {kAllocator, &o.kv_allocator}, {kRetention, &o.kv_retention}};
  return std::ranges::any_of(values, [&](const auto& v) { return v.first == choice.flag && *v.second == choice.value; });
}

std::string sentence(const Combination& c) {
  return fmt::format("{} {} with {} {}: {}", c.one.flag, c.one.value, c.other.flag, c.other.value, c.why);
}

}  // namespace

std::span<const Combination> combinations() {
  using enum Combination::Kind;
  constexpr std::string_view kOutranks = "a waiting request may still take the place of one that it outranks; the promise that nobody is preempted holds for memory alone";
  constexpr std::string_view kExceeds = "a request that exceeds its bin is stopped and goes on later; the promise that nobody is preempted holds for memory alone";
  constexpr std::string_view kAllDecodes = "no prompt is computed beside a decode, so that a waiting request takes the place of all that it outranks, or of none";
  constexpr std::string_view kNoJoining = "prompts that share a prefix and start in the same batch each compute it: nobody waits for another's";
  constexpr std::string_view kAhead = "page groups that are taken ahead are not counted: now and then a sequence may be preempted for one";
  constexpr std::string_view kApart = "it gives every sequence memory of its own, which no prefix cache can share; give --prefix-cache none";
  constexpr std::string_view kWhole = "every sequence has a whole context from its admission on, whatever is known of its length; leave the admission policy at watermark";
  constexpr std::string_view kUnshared = "what is left of a sequence depends on more than its tokens, so nothing is shared: the prefix cache is off";
  constexpr std::string_view kPaged = "the rows that stay are moved from block to block; leave the allocator at paged";
  constexpr std::string_view kWholeLengths = "it reckons with whole lengths, of which a sequence holds a part; leave the admission policy at watermark";
  constexpr std::string_view kNoPrefixes = "it orders by what the prefix cache holds, which is off under KV retention; choose another policy";
  static constexpr Combination kTable[] = {
      {{kAllocator, "static"}, {kCache, "radix"}, refused, kApart},
      {{kAllocator, "static"}, {kCache, "hash"}, refused, kApart},
      {{kAllocator, "static"}, {kAdmission, "exact"}, refused, kWhole},
      {{kAllocator, "static"}, {kAdmission, "predicted"}, refused, kWhole},
      {{kAllocator, "static"}, {kAdmission, "reserve"}, refused, kWhole},
      {{kQueue, "lpm"}, {kCache, "none"}, refused, "it orders by what the prefix cache holds, and there is none; choose another policy or leave the cache on"},
      {{kAdmission, "exact"}, {kQueue, "priority-aging"}, falls_back, kOutranks},
      {{kAdmission, "reserve"}, {kQueue, "priority-aging"}, falls_back, kOutranks},
      {{kAdmission, "exact"}, {kQueue, "mlfq"}, falls_back, kOutranks},
      {{kAdmission, "reserve"}, {kQueue, "mlfq"}, falls_back, kOutranks},
      {{kAdmission, "exact"}, {kBatching, "length-binned"}, falls_back, kExceeds},
      {{kAdmission, "reserve"}, {kBatching, "length-binned"}, falls_back, kExceeds},
      {{kAdmission, "exact"}, {kAllocator, "virtual"}, falls_back, kAhead},
      {{kAdmission, "reserve"}, {kAllocator, "virtual"}, falls_back, kAhead},
      {{kChunk, "decode-first"}, {kQueue, "priority-aging"}, falls_back, kAllDecodes},
      {{kChunk, "decode-first"}, {kQueue, "mlfq"}, falls_back, kAllDecodes},
      {{kBatching, "static"}, {kCache, "radix"}, falls_back, kNoJoining},
      {{kBatching, "static"}, {kCache, "hash"}, falls_back, kNoJoining},
      {{kBatching, "windowed"}, {kCache, "radix"}, falls_back, kNoJoining},
      {{kBatching, "windowed"}, {kCache, "hash"}, falls_back, kNoJoining},
      {{kBatching, "length-binned"}, {kCache, "radix"}, falls_back, kNoJoining},
      {{kBatching, "length-binned"}, {kCache, "hash"}, falls_back, kNoJoining},
  };
  static const std::vector<Combination> kAll = [&] {
    std::vector<Combination> all(std::begin(kTable), std::end(kTable));
    for (const RetentionEntry& entry : retention_catalog()) {  // alike for all that let go of something
      const ChosenPolicy retains{kRetention, entry.name};
      if (entry.name == "none") continue;
      for (const std::string_view cache : {"radix", "hash"}) all.push_back({retains, {kCache, cache}, falls_back, kUnshared});
      for (const std::string_view allocator : {"static", "virtual"}) all.push_back({retains, {kAllocator, allocator}, refused, kPaged});
      for (const std::string_view admission : {"exact", "reserve", "predicted"}) all.push_back({retains, {kAdmission, admission}, refused, kWholeLengths});
      all.push_back({retains, {kQueue, "lpm"}, refused, kNoPrefixes});
    }
    return all;
  }();
  return kAll;
}

Status check_combinations(const EngineOptions& options) {
  for (const Combination& c : combinations())
    if (c.kind == Combination::Kind::refused && chosen(options, c.one) && chosen(options, c.other))
      return invalid_argument(sentence(c), std::string(c.one.flag));
  return {};
}

std::vector<std::string> fallbacks(const EngineOptions& options) {
  std::vector<std::string> notes;
  for (const Combination& c : combinations())
    if (c.kind == Combination::Kind::falls_back && chosen(options, c.one) && chosen(options, c.other)) notes.push_back(sentence(c));
  if (options.admission_policy == "exact" && options.max_num_batched_tokens < options.max_num_seqs)
    notes.push_back(fmt::format("--admission-policy exact with --max-num-batched-tokens {} below --max-num-seqs {}: sequences do not go "
                                "in step, so that full lengths are reserved, as by 'reserve'",
                                options.max_num_batched_tokens, options.max_num_seqs));
  if ((options.segment_cache || options.cache_reuse > 0) && (options.admission_policy == "exact" || options.admission_policy == "reserve"))
    notes.push_back(fmt::format("--admission-policy {} with reused segments: the blocks from which they are copied are not reserved; now and then a "
                                "sequence may be preempted for them", options.admission_policy));
  return notes;
}

}  // namespace sluice
