#pragma once
// Logging to stderr, one line per event. spdlog stays in log.cpp, so that this header is cheap to include.

#include <fmt/core.h>

#include <string_view>

namespace sluice {

enum class LogLevel { debug, info, warn, error, off };

/// Accepts debug, info, warn, error, off; returns false on any other name.
bool set_log_level(std::string_view name);
void log_line(LogLevel level, std::string_view line);
bool log_enabled(LogLevel level);

template <class... Args>
void log_debug(fmt::format_string<Args...> f, Args&&... args) {
  if (log_enabled(LogLevel::debug)) log_line(LogLevel::debug, fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> f, Args&&... args) {
  if (log_enabled(LogLevel::info)) log_line(LogLevel::info, fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void log_warn(fmt::format_string<Args...> f, Args&&... args) {
  if (log_enabled(LogLevel::warn)) log_line(LogLevel::warn, fmt::format(f, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> f, Args&&... args) {
  if (log_enabled(LogLevel::error)) log_line(LogLevel::error, fmt::format(f, std::forward<Args>(args)...));
}

}  // namespace sluice
