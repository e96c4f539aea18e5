#pragma once
// Request JSON -> values. Every string of a request is untrusted, but for the roles that chat formats know.

#include <nlohmann/json_fwd.hpp>

#include "text/chat/budget.h"
#include "text/chat/value.h"

namespace sluice::jinja {

/// All strings untrusted. Raises on nesting beyond kMaxValueDepth and on integers beyond 64 bits.
Value from_json(const nlohmann::ordered_json& json, Budget& budget);

/// A `messages` array: as above, and `role` of each message is trusted where it is a role that chat formats know,
/// because templates build control tokens of it.
Value messages_from_json(const nlohmann::ordered_json& json, Budget& budget);

}  // namespace sluice::jinja
