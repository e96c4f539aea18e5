#include "apps/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

#include "apps/printable.h"

namespace sluice {

Progress::Progress(std::string what) : what_(std::move(what)), start_(clock_.now()), terminal_(isatty(2) != 0) {}

Progress::~Progress() {
  if (shown_ && terminal_) std::fputs("\n", stderr);
}

void Progress::update(double done, double all, const std::string& detail) {
  const Nanos now = clock_.now();
  const Nanos every = terminal_ ? 100'000'000 : 5'000'000'000;
  if (now - (last_ == 0 ? start_ : last_) < every && done < all) return;
  if (!shown_ && now - start_ < 1'000'000'000) return;  // what takes less than a second needs no progress
  last_ = now;
  shown_ = true;
  const std::string line = fmt::format("{}: {:3.0f} % {}", what_, all > 0 ? 100 * done / all : 100, printable(detail));
  std::fputs(terminal_ ? fmt::format("\r{:<78.78}", line).c_str() : (line + "\n").c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace sluice
