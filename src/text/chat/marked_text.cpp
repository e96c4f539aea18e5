#include "text/chat/marked_text.h"

#include <algorithm>

namespace sluice::jinja {

MarkedText::MarkedText(std::string bytes, bool trusted) : bytes_(std::move(bytes)) {
  if (!trusted) mark_untrusted(0, bytes_.size());
}

void MarkedText::mark_untrusted(size_t begin, size_t end) {
  if (begin == end) return;
  if (!untrusted_.empty() && untrusted_.back().end == begin) {
    untrusted_.back().end = end;
  } else {
    untrusted_.push_back({begin, end});
  }
}

bool MarkedText::trusted_at(size_t byte) const {
  const auto after = std::upper_bound(untrusted_.begin(), untrusted_.end(), byte,
                                      [](size_t b, const Span& span) { return b < span.end; });
  return after == untrusted_.end() || byte < after->begin;
}

void MarkedText::append(std::string_view bytes, bool trusted) {
  const size_t begin = bytes_.size();
  bytes_.append(bytes);
  if (!trusted) mark_untrusted(begin, bytes_.size());
}

void MarkedText::append(const MarkedText& other, size_t pos, size_t count) {
  const size_t begin = bytes_.size();
  bytes_.append(other.bytes_, pos, count);
  auto span = std::upper_bound(other.untrusted_.begin(), other.untrusted_.end(), pos,
                               [](size_t b, const Span& s) { return b < s.end; });
  for (; span != other.untrusted_.end() && span->begin < pos + count; ++span) {
    const size_t from = std::max(span->begin, pos), to = std::min(span->end, pos + count);
    mark_untrusted(begin + from - pos, begin + to - pos);
  }
}

MarkedText MarkedText::slice(size_t pos, size_t count) const {
  MarkedText out;
  out.append(*this, pos, count);
  return out;
}

}  // namespace sluice::jinja
