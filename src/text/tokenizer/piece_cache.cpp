#include "text/tokenizer/piece_cache.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "text/tokenizer/step_count.h"

namespace sluice {

PieceCache& PieceCache::of_this_thread(uint64_t serial, const TokenModel& model) {
  thread_local PieceCache cache;
  cache.serial_ = serial;
  cache.model_ = &model;
  return cache;
}

uint64_t PieceCache::next_serial() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

void PieceCache::encode(std::string_view piece, std::vector<TokenId>& out) {
  if (piece.size() > kMaxBytes) return model_->encode(piece, out);
  ++tokenizer_steps;
  std::array<uint64_t, kMaxBytes / 8> text{};
  std::memcpy(text.data(), piece.data(), piece.size());
  uint64_t hash = serial_ + piece.size();
  for (const uint64_t word : text) hash = ((hash ^ word) * 0x9e3779b97f4a7c15ull) ^ (hash >> 29);
  hash ^= hash >> 32;
  Entry& entry = entries_[(hash * 0xbf58476d1ce4e5b9ull) >> 50];
  if (entry.serial == serial_ && entry.bytes == piece.size() && entry.text == text) {
    out.insert(out.end(), entry.ids.begin(), entry.ids.begin() + entry.tokens);
    return;
  }
  const size_t begin = out.size();
  model_->encode(piece, out);
  const size_t tokens = out.size() - begin;
  if (tokens > kMaxTokens) return;
  entry.serial = serial_;
  entry.text = text;
  entry.bytes = static_cast<uint8_t>(piece.size());
  entry.tokens = static_cast<uint8_t>(tokens);
  std::copy(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), entry.ids.begin());
}

}  // namespace sluice
