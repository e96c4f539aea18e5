#pragma once
// What happened to a sequence, as ids and counts only. Policies that need memory keep side tables fed by these.

#include <cstdint>

#include "base/ids.h"

namespace sluice {

struct Event {
  enum class Kind : uint8_t {
    arrived,    // tokens: prompt length; at: when the request did, which may be before the scheduler saw it
    admitted,   // tokens: prompt tokens found in the prefix cache
    reused,     // tokens: positions that it got the KV of from elsewhere while it ran
    ran,        // tokens: positions computed in the step that just settled
    prepared,   // tokens: the same, but of rows that did not bring it further
    sampled,    // tokens: new tokens appended (1 without speculation)
    preempted,  // tokens: computed positions given up
    forked,     // other: the child; tokens: its length
    finished,   // tokens: generated in total
  };
  Kind kind;
  SeqId seq = kNoSeq;
  int tokens = 0;
  Nanos at = 0;
  SeqId other = kNoSeq;
};

struct Observer {
  virtual ~Observer() = default;
  virtual void on(const Event&) {}
};

}  // namespace sluice
