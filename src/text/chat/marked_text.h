#pragma once
// A string that knows where each of its bytes came from: from the template (trusted) or from a request (untrusted).
// Every string operation of the interpreter is made of append and slice, and so carries the marks along.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::jinja {

class MarkedText {
 public:
  struct Span {
    size_t begin = 0, end = 0;  // bytes
  };

  MarkedText() = default;
  MarkedText(std::string bytes, bool trusted);

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  /// The untrusted ranges: ascending, apart from each other, not empty.
  const std::vector<Span>& untrusted() const { return untrusted_; }
  bool trusted() const { return untrusted_.empty(); }
  bool trusted_at(size_t byte) const;

  void append(std::string_view bytes, bool trusted);
  void append(const MarkedText& other) { append(other, 0, other.size()); }
  /// Appends other[pos, pos + count).
  void append(const MarkedText& other, size_t pos, size_t count);
  MarkedText slice(size_t pos, size_t count) const;
  void reserve(size_t bytes) { bytes_.reserve(bytes); }

 private:
  void mark_untrusted(size_t begin, size_t end);

  std::string bytes_;
  std::vector<Span> untrusted_;
};

}  // namespace sluice::jinja
