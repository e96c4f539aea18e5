#include "kv/retention/kv_retention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace sluice {

KvRetention::Schedule KvRetention::schedule(int prompt_tokens) const {
  const bool by_share = options_.budget_tokens == 0;
  const int budget = by_share ? std::max(kLeastRetentionBudget + options_.sinks, static_cast<int>(options_.prompt_share * prompt_tokens))
                              : options_.budget_tokens;
  const int stride = options_.stride_tokens > 0 ? options_.stride_tokens : budget / 16;
  return {budget, std::clamp(stride, 1, (budget - options_.sinks) / 2), by_share ? std::max(budget, prompt_tokens) : budget};
}

int KvRetention::dropped_at(int prompt_tokens, int position) const {
  if (!evicts()) return 0;
  const Schedule s = schedule(prompt_tokens);
  // As few strides as leave a slot of the budget free for this position.
  return position < s.first ? 0 : (position - s.budget + s.stride) / s.stride * s.stride;
}

int KvRetention::next_eviction(int prompt_tokens, int position) const {
  if (!evicts()) return kNever;
  const Schedule s = schedule(prompt_tokens);
  return position < s.first ? s.first : s.budget + dropped_at(prompt_tokens, position);
}

int KvRetention::slots_to_hold(int prompt_tokens, int tokens) const {
  return evicts() ? std::min(tokens, schedule(prompt_tokens).first) : tokens;
}

int KvRetention::recent(int count, double share) const {
  return std::clamp(static_cast<int>(std::lround((options_.recent_share > 0 ? options_.recent_share : share) * count)), 1, count);
}

void KvRetention::keep(std::span<const float> scores, std::span<const int32_t> positions, int next_position, int slots, int count,
                       std::vector<int32_t>& kept) const {
  CHECK(count > 0 && count <= slots, "{} of {} slots", count, slots);
  const auto [first, last] = protects(count);
  CHECK(first >= 0 && last >= 0 && first + last <= count, "{} + {} of {} slots are protected", first, last, count);
  kept.resize(static_cast<size_t>(count));
  std::iota(kept.begin(), kept.begin() + first, 0);
  std::iota(kept.end() - last, kept.end(), slots - last);
  const int chosen = count - first - last;
  if (chosen == 0) return;
  std::vector<std::pair<float, int32_t>> rest;
  rest.reserve(static_cast<size_t>(slots - first - last));
  for (int i = first; i < slots - last; ++i) {
    const auto at = static_cast<size_t>(i);
    rest.emplace_back(wants_scores() ? worth(scores[at], next_position - positions[at]) : 0.0f, i);
  }
  std::ranges::nth_element(rest, rest.begin() + chosen, std::ranges::greater{});
  for (int i = 0; i < chosen; ++i) kept[static_cast<size_t>(first + i)] = rest[static_cast<size_t>(i)].second;
  std::sort(kept.begin() + first, kept.begin() + first + chosen);
}

void add_softmax(std::span<const float> logits, std::vector<float>& scratch, std::span<float> scores) {
  const float top = *std::ranges::max_element(logits);
  scratch.resize(logits.size());
  float sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) sum += scratch[i] = std::exp(logits[i] - top);
  const float scale = 1 / sum;
  for (size_t i = 0; i < logits.size(); ++i) scores[i] += scratch[i] * scale;
}

Result<std::unique_ptr<KvRetention>> make_retention(std::string_view name, const RetentionOptions& o) {
  const auto refuse = [](const char* flag, std::string why) { return invalid_argument(std::string(flag) + " " + std::move(why), flag); };
  const auto entries = retention_catalog();
  const auto entry = std::ranges::find(entries, name, &RetentionEntry::name);
  if (entry == entries.end()) {
    std::string known;
    for (const RetentionEntry& e : entries) known += (known.empty() ? "" : ", ") + std::string(e.name);
    return refuse("--kv-retention", fmt::format("does not know '{}'; it knows: {}", name, known));
  }
  auto policy = entry->make(o);
  if (!policy->evicts()) {
    for (const auto& [flag, given] : {std::pair{"--kv-retention-budget", o.budget_tokens != 0}, {"--kv-retention-share", o.prompt_share != 0},
                                      {"--kv-retention-stride", o.stride_tokens != 0}})
      if (given) return refuse(flag, fmt::format("has no use with --kv-retention {}, which lets go of nothing; name a policy", name));
  }
  if (o.sinks != RetentionOptions{}.sinks && !entry->reads_sinks) return refuse("--kv-retention-sinks", fmt::format("has no use with --kv-retention {}", name));
  if (o.recent_share != 0 && !entry->reads_recent) return refuse("--kv-retention-recent", fmt::format("has no use with --kv-retention {}", name));
  if (!policy->evicts()) return policy;
  if (o.sinks < 0 || o.sinks > 1024) return refuse("--kv-retention-sinks", fmt::format("is {}; it must be from 0 to 1024", o.sinks));
  if ((o.budget_tokens == 0) == (o.prompt_share == 0))
    return refuse("--kv-retention", fmt::format("{} needs a budget: either --kv-retention-budget TOKENS or --kv-retention-share of the prompt", name));
  if (o.budget_tokens != 0 && o.budget_tokens < kLeastRetentionBudget + o.sinks)
    return refuse("--kv-retention-budget", fmt::format("is {}; it must be at least {} beyond the {} of --kv-retention-sinks", o.budget_tokens, kLeastRetentionBudget, o.sinks));
  if (!(o.prompt_share >= 0 && o.prompt_share <= 1)) return refuse("--kv-retention-share", fmt::format("is {}; it must be above 0 and at most 1", o.prompt_share));
  if (!(o.recent_share >= 0 && o.recent_share <= 1)) return refuse("--kv-retention-recent", fmt::format("is {}; it must be from 0 to 1", o.recent_share));
  if (o.stride_tokens < 0 || (o.budget_tokens != 0 && o.stride_tokens > (o.budget_tokens - o.sinks) / 2))
    return refuse("--kv-retention-stride", fmt::format("is {}; it must be from 0 to half of the budget less the sinks", o.stride_tokens));
  return policy;
}

}  // namespace sluice
