#include "text/chat/marked_text.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice::jinja {
namespace {

/// The same text kept one flag per byte, as the model to compare with.
struct Flagged {
  std::string bytes;
  std::vector<bool> trusted;
};

void expect_same(const MarkedText& text, const Flagged& model) {
  ASSERT_EQ(text.bytes(), model.bytes);
  for (size_t i = 0; i < model.bytes.size(); ++i) ASSERT_EQ(text.trusted_at(i), model.trusted[i]) << i;
  for (size_t i = 0; i < text.untrusted().size(); ++i) {
    const auto& span = text.untrusted()[i];
    ASSERT_LT(span.begin, span.end);
    ASSERT_LE(span.end, text.size());
    ASSERT_TRUE(i == 0 || text.untrusted()[i - 1].end < span.begin);
  }
}

TEST(MarkedText, AppendAndSliceKeepEveryBytesMark) {
  Rng rng(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::pair<MarkedText, Flagged>> pool(1);
    for (int step = 0; step < 30; ++step) {
      auto [text, model] = pool[rng.below(pool.size())];
      const auto& [other, other_model] = pool[rng.below(pool.size())];
      if (rng.below(2) == 0) {
        const bool trusted = rng.below(2) == 0;
        const std::string piece(rng.below(4), static_cast<char>('a' + rng.below(26)));
        text.append(piece, trusted);
        model.bytes += piece;
        model.trusted.insert(model.trusted.end(), piece.size(), trusted);
      } else {
        const size_t pos = rng.below(other.size() + 1), count = rng.below(other.size() - pos + 1);
        text.append(other, pos, count);
        model.bytes += other_model.bytes.substr(pos, count);
        for (size_t i = pos; i < pos + count; ++i) model.trusted.push_back(other_model.trusted[i]);
      }
      expect_same(text, model);
      if (text.size() < 200) pool.emplace_back(std::move(text), std::move(model));
    }
  }
}

}  // namespace
}  // namespace sluice::jinja
