#include "exec/layered_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "exec/kv_tiles.h"

namespace sluice {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;    // of one request
constexpr size_t kChunkBytes = size_t{64} << 10;  // the same of a write, which is copied out of its window first
constexpr size_t kMostChunks = 32;
constexpr unsigned kInFlight = 128;
constexpr uint8_t kValid = 1, kWritten = 2;

size_t round_up(size_t n) { return (n + kIoPage - 1) / kIoPage * kIoPage; }

/// The blocks of a layer that are in memory: the first ones, which a pool gives out first.
int resident_of(const KvStoreOptions& options) {
  const double away = std::ceil(options.offload.share * static_cast<double>(options.blocks));
  return options.blocks - std::clamp(static_cast<int>(away), 0, options.blocks);
}

}  // namespace

struct LayeredArena::Sizes {
  int resident = 0;
  size_t windows = 0, window_side = 0, chunks = 0, file = 0, memory = 0, space = 0;
};

LayeredArena::Sizes LayeredArena::sizes(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options) {
  const KvOffload& offload = options.offload;
  Sizes s;
  s.resident = resident_of(options);
  s.windows = std::min(static_cast<size_t>(offload.depth) + 1, offload.layers.size());
  int number = 0;
  for (const KvGroup& g : spec.groups)
    for (int l = 0; l < g.layers; ++l, ++number) {
      const size_t block = static_cast<size_t>(g.kv_heads) * format.tile_bytes(options.block_tokens, g.head_dim);
      const bool away = std::ranges::binary_search(offload.layers, number);
      const size_t front = block * static_cast<size_t>(away ? s.resident : options.blocks);
      const size_t back = round_up(block * static_cast<size_t>(options.blocks) - front);
      s.window_side = std::max(s.window_side, back);
      s.file += 2 * back;
      s.memory += 2 * front;
      s.space += 2 * (round_up(front) + back);
    }
  s.chunks = std::clamp<size_t>(2 * s.window_side / kChunkBytes, 2, kMostChunks);  // a layer has no more to write
  s.memory += s.windows * 2 * s.window_side + kChunkBytes * s.chunks;
  return s;
}

size_t LayeredArena::memory_bytes(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options) {
  return sizes(spec, format, options).memory;
}

size_t LayeredArena::file_bytes(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options) {
  return sizes(spec, format, options).file;
}

Result<std::unique_ptr<LayeredArena>> LayeredArena::open(const KvSpec& spec, const KvFormat& format,
                                                         const KvStoreOptions& options) {
  auto file = open_nameless_file(options.offload.path, std::max(kIoPage, file_bytes(spec, format, options)));
  if (!file.ok()) {
    Error error = file.error().in("--kv-offload-path");
    if (error.code == ErrorCode::resource_exhausted)
      error.message += "; give --kv-cache-memory-bytes or --max-num-seqs for a smaller KV cache, or offload fewer layers";
    return error;
  }
  return open(spec, format, options, open_async_io(*file, kInFlight));
}

Result<std::unique_ptr<LayeredArena>> LayeredArena::open(const KvSpec& spec, const KvFormat& format,
                                                         const KvStoreOptions& options, std::unique_ptr<AsyncIo> io) {
  CHECK(std::ranges::is_sorted(options.offload.layers) && !options.offload.layers.empty(), "layers that ascend");
  const Sizes s = sizes(spec, format, options);
  std::unique_ptr<LayeredArena> arena(new LayeredArena(options, s.resident));
  SLUICE_TRY_STATUS(arena->map(spec, format, s));
  if (options.offload.layers.front() < 0 || options.offload.layers.back() >= static_cast<int>(arena->views_.size()))
    return invalid_argument(fmt::format("--kv-offload-layers names layer {}; the model has layers 0 to {}",
                                        options.offload.layers.back(), arena->views_.size() - 1), "--kv-offload-layers");
  SLUICE_TRY(arena->chunks_, Buffer::allocate(kChunkBytes * s.chunks + kIoPage));
  const auto at = reinterpret_cast<uintptr_t>(arena->chunks_.data());
  arena->first_chunk_ = arena->chunks_.data() + (round_up(at) - at);
  for (size_t i = s.chunks; i-- > 0;) arena->free_chunks_.push_back(static_cast<int>(i));
  const std::span<uint8_t> moved[] = {{arena->windows_at_, arena->window_bytes_}, {arena->first_chunk_, kChunkBytes * s.chunks}};
  io->hold(moved);
  arena->io_ = std::move(io);
  return arena;
}

