#include "base/machine.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
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

std::string cpu_model() {
  std::string name, family, model;
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line) && !line.empty();) {  // the first processor's lines
    const auto colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_first_of("\t:")), value = line.substr(colon + 2);
    if (key == "model name") name = value;
    if (key == "cpu family") family = value;
    if (key == "model") model = value;
  }
  if (name.empty()) return "unknown";
  return family.empty() ? name : name + " (family " + family + ", model " + model + ")";
}

size_t last_level_cache_bytes() {
  for (const int level : {_SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE})
    if (const long bytes = sysconf(level); bytes > 0) return static_cast<size_t>(bytes);
  return 0;
}

std::optional<MemoryLimit> cgroup_memory(const std::string& dir) {
  constexpr size_t kUnlimited = size_t{1} << 60;  // v1 says "none" with a huge number
  size_t max = read_bytes_or_max(dir + "/memory.max"), used = read_bytes_or_max(dir + "/memory.current");
  if (max >= kUnlimited) {
    max = read_bytes_or_max(dir + "/memory.limit_in_bytes");
    used = read_bytes_or_max(dir + "/memory.usage_in_bytes");
  }
  if (max >= kUnlimited) return std::nullopt;
  if (used > max) return MemoryLimit{max, 0};
  size_t cache = 0, cache_with_children = 0;  // v1 counts the children under names of their own
  std::ifstream in(dir + "/memory.stat");
  std::string key;
  for (size_t bytes; in >> key >> bytes;) {
    if (key == "inactive_file" || key == "active_file") cache += bytes;
    if (key == "total_inactive_file" || key == "total_active_file") cache_with_children += bytes;
  }
  return MemoryLimit{max, max - used + std::min(used, std::max(cache, cache_with_children))};
}

std::vector<int> memory_nodes() {
  constexpr unsigned long kNodes = 1024, kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kNodes / kBits] = {};
  int mode = MPOL_DEFAULT;
  if (::syscall(SYS_get_mempolicy, &mode, nullptr, 0, nullptr, 0) != 0 || mode != MPOL_DEFAULT) return {};
  if (::syscall(SYS_get_mempolicy, nullptr, mask, kNodes, nullptr, MPOL_F_MEMS_ALLOWED) != 0) return {};
  std::vector<int> nodes;
  for (unsigned long n = 0; n < kNodes; ++n)
    if ((mask[n / kBits] >> n % kBits & 1) != 0) nodes.push_back(static_cast<int>(n));
  return nodes;
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
  for (const char* controller : {"", "memory"})
    for (const std::string& dir : cgroup_dirs(controller))
      if (const auto group = cgroup_memory(dir)) {
        limit.total_bytes = std::min(limit.total_bytes, group->total_bytes);
        limit.available_bytes = std::min(limit.available_bytes, group->available_bytes);
      }
  return limit;
}

}  // namespace sluice
