#include "exec/virtual_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "base/clock.h"
#include "exec/kv_tiles.h"
#include "exec/part_of_block.h"

namespace sluice {
namespace {

size_t page_bytes() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

/// Of one layer's K, of `tile_tokens` tokens.
size_t tile_row_bytes(const KvGroup& group, const KvFormat& format, int tile_tokens) {
  return static_cast<size_t>(group.kv_heads) * format.tile_bytes(tile_tokens, group.head_dim);
}

/// Mappings that the kernel allows a process (vm.max_map_count); its default where that cannot be read.
int most_mappings() {
  int most = 65530;
  if (std::FILE* file = std::fopen("/proc/sys/vm/max_map_count", "r")) {
    if (std::fscanf(file, "%d", &most) != 1) most = 65530;
    std::fclose(file);
  }
  return most;
}

}  // namespace

int VirtualArena::page_group_tokens(const KvSpec& spec, const KvFormat& format, int tile_tokens, size_t group_bytes) {
  size_t tiles = 1, least = 1;
  for (const KvGroup& g : spec.groups) {
    const size_t tile = tile_row_bytes(g, format, tile_tokens);
    tiles = std::lcm(tiles, page_bytes() / std::gcd(page_bytes(), tile));
    least = std::max(least, (group_bytes + tile - 1) / tile);
  }
  return static_cast<int>((least + tiles - 1) / tiles * tiles) * tile_tokens;
}

Result<std::unique_ptr<VirtualArena>> VirtualArena::open(const KvSpec& spec, const KvFormat& format,
                                                         const KvStoreOptions& options) {
  const int unit = page_group_tokens(spec, format, options.tile_tokens, 1);
  if (options.block_tokens % unit != 0)
    return invalid_argument(fmt::format("a page group of {} tokens is no multiple of the {} that fill whole pages",
                                        options.block_tokens, unit));
  std::unique_ptr<VirtualArena> arena(new VirtualArena);
  arena->options_ = options;
  arena->context_groups_ = (options.max_model_len + options.block_tokens - 1) / options.block_tokens;
  arena->tiles_per_block_ = options.block_tokens / options.tile_tokens;
  SLUICE_TRY_STATUS(arena->reserve(spec, format));
  // A quarter of the mappings is for everything else; a slot's rest that is not backed is one too.
  const int layers = static_cast<int>(arena->layers_.size());
  arena->most_groups_ = most_mappings() / 4 * 3 / (2 * std::max(1, layers)) - options.slots;
  const int wanted = std::min(options.blocks, options.slots * arena->context_groups_);
  if (arena->most_groups_ < wanted)
    return invalid_argument(
        fmt::format("{} page groups in {} layers need more mappings than the kernel keeps ({}, vm.max_map_count); raise "
                    "--kv-page-group-size {}-fold, or lower --max-num-seqs",
                    wanted, layers, most_mappings(), (wanted - 1) / std::max(1, arena->most_groups_) + 1),
        "--kv-page-group-size");
  arena->slots_.resize(static_cast<size_t>(options.slots));
  for (int s = 0; s < options.slots; ++s) {
    arena->slots_[static_cast<size_t>(s)].mapped.assign(static_cast<size_t>(arena->context_groups_), kNoBlock);
    std::vector<BlockId>& table =
        arena->slot_tables_.emplace_back(static_cast<size_t>(arena->context_groups_ * arena->tiles_per_block_));
    std::iota(table.begin(), table.end(),
              static_cast<BlockId>((options.blocks + s * arena->context_groups_) * arena->tiles_per_block_));
  }
  if (options.most_groups > 0) arena->most_groups_ = std::min(arena->most_groups_, options.most_groups);
  arena->thread_ = std::jthread([a = arena.get()](std::stop_token stop) { a->map_ahead(stop); });
  return arena;
}

Status VirtualArena::reserve(const KvSpec& spec, const KvFormat& format) {
  const size_t blocks = static_cast<size_t>(options_.blocks), slots = static_cast<size_t>(options_.slots);
  const size_t space_blocks = blocks + slots * static_cast<size_t>(context_groups_);
  for (const KvGroup& g : spec.groups)
    group_bytes_ += 2 * static_cast<size_t>(g.layers) * tile_row_bytes(g, format, options_.tile_tokens) *
                    static_cast<size_t>(tiles_per_block_);
  file_bytes_ = group_bytes_ * blocks;
  space_bytes_ = group_bytes_ * space_blocks;
  fd_ = ::memfd_create("sluice-kv", MFD_CLOEXEC);
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0)
    return resource_exhausted(
        fmt::format("no file in memory of {} bytes for the KV cache: {}", file_bytes_, std::strerror(errno)));
  void* space = ::mmap(nullptr, space_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED)
    return resource_exhausted(fmt::format("cannot reserve {} bytes of address space for {} contexts of {} tokens: {}",
                                          space_bytes_, options_.slots, options_.max_model_len, std::strerror(errno)));
  space_ = static_cast<uint8_t*>(space);
  uint8_t* at = space_;
  size_t offset = 0;
  for (const KvGroup& g : spec.groups)
    for (int l = 0; l < g.layers; ++l) {
      Layer layer{};
      layer.block_bytes = tile_row_bytes(g, format, options_.tile_tokens) * static_cast<size_t>(tiles_per_block_);
      for (int kv = 0; kv < 2; ++kv) {
        layer.base[kv] = at;
        layer.file_offset[kv] = offset;
        if (::mmap(at, layer.block_bytes * blocks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_,
                   static_cast<off_t>(offset)) == MAP_FAILED)
          return resource_exhausted(fmt::format("cannot map the KV cache: {}", std::strerror(errno)));
        at += layer.block_bytes * space_blocks;
        offset += layer.block_bytes * blocks;
      }
      layers_.push_back(layer);
      views_.push_back({&format, options_.tile_tokens, g.kv_heads, g.head_dim, layer.base[0], layer.base[1]});
    }
  return {};
}

