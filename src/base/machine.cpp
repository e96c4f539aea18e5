#include "base/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace sluice {
namespace {

// The cgroup directories of this process, innermost first, for a controller ("" is v2's unified tree).
std::vector<std::string> cgroup_dirs(const std::string& controller) {
  std::ifstream in("/proc/self/cgroup");
  std::vector<std::string> dirs;
  for (std::string line; std::getline(in, line);) {
    const auto a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string names = line.substr(a + 1, b - a - 1);
    std::string path = line.substr(b + 1);
    std::string root = "/sys/fs/cgroup";
    if (!controller.empty()) {
      if (("," + names + ",").find("," + controller + ",") == std::string::npos) continue;
      root += "/" + controller;
    } else if (!names.empty()) {
      continue;
    }
    for (;;) {
      dirs.push_back(root + (path == "/" ? "" : path));
      if (path.empty() || path == "/") break;
      path.resize(path.find_last_of('/'));
    }
  }
  return dirs;
}

bool read_words(const std::string& path, std::string& first, std::string& second) {
  std::ifstream in(path);
  return static_cast<bool>(in >> first) && (in >> second, true);
}

size_t read_bytes_or_max(const std::string& path) {
  std::string word, rest;
  constexpr size_t kNone = std::numeric_limits<size_t>::max();
  if (!read_words(path, word, rest) || word == "max") return kNone;
  try {
    return std::stoull(word);
  } catch (const std::exception&) {
    return kNone;
  }
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  double cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
  std::string quota, period;
  auto limit = [&](double q, double p) {
    if (q > 0 && p > 0) cores = std::min(cores, std::ceil(q / p));
  };
  for (const auto& dir : cgroup_dirs(""))
    if (read_words(dir + "/cpu.max", quota, period) && quota != "max") limit(std::atof(quota.c_str()), std::atof(period.c_str()));
  for (const auto& dir : cgroup_dirs("cpu"))
    if (read_words(dir + "/cpu.cfs_quota_us", quota, period)) {
      std::string p, rest;
      if (read_words(dir + "/cpu.cfs_period_us", p, rest)) limit(std::atof(quota.c_str()), std::atof(p.c_str()));
    }
  return std::max(1, static_cast<int>(cores));
}

MemoryLimit memory_limit() {
  MemoryLimit limit;
  limit.total_bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  limit.available_bytes = limit.total_bytes;
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key;
    size_t kib = 0;
    if (words >> key >> kib && key == "MemAvailable:") limit.available_bytes = kib * 1024;
  }
  auto apply = [&](const std::string& dir, const char* max_file, const char* used_file) {
    const size_t max = read_bytes_or_max(dir + max_file), used = read_bytes_or_max(dir + used_file);
    if (max >= limit.total_bytes && max >= (size_t{1} << 60)) return;
    limit.total_bytes = std::min(limit.total_bytes, max);
    if (used <= max) limit.available_bytes = std::min(limit.available_bytes, max - used);
  };
  for (const auto& dir : cgroup_dirs("")) apply(dir, "/memory.max", "/memory.current");
  for (const auto& dir : cgroup_dirs("memory")) apply(dir, "/memory.limit_in_bytes", "/memory.usage_in_bytes");
  return limit;
}

}  // namespace sluice
