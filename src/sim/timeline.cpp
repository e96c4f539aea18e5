#include "sim/timeline.h"

#include <cerrno>
#include <cstring>

namespace sluice {

Result<std::unique_ptr<Timeline>> Timeline::open(const std::string& path, int replicas) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return io_error(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  std::unique_ptr<Timeline> timeline(new Timeline(path, file));
  timeline->failed_ = std::fputs("[\n", file) < 0;
  for (int i = 0; i < replicas; ++i)
    timeline->write(fmt::format(R"({{"name":"process_name","ph":"M","pid":{},"tid":0,"args":{{"name":"replica {}"}}}})", i, i));
  return timeline;
}

Timeline::~Timeline() {
  if (file_ != nullptr) std::fclose(file_);
}

void Timeline::write(const std::string& event) {
  failed_ = (!first_ && std::fputs(",\n", file_) < 0) || std::fputs(event.c_str(), file_) < 0 || failed_;
  first_ = false;
}

void Timeline::stepped(const ReplicaStep& step) {
  const double start_us = static_cast<double>(step.start) / 1e3, end_us = static_cast<double>(step.end) / 1e3;
  const EngineStats& s = step.stats;
  const double used = 100.0 * (s.total_blocks - s.free_blocks - s.cached_idle_blocks) / s.total_blocks;
  write(fmt::format(R"({{"name":"step","ph":"X","pid":{},"tid":0,"ts":{:.3f},"dur":{:.3f},"args":{{"tokens":{},"running":{},"waiting":{}}}}})",
                    step.replica, start_us, end_us - start_us, step.tokens, s.running, s.waiting));
  write(fmt::format(R"({{"name":"requests","ph":"C","pid":{},"ts":{:.3f},"args":{{"running":{},"waiting":{}}}}})", step.replica, end_us, s.running, s.waiting));
  write(fmt::format(R"({{"name":"KV cache in use, %","ph":"C","pid":{},"ts":{:.3f},"args":{{"used":{:.2f}}}}})", step.replica, end_us, used));
}

Status Timeline::close() {
  failed_ = std::fputs("\n]\n", file_) < 0 || failed_;
  failed_ = std::fclose(std::exchange(file_, nullptr)) != 0 || failed_;
  if (failed_) return io_error(fmt::format("could not write all of {}", path_));
  return {};
}

}  // namespace sluice
