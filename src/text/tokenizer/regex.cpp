#include "text/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "text/tokenizer/pattern_dialect.h"
#include "text/tokenizer/step_count.h"

namespace sluice {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr size_t kMinSteps = 20'000'000;
constexpr uint32_t kMaxHeapKib = 256 << 10;

int count_step(pcre2_callout_block*, void*) {
  ++tokenizer_steps;
  return 0;
}

struct MatchScratch {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  MatchScratch() {
    pcre2_set_heap_limit(context, kMaxHeapKib);
    pcre2_set_callout(context, count_step, nullptr);  // called where a pattern was compiled to be counted
  }
  ~MatchScratch() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Code() { pcre2_code_free(code); }
};

Result<Regex> Regex::compile(std::string_view pattern, bool counted) {
  if (pattern.size() > kMaxPatternBytes)
    return invalid_argument(fmt::format("pattern of {} bytes, at most {} allowed", pattern.size(), kMaxPatternBytes));
  const auto place = [&] { return fmt::format("pattern '{}'", pattern.substr(0, 200)); };
  const auto translated = to_pcre2(pattern);
  if (!translated.ok()) return translated.error().in(place());
  const std::string& source = *translated;
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_shared<Code>();
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | (counted ? PCRE2_AUTO_CALLOUT : 0u), &error, &offset, nullptr);
  if (code->code == nullptr) {
    char reason[160] = {};
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(reason), sizeof reason);
    return unsupported(fmt::format("{}: {} near offset {}", place(), reason, offset));
  }
  code->jit = pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE) == 0;  // without it the same matches are found, more slowly
  return Regex(std::move(code));
}

Regex::Outcome Regex::find(std::string_view subject, size_t from, Match& match) const {
  thread_local const MatchScratch scratch;
  // A sane pattern takes a few steps for every byte of one long run of text.
  pcre2_set_match_limit(scratch.context, static_cast<uint32_t>(std::min<size_t>(kMinSteps + 64 * subject.size(), UINT32_MAX)));
  const auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  int rc = PCRE2_ERROR_JIT_STACKLIMIT;
  if (code_->jit)
    rc = pcre2_jit_match(code_->code, text, subject.size(), from, PCRE2_NO_UTF_CHECK, scratch.data, scratch.context);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
    rc = pcre2_match(code_->code, text, subject.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data, scratch.context);
  if (rc == PCRE2_ERROR_NOMATCH) return Outcome::none;
  if (rc < 0) return Outcome::gave_up;
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(scratch.data);
  if (span[0] > span[1] || span[0] < from) return Outcome::gave_up;  // \K in a lookaround
  match = {span[0], span[1]};
  return Outcome::match;
}

}  // namespace sluice
