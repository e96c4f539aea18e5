#pragma once
// What every step of a simulation did, as a Chrome trace (the JSON array format of the Trace Event Format), for chrome://tracing
// or Perfetto: one process a replica, its steps as slices, its queue and KV cache as counters.

#include <cstdio>
#include <memory>
#include <string>

#include "sim/cluster.h"

namespace sluice {

class Timeline {
 public:
  /// Writes as it goes: about 300 bytes a step.
  static Result<std::unique_ptr<Timeline>> open(const std::string& path, int replicas);
  ~Timeline();
  void stepped(const ReplicaStep& step);
  /// Ends the file. An error when any of it could not be written.
  Status close();

 private:
  Timeline(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  void write(const std::string& event);

  std::string path_;
  std::FILE* file_;
  bool first_ = true, failed_ = false;
};

}  // namespace sluice
