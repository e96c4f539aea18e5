#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace sluice {
namespace {

spdlog::logger& logger() {
  static spdlog::logger instance = [] {
    spdlog::logger made("sluice", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made.set_pattern("%Y-%m-%d %H:%M:%S.%e %^%L%$ %v");
    return made;
  }();
  return instance;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warn: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
    case LogLevel::off: return spdlog::level::off;
  }
  return spdlog::level::info;
}

}  // namespace

bool set_log_level(std::string_view name) {
  for (auto [level, text] : {std::pair{LogLevel::debug, "debug"}, {LogLevel::info, "info"}, {LogLevel::warn, "warn"},
                             {LogLevel::error, "error"}, {LogLevel::off, "off"}}) {
    if (name == text) {
      logger().set_level(to_spdlog(level));
      return true;
    }
  }
  return false;
}

bool log_enabled(LogLevel level) { return logger().should_log(to_spdlog(level)); }
void log_line(LogLevel level, std::string_view line) { logger().log(to_spdlog(level), line); }

}  // namespace sluice
