#include "kv/allocator/kv_allocator.h"
#include "kv/allocator/paged.h"
#include "kv/allocator/static_slots.h"
#include "kv/allocator/virtual_slots.h"

namespace sluice {

std::span<const KvAllocatorEntry> kv_allocator_catalog() {
  static constexpr KvAllocatorEntry kEntries[] = {
      {"paged", "blocks as they are needed, wherever they are free",
       [](const AllocatorOptions& o) -> std::unique_ptr<KvAllocator> {
         return std::make_unique<PagedAllocator>(o.block_tokens);
       }},
      {"static", "a whole context, adjoining, per sequence",
       [](const AllocatorOptions& o) -> std::unique_ptr<KvAllocator> { return std::make_unique<StaticSlots>(o); }},
      {"virtual", "page groups under contiguous address space, mapped ahead",
       [](const AllocatorOptions& o) -> std::unique_ptr<KvAllocator> {
         return std::make_unique<VirtualSlots>(o.block_tokens);
       },
       true},
  };
  return kEntries;
}

}  // namespace sluice
