#include "sched/gate/predicted.h"

#include <gtest/gtest.h>

#include <map>

namespace sluice {
namespace {

constexpr int kPredicted = 16, kMost = 200;

struct Always final : LengthPredictor {
  int predict(const Request&) const override { return kPredicted; }
};

/// Sequences of one request, told of as a scheduler would.
struct Family {
  Family() { request->prompt = {1}, request->max_tokens = kMost; }
  Sequence& add(SeqId id, int outputs) {
    Sequence& seq = sequences[id];
    seq.id = id;
    seq.request = request;
    seq.state = Sequence::State::running;
    seq.tokens.assign(static_cast<size_t>(1 + outputs), 1);
    gate.on_new(seq);
    return seq;
  }
  void start(SeqId id) {
    add(id, 0);
    gate.on({Event::Kind::arrived, id, 1});
    gate.on({Event::Kind::admitted, id});
  }
  void fork(SeqId parent, SeqId child) {
    const int outputs = sequences.at(parent).output_tokens();
    add(child, outputs);
    gate.on({Event::Kind::forked, parent, 1 + outputs, 0, child});
  }
  void sample(SeqId id) {
    sequences.at(id).tokens.push_back(1);
    gate.on({Event::Kind::sampled, id, 1});
  }
  /// Preempts and lets in again whom the gate revokes; returns how many.
  int supervise() {
    std::vector<const Sequence*> running;
    for (const auto& [id, seq] : sequences) running.push_back(&seq);
    const View view{0, {}, running, 1000, 1000, 1};
    int revoked = 0;
    for (const Sequence* seq : running) {
      if (!gate.revokes(*seq, view)) continue;
      ++revoked;
      gate.on({Event::Kind::preempted, seq->id});
      gate.on({Event::Kind::admitted, seq->id});
    }
    return revoked;
  }

  std::shared_ptr<Request> request = std::make_shared<Request>();
  Always lengths;
  PredictedReservation gate{&lengths};
  std::map<SeqId, Sequence> sequences;
};

TEST(PredictedReservation, DoublesUntilItIsEnough) {
  Family f;
  f.start(1);
  f.start(2);
  int revoked = 0;
  for (int i = 1; i < kMost; ++i) {
    f.sample(1);
    revoked += f.supervise();
  }
  EXPECT_EQ(revoked, 4) << "at 16, 32, 64 and 128 of 200";
}

TEST(PredictedReservation, AForkGoesOnWithItsParentsReservation) {
  Family f;
  f.start(1);
  f.start(2);
  for (int i = 0; i < kPredicted; ++i) f.sample(1);
  ASSERT_EQ(f.supervise(), 1) << "doubled";
  f.fork(1, 3);
  EXPECT_EQ(f.supervise(), 0) << "the child has what the parent has";
  for (int i = 0; i < kPredicted; ++i) f.sample(3);
  EXPECT_EQ(f.supervise(), 1) << "it was born with outputs, and they count";
  EXPECT_EQ(f.supervise(), 0) << "doubled once, it is enough";
}

TEST(PredictedReservation, BeamsArePreemptedAsOftenAsTheyDouble) {
  // Each step the beams are those of one that leads: the others are its children, and die.
  Family f;
  f.start(1);
  f.start(2);  // of something else
  SeqId lead = 1, next = 3;
  int revoked = 0;
  for (int i = 1; i < kMost; ++i) {
    f.sample(lead);
    const SeqId child = next++;
    f.fork(lead, child);
    f.gate.on({Event::Kind::finished, lead});
    f.sequences.erase(lead);
    lead = child;
    revoked += f.supervise();
  }
  EXPECT_EQ(revoked, 4);
}

}  // namespace
}  // namespace sluice