VirtualArena::~VirtualArena() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (space_ != nullptr) ::munmap(space_, space_bytes_);
  if (fd_ >= 0) ::close(fd_);
}

uint8_t* VirtualArena::address(const Layer& layer, int kv, int slot, int group) const {
  const size_t block = static_cast<size_t>(options_.blocks) +
                       static_cast<size_t>(slot) * static_cast<size_t>(context_groups_) + static_cast<size_t>(group);
  return layer.base[kv] + block * layer.block_bytes;
}

void VirtualArena::copy(const KvCopy& copy) {
  const auto first = [this](BlockId block) { return block * static_cast<BlockId>(tiles_per_block_); };
  for (int done = 0; done < copy.tokens; done += options_.tile_tokens) {
    const BlockId tile = static_cast<BlockId>(done / options_.tile_tokens);
    for (const KvLayerView& view : views_)
      copy_tiles(view,
                 {first(copy.src) + tile, first(copy.dst) + tile, std::min(options_.tile_tokens, copy.tokens - done)});
  }
}

bool VirtualArena::get(BlockId block, uint8_t* bytes) {
  for (const Layer& layer : layers_)
    for (const uint8_t* base : layer.base) {
      std::memcpy(bytes, base + block * layer.block_bytes, layer.block_bytes);
      bytes += layer.block_bytes;
    }
  return true;
}

void VirtualArena::put(BlockId block, const uint8_t* bytes) {
  for (const Layer& layer : layers_)
    for (uint8_t* base : layer.base) {
      std::memcpy(base + block * layer.block_bytes, bytes, layer.block_bytes);
      bytes += layer.block_bytes;
    }
}

void VirtualArena::get_part(BlockId block, size_t at, std::span<uint8_t> bytes) const {
  PartOfBlock part(at, bytes);
  for (const Layer& layer : layers_)
    for (const uint8_t* base : layer.base) part.out_of(base + block * layer.block_bytes, layer.block_bytes);
}

void VirtualArena::put_part(BlockId block, size_t at, std::span<const uint8_t> bytes) {
  PartOfBlock part(at, bytes);
  for (const Layer& layer : layers_)
    for (uint8_t* base : layer.base) part.into(base + block * layer.block_bytes, layer.block_bytes);
}

/// The sequence's own slot; else, of those that this step has not taken, the one with most of its first page groups in
/// place, the longest idle among equals.
int VirtualArena::slot_for(SeqId seq, std::span<const BlockId> blocks) {
  if (const auto own = slot_of_.find(seq); own != slot_of_.end()) return own->second;
  int best = -1, best_match = -1;
  for (size_t s = 0; s < slots_.size(); ++s) {
    const Slot& slot = slots_[s];
    if (slot.last_step == step_) continue;
    int match = 0;
    while (match < context_groups_ && match < static_cast<int>(blocks.size()) &&
           slot.mapped[static_cast<size_t>(match)] == blocks[static_cast<size_t>(match)])
      ++match;
    if (match > best_match || (match == best_match && slot.last_step < slots_[static_cast<size_t>(best)].last_step)) {
      best = static_cast<int>(s);
      best_match = match;
    }
  }
  CHECK(best >= 0, "a step of more than {} sequences", slots_.size());
  Slot& slot = slots_[static_cast<size_t>(best)];
  if (slot.seq != kNoSeq) slot_of_.erase(slot.seq);
  slot.seq = seq;
  slot_of_[seq] = best;
  counts_.reused += static_cast<uint64_t>(best_match);
  return best;
}

