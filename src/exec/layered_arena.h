#pragma once
// KV that does not fit into memory: some layers' blocks, or a share of every layer's, are in a file. Layers of which
// blocks are there take turns in a few windows of memory: while one computes, the blocks that the next ones need are read,
// and those that rows were written to are written back. Lossless: the bytes are those that would have stood in memory.
//
// Sources: layer-wise KV offload with prefetch as in FlexGen (Sheng et al., ICML 2023) and InfiniGen (Lee et al., OSDI
// 2024, whose baseline it is); docs/adr/0014 says how it fits block tables.
//
// Addresses never change. Of a layer, the blocks from `resident_blocks` on lie at the pages of its window, which the
// layers of the same window all map; the blocks before lie in pages of the layer's own, right in front:
//
//   layer 0   [ resident 0 ][ window 0 ]        layer 2   [ resident 2 ][ window 0 ]
//   layer 1   [ resident 1 ][ window 1 ]        ...
//
// The file holds a layer's keys, then its values, as they stand in a window, page by page.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "exec/async_io.h"
#include "exec/kv_store.h"
#include "tensor/buffer.h"

namespace sluice {

class LayeredArena final : public KvStore, private LayerPolicy {
 public:
  /// `options.offload` says which layers. Errors: a layer that the model does not have, no memory, no room on the disk.
  static Result<std::unique_ptr<LayeredArena>> open(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options);
  /// The same over a device of one's own, of file_bytes().
  static Result<std::unique_ptr<LayeredArena>> open(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options,
                                                    std::unique_ptr<AsyncIo> io);
  /// What it takes of memory and of the disk.
  static size_t memory_bytes(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options);
  static size_t file_bytes(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options);
  ~LayeredArena() override;

  std::span<const KvLayerView> layers() const override { return views_; }
  void copy(const KvCopy& copy) override;
  bool get(BlockId block, uint8_t* bytes) override;
  void put(BlockId block, const uint8_t* bytes) override;
  void get_part(BlockId, size_t, std::span<uint8_t>) const override { CHECK(false, "windows hold whole blocks"); }
  void put_part(BlockId, size_t, std::span<const uint8_t>) override { CHECK(false, "windows hold whole blocks"); }
  bool in_parts() const override { return false; }
  LayerPolicy* policy() override { return this; }
  std::string item_error(const PlanItem& item) const override;
  OffloadTraffic traffic() const override { return traffic_; }
  bool asynchronous() const { return io_->asynchronous(); }

 private:
  /// A range of bytes from the begin of a window's side: whole pages.
  struct Range {
    size_t begin, end;
  };
  /// What this piece reads and writes of layers whose blocks take `block_bytes` a side.
  struct Geometry {
    size_t block_bytes = 0;
    std::vector<Range> reads, writes;
  };
  struct Layer {
    size_t geometry = 0;
    uint8_t* side[2] = {};  // of the window: keys, values
    uint64_t file_at[2] = {};
    int reading = 0, writing = 0;  // requests in flight
  };
  struct Transfer {
    size_t layer = 0;
    Range range{};
    int chunk = -1;  // of a write: where its bytes wait
  };

  struct Sizes;
  LayeredArena(const KvStoreOptions& options, int resident_blocks);
  static Sizes sizes(const KvSpec& spec, const KvFormat& format, const KvStoreOptions& options);
  Status map(const KvSpec& spec, const KvFormat& format, const Sizes& sizes);

  void before_piece(std::span<const AttendSegment> segments) override;
  void before_layer(int layer) override;
  void before_attention(const LayerView&) override { advance(); }
  void after_attention(int layer) override;

  /// From mark(): layers come in their order, each between ready() and finished().
  void mark(BlockId block, bool valid, bool written);
  void begin();
  void ready(size_t layer);
  void finished(size_t layer);
  /// Calls `use` with every layer's view, while the marked blocks are in their places.
  template <class Use>
  void walk(const Use& use);

  /// Takes note of what has ended, and reads ahead as far as windows are free.
  void advance();
  void start(size_t layer, Range range, int side, bool writes);
  void note(const IoDone& done);
  void wait_for_one() { note(io_->wait()); }

  KvStoreOptions options_;
  const int resident_blocks_;
  std::vector<KvLayerView> views_;
  std::vector<Layer> layers_;  // those with a window, in their order
  std::vector<int> place_;     // of a model's layer in layers_; -1: all in memory
  std::vector<Geometry> geometries_;
  size_t windows_ = 0;
  int memory_fd_ = -1;  // the windows
  uint8_t* space_ = nullptr;  // of the views
  size_t space_bytes_ = 0;
  uint8_t* windows_at_ = nullptr;  // the windows once more, as the file moves them
  size_t window_bytes_ = 0;

  // The piece in hand.
  std::vector<uint8_t> marks_;  // by block: whether it holds something, whether it is written to
  size_t next_read_ = 0, done_ = 0;  // in layers_: first that is not read yet; first that has not attended
  int flying_ = 0;

  std::unique_ptr<AsyncIo> io_;
  std::vector<Transfer> transfers_;
  std::vector<uint64_t> free_transfers_;
  Buffer chunks_;
  uint8_t* first_chunk_ = nullptr;
  std::vector<int> free_chunks_;

  std::vector<bool> bad_;  // by block: some of it could not be read or written
  bool any_bad_ = false;
  int last_error_ = 0;
  OffloadTraffic traffic_;
  RealClock clock_;
};

}  // namespace sluice