LayeredArena::LayeredArena(const KvStoreOptions& options, int resident_blocks)
    : options_(options),
      resident_blocks_(resident_blocks),
      marks_(static_cast<size_t>(options.blocks)),
      bad_(static_cast<size_t>(options.blocks)) {}

Status LayeredArena::map(const KvSpec& spec, const KvFormat& format, const Sizes& sizes) {
  windows_ = sizes.windows;
  space_bytes_ = sizes.space;
  const auto refused = [&](size_t bytes) {
    return resource_exhausted(fmt::format("no {} bytes of memory for the KV cache: {}", bytes, std::strerror(errno)));
  };
  const size_t window_bytes = windows_ * 2 * sizes.window_side;
  memory_fd_ = ::memfd_create("sluice-kv-windows", MFD_CLOEXEC);
  if (memory_fd_ < 0 || ::ftruncate(memory_fd_, static_cast<off_t>(window_bytes)) != 0) return refused(window_bytes);
  void* space = ::mmap(nullptr, space_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return refused(space_bytes_);
  space_ = static_cast<uint8_t*>(space);
  windows_at_ = static_cast<uint8_t*>(::mmap(nullptr, std::max(window_bytes, kIoPage), PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_, 0));
  if (windows_at_ == MAP_FAILED) return refused(window_bytes);
  window_bytes_ = std::max(window_bytes, kIoPage);
  uint8_t* at = space_;
  uint64_t file_at = 0;
  int number = 0;
  for (const KvGroup& g : spec.groups) {
    const size_t block = static_cast<size_t>(g.kv_heads) * format.tile_bytes(options_.block_tokens, g.head_dim);
    for (int l = 0; l < g.layers; ++l, ++number) {
      const bool away = std::ranges::binary_search(options_.offload.layers, number);
      const size_t front = block * static_cast<size_t>(away ? resident_blocks_ : options_.blocks);
      const size_t back = round_up(block * static_cast<size_t>(options_.blocks) - front);
      Layer layer;
      uint8_t* base[2];
      for (int side = 0; side < 2; ++side) {
        if (front >= size_t{4} << 20) ::madvise(at, round_up(front), MADV_HUGEPAGE);
        at += round_up(front);
        base[side] = at - front;
        const size_t window = (layers_.size() % windows_ * 2 + static_cast<size_t>(side)) * sizes.window_side;
        layer.side[side] = windows_at_ + window;
        layer.file_at[side] = file_at;
        if (back > 0 && ::mmap(at, back, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory_fd_, static_cast<off_t>(window)) == MAP_FAILED)
          return refused(back);
        at += back;
        file_at += back;
      }
      views_.push_back({&format, options_.block_tokens, g.kv_heads, g.head_dim, base[0], base[1]});
      place_.push_back(away ? static_cast<int>(layers_.size()) : -1);
      if (!away) continue;
      const auto same = std::ranges::find(geometries_, block, &Geometry::block_bytes);
      layer.geometry = static_cast<size_t>(same - geometries_.begin());
      if (same == geometries_.end()) geometries_.push_back({block, {}, {}});
      layers_.push_back(layer);
    }
  }
  done_ = next_read_ = layers_.size();
  return {};
}

LayeredArena::~LayeredArena() {
  while (flying_ > 0) wait_for_one();
  io_.reset();
  if (window_bytes_ > 0) ::munmap(windows_at_, window_bytes_);
  if (space_ != nullptr) ::munmap(space_, space_bytes_);
  if (memory_fd_ >= 0) ::close(memory_fd_);
}

// --- what moves ------------------------------------------------------------------------------------------------------

void LayeredArena::mark(BlockId block, bool valid, bool written) {
  marks_[block] |= (valid ? kValid : 0) | (written ? kWritten : 0);
}

/// Whole pages are moved. What is written back therefore holds the ends of neighbouring blocks, which are read first.
void LayeredArena::begin() {
  CHECK(done_ == layers_.size(), "a piece that has ended after {} of {} layers", done_, layers_.size());
  const auto join = [](std::vector<Range>& ranges, size_t begin, size_t end) {
    if (!ranges.empty() && begin <= ranges.back().end) ranges.back().end = std::max(ranges.back().end, end);
    else ranges.push_back({begin, end});
  };
  for (Geometry& g : geometries_) {
    g.reads.clear(), g.writes.clear();
    for (size_t block = static_cast<size_t>(resident_blocks_); block < marks_.size(); ++block) {
      const uint8_t mark = marks_[block];
      if (mark == 0) continue;
      const size_t from = (block - static_cast<size_t>(resident_blocks_)) * g.block_bytes, to = from + g.block_bytes;
      const size_t begin = from / kIoPage * kIoPage, end = round_up(to);
      if (mark & kWritten) join(g.writes, begin, end);
      if (mark & kValid) {
        join(g.reads, begin, end);
      } else {
        if (begin != from) join(g.reads, begin, begin + kIoPage);
        if (end != to) join(g.reads, end - kIoPage, end);
      }
    }
  }
  // What begins anew has lost nothing.
  for (size_t block = 0; any_bad_ && block < marks_.size(); ++block)
    if (marks_[block] == kWritten) bad_[block] = false;
  std::ranges::fill(marks_, 0);
  done_ = next_read_ = 0;
  advance();
}

void LayeredArena::start(size_t number, Range range, int side, bool writes) {
  Layer& layer = layers_[number];
  const size_t most = writes ? kChunkBytes : kReadBytes;
  for (size_t at = range.begin; at < range.end; at += most) {
    const size_t size = std::min(most, range.end - at);
    Transfer transfer{number, {at, at + size}, -1};
    uint8_t* bytes = layer.side[side] + at;
    if (writes) {
      while (free_chunks_.empty()) wait_for_one();
      transfer.chunk = free_chunks_.back();
      free_chunks_.pop_back();
      uint8_t* chunk = first_chunk_ + kChunkBytes * static_cast<size_t>(transfer.chunk);
      std::memcpy(chunk, bytes, size);
      bytes = chunk;
    }
    if (free_transfers_.empty()) {
      free_transfers_.push_back(transfers_.size());
      transfers_.emplace_back();
    }
    const uint64_t tag = free_transfers_.back();
    free_transfers_.pop_back();
    transfers_[tag] = transfer;
    ++(writes ? layer.writing : layer.reading);
    ++flying_;
    (writes ? traffic_.written_bytes : traffic_.read_bytes) += size;
    io_->start({writes, bytes, size, layer.file_at[side] + at, tag});
  }
}

void LayeredArena::note(const IoDone& done) {
  const Transfer& transfer = transfers_[done.tag];
  free_transfers_.push_back(done.tag);
  Layer& layer = layers_[transfer.layer];
  --flying_;
  if (transfer.chunk >= 0) free_chunks_.push_back(transfer.chunk);
  --(transfer.chunk >= 0 ? layer.writing : layer.reading);
  if (done.error == 0) return;
  if (!any_bad_) log_warn("{}: KV could not be {}: {}; requests that need it will fail", options_.offload.path,
                          transfer.chunk >= 0 ? "written" : "read", std::strerror(done.error));
  any_bad_ = true;
  last_error_ = done.error;
  const size_t block_bytes = geometries_[layer.geometry].block_bytes;
  for (size_t b = transfer.range.begin / block_bytes; b * block_bytes < transfer.range.end; ++b)
    if (const size_t block = b + static_cast<size_t>(resident_blocks_); block < bad_.size()) bad_[block] = true;
}

void LayeredArena::advance() {
  while (const auto done = io_->poll()) note(*done);
  const Nanos start_at = clock_.now();
  while (next_read_ < layers_.size() && next_read_ < done_ + windows_ && layers_[next_read_].writing == 0) {
    for (int side = 0; side < 2; ++side)
      for (const Range range : geometries_[layers_[next_read_].geometry].reads) start(next_read_, range, side, false);
    ++next_read_;
  }
  if (!io_->asynchronous()) traffic_.stall_ns += clock_.now() - start_at;
}

void LayeredArena::ready(size_t number) {
  advance();
  const Layer& layer = layers_[number];
  if (next_read_ > number && layer.reading == 0) return;
  const Nanos start_at = clock_.now();
  while (next_read_ <= number) {  // what an earlier piece has written to it is still on its way
    wait_for_one();
    advance();
  }
  while (layer.reading > 0) wait_for_one();
  traffic_.stall_ns += clock_.now() - start_at;
}

void LayeredArena::finished(size_t number) {
  for (int side = 0; side < 2; ++side)
    for (const Range range : geometries_[layers_[number].geometry].writes) start(number, range, side, true);
  done_ = number + 1;
  advance();
}

// --- during a forward pass -------------------------------------------------------------------------------------------

void LayeredArena::before_piece(std::span<const AttendSegment> segments) {
  for (const AttendSegment& s : segments)
    for (int first = 0, i = 0; first < s.first_pos + s.rows; first += options_.block_tokens, ++i)
      mark(s.blocks[i], first < s.first_pos, first + options_.block_tokens > s.first_pos);
  begin();
}

void LayeredArena::before_layer(int layer) {
  if (const int place = place_[static_cast<size_t>(layer)]; place >= 0) ready(static_cast<size_t>(place));
  else advance();
}

void LayeredArena::after_attention(int layer) {
  if (const int place = place_[static_cast<size_t>(layer)]; place >= 0) finished(static_cast<size_t>(place));
  else advance();
}

std::string LayeredArena::item_error(const PlanItem& item) const {
  const int slots = item.first_pos - item.dropped + item.n_tokens;
  for (int first = 0, i = 0; any_bad_ && first < slots; first += options_.block_tokens, ++i)
    if (bad_[item.blocks[static_cast<size_t>(i)]])
      return fmt::format("KV of this sequence that was offloaded is lost: the file in {} could not be read or written: {}",
                         options_.offload.path, std::strerror(last_error_));
  return {};
}

// --- between steps ---------------------------------------------------------------------------------------------------

template <class Use>
void LayeredArena::walk(const Use& use) {
  begin();
  for (size_t l = 0; l < views_.size(); ++l) {
    const int place = place_[l];
    if (place >= 0) ready(static_cast<size_t>(place));
    use(views_[l]);
    if (place >= 0) finished(static_cast<size_t>(place));
  }
}

void LayeredArena::copy(const KvCopy& copy) {
  mark(copy.src, true, false);
  mark(copy.dst, false, true);
  walk([&](const KvLayerView& view) { copy_tiles(view, copy); });
  if (bad_[copy.src]) bad_[copy.dst] = true;
}

bool LayeredArena::get(BlockId block, uint8_t* bytes) {
  mark(block, true, false);
  walk([&](const KvLayerView& view) {
    const size_t n = view.tile_bytes() * static_cast<size_t>(view.kv_heads);
    for (const uint8_t* kv : {view.k, view.v}) std::memcpy(std::exchange(bytes, bytes + n), kv + n * block, n);
  });
  return !bad_[block];
}

void LayeredArena::put(BlockId block, const uint8_t* bytes) {
  mark(block, false, true);
  walk([&](const KvLayerView& view) {
    const size_t n = view.tile_bytes() * static_cast<size_t>(view.kv_heads);
    for (uint8_t* kv : {view.k, view.v}) std::memcpy(kv + n * block, std::exchange(bytes, bytes + n), n);
  });
}

}  // namespace sluice
