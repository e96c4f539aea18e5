#pragma once
#include <map>
#include <string>

#include "base/result.h"

namespace sluice {

/// Shares of service by client; one that is not named has 1.
using ClientWeights = std::map<std::string, double>;
/// "alice=2,bob=0.5"; "" is none. Errors name the part and the form.
Result<ClientWeights> parse_client_weights(const std::string& text);

}  // namespace sluice