void VirtualArena::unmap(Slot& slot, int index) {
  for (const Layer& layer : layers_)
    for (int kv = 0; kv < 2; ++kv)
      CHECK(::mmap(address(layer, kv, index, 0), layer.block_bytes * static_cast<size_t>(context_groups_), PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED,
            "an address range cannot be unmapped: {}", std::strerror(errno));
  slot.mapped.assign(slot.mapped.size(), kNoBlock);
  counts_.unmapped += static_cast<uint64_t>(slot.groups);
  mapped_groups_ -= slot.groups;
  slot.groups = 0;
}

/// Unmaps the longest idle slot; false when none is.
bool VirtualArena::relieve() {
  int longest = -1;
  for (size_t s = 0; s < slots_.size(); ++s)
    if (slots_[s].groups > 0 && slots_[s].last_step != step_ &&
        (longest < 0 || slots_[s].last_step < slots_[static_cast<size_t>(longest)].last_step))
      longest = static_cast<int>(s);
  if (longest < 0) return false;
  unmap(slots_[static_cast<size_t>(longest)], longest);
  return true;
}

bool VirtualArena::map(int index, int group, BlockId block) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  BlockId& mapped = slot.mapped[static_cast<size_t>(group)];
  if (mapped == block) return true;
  if (mapped == kNoBlock && mapped_groups_ >= most_groups_ && !relieve()) return false;
  RealClock clock;
  const Nanos start = clock.now();
  const bool was = mapped != kNoBlock;
  bool done = true;
  for (const Layer& layer : layers_)
    for (int kv = 0; kv < 2; ++kv)
      done = done &&
             ::mmap(address(layer, kv, index, group), layer.block_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                    fd_, static_cast<off_t>(layer.file_offset[kv] + block * layer.block_bytes)) != MAP_FAILED;
  mapped = done ? block : kNoBlock;
  slot.groups += static_cast<int>(done) - static_cast<int>(was);
  mapped_groups_ += static_cast<int>(done) - static_cast<int>(was);
  counts_.map_ns += clock.now() - start;
  return done;
}

void VirtualArena::prepare(const StepPlan& plan) {
  std::unique_lock lock(mutex_);
  ++step_;
  ahead_.clear();  // what is not done yet is done now, where it is needed
  item_slots_.clear();
  unmapped_tables_.clear();
  // Those that have a slot keep it; then the others choose.
  for (const PlanItem& item : plan.items)
    if (const auto own = slot_of_.find(item.seq); own != slot_of_.end())
      slots_[static_cast<size_t>(own->second)].last_step = step_;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    int index = slot_for(item.seq, item.blocks);
    slots_[static_cast<size_t>(index)].last_step = step_;
    const int needed = (item.first_pos + item.n_tokens + options_.block_tokens - 1) / options_.block_tokens;
    for (int g = 0; g < needed && index >= 0; ++g) {
      if (slots_[static_cast<size_t>(index)].mapped[static_cast<size_t>(g)] == item.blocks[static_cast<size_t>(g)])
        continue;
      if (map(index, g, item.blocks[static_cast<size_t>(g)]))
        ++counts_.mapped_on_path;
      else
        index = -1;
    }
    item_slots_.push_back(index);
    if (index < 0) {
      ++counts_.unmapped_items;
      std::vector<BlockId>& table = unmapped_tables_[i];
      for (int g = 0; g < needed; ++g)
        for (int t = 0; t < tiles_per_block_; ++t)
          table.push_back(item.blocks[static_cast<size_t>(g)] * static_cast<BlockId>(tiles_per_block_) +
                          static_cast<BlockId>(t));
    } else {
      for (int g = needed; g < std::min(context_groups_, static_cast<int>(item.blocks.size())); ++g)
        ahead_.push_back({index, g, item.blocks[static_cast<size_t>(g)]});
    }
  }
  if (!ahead_.empty()) wake_.notify_one();
}

std::span<const BlockId> VirtualArena::table(const StepPlan&, size_t item) const {
  const int slot = item_slots_[item];
  return slot >= 0 ? std::span<const BlockId>(slot_tables_[static_cast<size_t>(slot)]) : unmapped_tables_.at(item);
}

void VirtualArena::map_ahead(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (wake_.wait(lock, stop, [this] { return !ahead_.empty(); })) {
    const Ahead next = ahead_.front();
    ahead_.pop_front();
    const bool there = slots_[static_cast<size_t>(next.slot)].mapped[static_cast<size_t>(next.group)] == next.block;
    if (!there && map(next.slot, next.group, next.block)) ++counts_.mapped_ahead;
    lock.unlock();  // a step that begins waits for one page group at most
    lock.lock();
  }
}

VirtualArena::Counts VirtualArena::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

size_t VirtualArena::physical_bytes() const {
  struct stat info {};
  CHECK(::fstat(fd_, &info) == 0);
  return static_cast<size_t>(info.st_blocks) * 512;
}

}  // namespace sluice
