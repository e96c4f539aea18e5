#pragma once
// What this process may use: cores and memory, as affinity, cgroup v1/v2 and the kernel limit them.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

/// Cores that this process may really use: min(affinity mask, cgroup CPU quota rounded up), at least 1.
int usable_cores();

/// The CPU as /proc/cpuinfo names it, "AMD EPYC (family 26, model 2)"; "unknown" where it does not.
std::string cpu_model();
/// Bytes of the last cache before memory; 0 where the system does not say.
size_t last_level_cache_bytes();

/// Bytes of memory that this process may use: min(physical, cgroup limits), and what of that is available now.
struct MemoryLimit { size_t total_bytes = 0, available_bytes = 0; };
MemoryLimit memory_limit();

/// The same of one cgroup directory (v1 or v2); nothing when it has no limit. Cached file pages count as available: the
/// kernel gives them up before it refuses memory.
std::optional<MemoryLimit> cgroup_memory(const std::string& dir);

/// Nodes of memory over which to spread what all cores read: those that this process may use. None where it was started
/// under a policy of its own (numactl), or where the kernel does not say.
std::vector<int> memory_nodes();

}  // namespace sluice
