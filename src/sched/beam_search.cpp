#include "sched/beam_search.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

/// The token as it joins a beam: with the logprobs that the client asked for, of the many that the search needs.
SampledToken chosen(const SampledToken& sampled, const TokenLogprob& token, int logprobs) {
  SampledToken out{token.token, token.logprob, sampled.top};
  out.top.resize(std::min(out.top.size(), static_cast<size_t>(std::max(0, logprobs))));
  return out;
}

bool ends(const Request& request, TokenId token) {
  const auto listed = [token](const std::vector<TokenId>& ids) { return std::ranges::find(ids, token) != ids.end(); };
  return (!request.ignore_eos && listed(request.eos_token_ids)) || listed(request.stop_token_ids);
}

double score(double sum, size_t length, float length_penalty) {
  return sum / std::pow(static_cast<double>(length), static_cast<double>(length_penalty));
}

}  // namespace

std::vector<Fork> BeamSearch::after(const Sequence& seq, const SampledToken& token) {
  if (seq.request->beam_width == 0) return {};
  Group& group = groups_[seq.request.get()];
  Beam& beam = beams_[seq.id];
  if (beam.group == nullptr) {  // the prompt's first token
    group = {seq.request, seq.prompt_tokens(), {seq.id}, {}};
    beam.group = seq.request.get();
  }
  beam.next = token;
  return {};
}

bool BeamSearch::holds(SeqId id) const {
  const auto beam = beams_.find(id);
  return beam != beams_.end() && beam->second.next.has_value();
}

std::vector<Regroup> BeamSearch::regroup() {
  std::vector<Regroup> out;
  for (auto it = groups_.begin(); it != groups_.end();) {
    Group& group = it->second;
    bool ended = false;
    if (std::ranges::all_of(group.members, [this](SeqId id) { return beams_.at(id).next.has_value(); })) {
      out.push_back(choose(group));
      ended = out.back().done;
      for (const SeqId id : out.back().drop) beams_.erase(id);
    }
    it = ended ? groups_.erase(it) : std::next(it);
  }
  return out;
}

/// The best 2 w by their sums; of equal sums the earlier beam, then the likelier token.
std::vector<BeamSearch::Continuation> BeamSearch::best_continuations(const Group& group) const {
  std::vector<Continuation> all;
  for (const SeqId id : group.members) {
    const Beam& beam = beams_.at(id);
    const bool too_short = static_cast<int>(beam.tokens.size()) + 1 <= group.request->sampling.min_tokens;
    for (const TokenLogprob& token : beam.next->top)
      if (!too_short || !ends(*group.request, token.token))
        all.push_back({id, token, beam.sum + static_cast<double>(token.logprob)});
  }
  std::ranges::stable_sort(all, [](const Continuation& a, const Continuation& b) { return a.sum > b.sum; });
  all.resize(std::min(all.size(), 2 * static_cast<size_t>(group.request->beam_width)));
  return all;
}

void BeamSearch::finish(Group& group, const Beam& parent, const Continuation& last, FinishReason reason) const {
  const Request& request = *group.request;
  Hypothesis h;
  h.tokens = parent.tokens;
  h.tokens.push_back(chosen(*parent.next, last.token, request.sampling.logprobs));
  h.finish = reason;
  h.score = score(last.sum, h.tokens.size(), request.length_penalty);
  const auto worse = [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; };
  group.finished.insert(std::ranges::upper_bound(group.finished, h, worse), std::move(h));
  if (group.finished.size() > static_cast<size_t>(request.beam_width)) group.finished.pop_back();
}

Regroup BeamSearch::choose(Group& group) {
  const Request& request = *group.request;
  const size_t width = static_cast<size_t>(request.beam_width);
  const size_t length = beams_.at(group.members[0]).tokens.size() + 1;  // of every beam, with this token
  const bool last = static_cast<int>(length) >= request.max_tokens ||
                    group.prompt_tokens + static_cast<int>(length) >= max_model_len_;
  std::vector<Continuation> live;
  const std::vector<Continuation> best = best_continuations(group);
  for (size_t rank = 0; rank < best.size() && live.size() < width; ++rank) {
    const bool end = ends(request, best[rank].token.token);
    if (!end)
      live.push_back(best[rank]);
    else if (rank < width)
      finish(group, beams_.at(best[rank].parent), best[rank], FinishReason::stop);
  }
  if (last)
    for (const Continuation& c : live) finish(group, beams_.at(c.parent), c, FinishReason::length);

  Regroup out;
  const bool beaten = group.finished.size() == width && !live.empty() &&
                      group.finished.back().score >= score(live[0].sum, length, request.length_penalty);
  if (last || live.empty() || beaten) {
    out.done = true;
    out.drop = group.members;
    group.finished.resize(std::min(group.finished.size(), static_cast<size_t>(request.n)));
    out.found = std::move(group.finished);
    return out;
  }

  // The first continuation of a beam goes on in its place, the others split off. What a child begins with is its parent
  // as it was, so all children are made before any parent changes.
  std::map<SeqId, Beam> before;
  for (const SeqId id : group.members) before[id] = std::move(beams_.at(id));
  std::map<SeqId, bool> kept;
  std::vector<bool> taken(width, false);
  for (const Continuation& c : live) kept[c.parent] = false;
  for (const auto& [id, unused] : kept) taken[static_cast<size_t>(before.at(id).sample)] = true;
  for (const SeqId id : group.members)
    if (!kept.contains(id)) out.drop.push_back(id);
  std::erase_if(group.members, [&](SeqId id) { return !kept.contains(id); });
  for (const Continuation& c : live) {
    const Beam& parent = before.at(c.parent);
    Beam next{parent.group, parent.sample, c.sum, parent.tokens, std::nullopt};
    next.tokens.push_back(chosen(*parent.next, c.token, request.sampling.logprobs));
    if (!std::exchange(kept.at(c.parent), true)) {
      out.replace.push_back({c.parent, c.token.token});
      beams_[c.parent] = std::move(next);
      continue;
    }
    next.sample = static_cast<int>(std::ranges::find(taken, false) - taken.begin());
    taken[static_cast<size_t>(next.sample)] = true;
    out.fork.push_back({c.parent, next.sample, group.prompt_tokens + static_cast<int>(length) - 1, c.token.token});
    unborn_[c.parent].push_back(std::move(next));
  }
  return out;
}

void BeamSearch::on(const Event& event) {
  if (event.kind == Event::Kind::forked) {
    const auto children = unborn_.find(event.seq);
    if (children == unborn_.end()) return;
    Beam beam = std::move(children->second.front());
    children->second.pop_front();
    if (children->second.empty()) unborn_.erase(children);
    groups_.at(beam.group).members.push_back(event.other);
    beams_[event.other] = std::move(beam);
  } else if (event.kind == Event::Kind::finished) {
    const auto beam = beams_.find(event.seq);
    if (beam == beams_.end()) return;
    const auto group = groups_.find(beam->second.group);
    std::erase(group->second.members, event.seq);
    if (group->second.members.empty()) groups_.erase(group);
    beams_.erase(beam);
  }
}

}  // namespace sluice
