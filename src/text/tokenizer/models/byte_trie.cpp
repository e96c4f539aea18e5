#include "text/tokenizer/models/byte_trie.h"

#include <algorithm>

#include "text/tokenizer/step_count.h"

namespace sluice {
namespace {

using Entries = std::vector<std::pair<std::string_view, TokenId>>;

/// Entries [begin, end) share their first `depth` bytes, and `node` stands for those.
struct Task {
  size_t begin, end, depth;
  uint32_t node;
};

struct Child {
  unsigned char byte;
  size_t begin, end;
};

}  // namespace

ByteTrie::ByteTrie(Entries entries) {
  std::erase_if(entries, [](const auto& e) { return e.first.empty(); });
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [text, token] : entries) longest_bytes_ = std::max(longest_bytes_, text.size());

  size_t first_free = 2;  // no unit below is free
  const auto is_free = [&](size_t at) { return at >= units_.size() || (at > kRoot && units_[at].check == kNone); };
  std::vector<Task> open{{0, entries.size(), 0, kRoot}};
  std::vector<Child> children;
  while (!open.empty()) {
    const Task task = open.back();
    open.pop_back();
    size_t at = task.begin;
    for (; at < task.end && entries[at].first.size() == task.depth; ++at) units_[task.node].token = entries[at].second;
    children.clear();
    while (at < task.end) {
      const auto byte = static_cast<unsigned char>(entries[at].first[task.depth]);
      const size_t begin = at;
      while (at < task.end && static_cast<unsigned char>(entries[at].first[task.depth]) == byte) ++at;
      children.push_back({byte, begin, at});
    }
    if (children.empty()) continue;

    // The first base at which every child's unit is free. Where the array is nearly full the search starts further on,
    // so that building stays linear.
    while (first_free < units_.size() && !is_free(first_free)) ++first_free;
    size_t base = 0, tried = 0, taken = 0, from = std::max(first_free, size_t{children[0].byte} + 1);
    for (size_t candidate = from;; ++candidate) {
      ++tried;
      if (!is_free(candidate)) {
        ++taken;
        continue;
      }
      base = candidate - children[0].byte;
      if (std::all_of(children.begin(), children.end(), [&](const Child& c) { return is_free(base + c.byte); })) {
        if (tried > 64 && taken * 20 >= tried * 19) first_free = candidate;
        if (tried > 4096) first_free = std::max(first_free, candidate - 256);
        break;
      }
    }
    if (base + 256 >= units_.size()) units_.resize(base + 257);
    units_[task.node].base = static_cast<uint32_t>(base);
    for (const Child& c : children) units_[base + c.byte].check = task.node;
    for (const Child& c : children)
      open.push_back({c.begin, c.end, task.depth + 1, static_cast<uint32_t>(base + c.byte)});
  }
}

std::pair<TokenId, size_t> ByteTrie::longest(std::string_view text, size_t at) const {
  std::pair<TokenId, size_t> found{-1, 0};
  Node node = kRoot;
  size_t i = at;
  for (; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == kNone) break;
    if (token(node) >= 0) found = {token(node), i + 1 - at};
  }
  tokenizer_steps += i - at + 1;
  return found;
}

}  // namespace sluice
