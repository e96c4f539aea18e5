#include "sched/gate/length_binned.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

struct Sixteen final : LengthPredictor {
  int predict(const Request&) const override { return 16; }
};

TEST(LengthBinned, AForkFailsItsBinByTheOutputsItWasBornWith) {
  const Sixteen lengths;
  LengthBinned gate(4, &lengths);
  auto request = std::make_shared<Request>();
  request->prompt = {1};
  request->max_tokens = 100;
  Sequence parent, child;
  parent.id = 1, child.id = 2;
  for (Sequence* seq : {&parent, &child}) {
    seq->request = request;
    seq->state = Sequence::State::running;
  }
  parent.tokens = {1};
  gate.on_new(parent);
  gate.on({Event::Kind::admitted, parent.id});
  for (int i = 0; i < 15; ++i) gate.on({Event::Kind::sampled, parent.id, 1});
  parent.tokens.assign(1 + 15, 1);
  child.tokens.assign(1 + 16, 1);  // split off with a token of its own
  gate.on_new(child);
  gate.on({Event::Kind::forked, parent.id, 17, 0, child.id});

  const Sequence* running[] = {&parent, &child};
  const Sequence* waiting[] = {&parent};
  const View view{0, waiting, running, 100, 100, 1};
  EXPECT_FALSE(gate.revokes(parent, view));
  ASSERT_TRUE(gate.revokes(child, view)) << "its bin is of 16";
  gate.on({Event::Kind::preempted, child.id});
  gate.on({Event::Kind::admitted, child.id});
  EXPECT_FALSE(gate.revokes(child, view)) << "it goes on among those that failed, and is not stopped again";
}

}  // namespace
}  // namespace sluice
