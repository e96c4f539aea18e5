#pragma once
// CHECK: an invariant of our own code. It is always on, prints what broke and aborts; input errors use Result.

#include <fmt/core.h>

#include <string>

namespace sluice {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

namespace detail {
inline std::string check_message() { return {}; }
template <class... Args>
std::string check_message(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}
}  // namespace detail

#define CHECK(condition, ...)                                                                        \
  do {                                                                                               \
    if (__builtin_expect(!(condition), 0))                                                           \
      ::sluice::check_failed(__FILE__, __LINE__, #condition, ::sluice::detail::check_message(__VA_ARGS__)); \
  } while (0)

}  // namespace sluice
