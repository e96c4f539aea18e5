#pragma once
// The bytes of the KV cache: for every layer K and V as [blocks][kv_heads] tiles of a format (quant/kv/kv_format.h), or small blocks
// several to a tile (docs/adr/0021); of latent attention one row for both, and of a recurrent layer a state in each block. Of a
// block format, the tiles of open blocks, in full, stand beside them. Layers that read the last tokens only may have their tiles
// in pages instead, of which there are fewer (kv/recent_pages.h).

#include <span>
#include <vector>

#include "exec/kv_rows.h"
#include "exec/kv_store.h"
#include "exec/open_blocks.h"
#include "tensor/buffer.h"

namespace sluice {

class KvArena final : public KvStore {
 public:
  /// Address space for `blocks` blocks; pages are touched when blocks are first written. Of block formats, `open_blocks`
  /// may be open at once, between prepare() and finish(); 0: all of them, at any time. `pages`: of recent groups, instead of blocks; 0: none.
  static Result<KvArena> allocate(const KvSpec& spec, const KvFormats& formats, int blocks, int block_tokens, int open_blocks = 0, int pages = 0);
  /// Bytes that one block takes over all layers, side streams included.
  static size_t block_bytes(const KvSpec& spec, const KvFormats& formats, int block_tokens);
  /// Of those, what is in pages where there are any.
  static size_t page_bytes(const KvSpec& spec, const KvFormats& formats, int block_tokens);
  /// Bytes that it takes beside them while it is open, in the layers of block formats.
  static size_t open_block_bytes(const KvSpec& spec, const KvFormats& formats, int block_tokens);

  std::span<const KvLayerView> layers() const override { return layers_; }
  size_t bytes() const { return buffer_.bytes(); }
  void copy(const KvCopy& copy) override;
  bool get(BlockId block, uint8_t* bytes) override;
  void put(BlockId block, const uint8_t* bytes) override;
  void get_part(BlockId block, size_t at, std::span<uint8_t> bytes) const override;
  void put_part(BlockId block, size_t at, std::span<const uint8_t> bytes) override;
  /// Not where a layer reads tiles of the one above it.
  bool in_parts() const override { return !pairs_; }
  void prepare(const StepPlan& plan) override;
  void finish(const StepPlan& plan) override;
  /// Of a block format: blocks that have rows in full now.
  int open_blocks() const { return open_.open_count(); }

 private:
  /// f(bytes, how many) of every piece of a block, in the order of a block out of the pool: that of one which is a tile.
  template <class F>
  void each_piece(BlockId block, F f) const {
    for (const KvLayerView& layer : layers_)
      for (int s = 0; s < layer.sides(); ++s) {
        uint8_t* const base = s == 0 ? layer.k : layer.v;
        if (layer.blocks_of_tile == 1) {
          f(base + layer.side_bytes() * block, layer.side_bytes());
          continue;
        }
        const auto tokens = static_cast<size_t>(layer.block_tokens);
        for (int head = 0; head < layer.kv_heads; ++head) {
          const KvRow at(layer, base, block, 0, head);
          f(at.row, tokens * layer.format->row_bytes(layer.head_dim));
          f(at.side, tokens * static_cast<size_t>(layer.format->side_bytes));
        }
      }
  }

  Buffer buffer_, open_buffer_;
  OpenBlocks open_;  // of a block format, unless all blocks may be open
  std::vector<KvLayerView> layers_;
  bool pairs_ = false;
};

}  // namespace sluice
