#include "model/layers/tensor_table.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <set>

#include "base/log.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

std::string filled(std::string text, std::string_view hole, int number) {
  if (const size_t at = text.find(hole); at != std::string::npos) text.replace(at, hole.size(), std::to_string(number));
  return text;
}

// "attn_q" and ".weight"; a key without a suffix is all base.
std::pair<std::string_view, std::string_view> split_suffix(std::string_view key) {
  for (const std::string_view suffix : {".weight", ".bias", ".scale"})
    if (key.ends_with(suffix)) return {key.substr(0, key.size() - suffix.size()), suffix};
  return {key, {}};
}

std::optional<Place> place_of(const std::map<std::string, Place, std::less<>>& places, std::string_view key) {
  if (const auto at = places.find(key); at != places.end()) return at->second;
  const auto [base, suffix] = split_suffix(key);
  const auto at = places.find(base);
  if (suffix.empty() || at == places.end()) return {};
  Place place = at->second;
  place.name += suffix;
  return place;
}

constexpr std::string_view kScaleEnding = ".scale";

// Buffers that old checkpoints saved.
bool is_harmless(std::string_view name) {
  for (const std::string_view end : {"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias"})
    if (name.ends_with(end)) return true;
  return false;
}

}  // namespace

TensorNames llama_names() {
  const auto layer = [](std::string_view rest) { return Place{"model.layers.{}." + std::string(rest)}; };
  TensorNames names;
  names.hf("token_embd", {"model.embed_tokens"})
      .hf("attn_norm", layer("input_layernorm"))
      .hf("attn_q", layer("self_attn.q_proj"))
      .hf("attn_k", layer("self_attn.k_proj"))
      .hf("attn_v", layer("self_attn.v_proj"))
      .hf("attn_output", layer("self_attn.o_proj"))
      .hf("attn_q_norm", layer("self_attn.q_norm"))
      .hf("attn_k_norm", layer("self_attn.k_norm"))
      .hf("ffn_norm", layer("post_attention_layernorm"))
      .hf("ffn_gate", layer("mlp.gate_proj"))
      .hf("ffn_up", layer("mlp.up_proj"))
      .hf("ffn_down", layer("mlp.down_proj"))
      .hf("output_norm", {"model.norm"})
      .hf("output", {"lm_head"});
  return names;
}

TensorTable::TensorTable(const TensorNames& names, const TensorSource& source)
    : names_(&names), source_(&source), gguf_(source.metadata().kind() == MetadataKind::gguf) {
  std::set<std::string> prefixes;
  if (gguf_) {
    prefixes.insert("blk.");
  } else {
    const auto embedding = place_of(names.huggingface, "token_embd.weight");
    const auto there = [&](const std::string& name) { return source.find(name) != nullptr; };
    if (embedding && !there(embedding->name))
      for (const std::string& prefix : names.optional_prefixes) {
        const size_t first = embedding->name.find('.') + 1;  // "model." of "model.embed_tokens"
        if (there(prefix + embedding->name)) {
          add_prefix_ = prefix;
        } else if (there(prefix + embedding->name.substr(first))) {
          add_prefix_ = prefix, drop_prefix_ = embedding->name.substr(0, first);
        } else if (embedding->name.starts_with(prefix) && there(embedding->name.substr(prefix.size()))) {
          drop_prefix_ = prefix;
        }
      }
    for (const auto& [key, place] : names.huggingface)
      if (const size_t at = place.name.find("{}"); at != std::string::npos) prefixes.insert(with_prefix(place.name.substr(0, at)));
  }
  layer_prefixes_.assign(prefixes.begin(), prefixes.end());
}

std::string TensorTable::with_prefix(const std::string& name) const {
  if (drop_prefix_.empty()) return add_prefix_ + name;
  return name.starts_with(drop_prefix_) ? add_prefix_ + name.substr(drop_prefix_.size()) : name;
}

WeightPiece TensorTable::resolve(std::string_view key, const Shape& shape, bool gguf, int expert, int experts) {
  std::optional<Place> place = place_of(gguf ? names_->gguf : names_->huggingface, key);
  if (!place) {
    if (!gguf) return {};
    place = Place{std::string(key)};
  }
  if (place->name.empty()) return {};
  if (!gguf && key.ends_with(kScaleEnding)) place->name.replace(place->name.size() - kScaleEnding.size(), kScaleEnding.size(), ".weight_scale");
  if (gguf && layer_ >= 0) place->name = "blk.{}." + place->name;
  if (!gguf) place->name = with_prefix(place->name);
  WeightPiece piece;
  const bool stacked = expert >= 0 && place->per_expert == 0 && place->name.find("{e}") == std::string::npos;
  piece.name = filled(filled(place->name, "{}", layer_), "{e}", expert);
  piece.rows = place->rows;
  piece.of_stack = stacked ? expert : 0;
  piece.transposed = place->transposed;
  piece.first_column = place->first_column;
  if (place->per_expert != 0) (place->transposed ? piece.first_column : piece.rows.first) += expert * place->per_expert;
  piece.plus = place->plus;
  piece.log_of_minus = place->log_of_minus;
  piece.rest_unread = place->rest_unread;
  const int64_t rows = place->of_rows != 0 ? place->of_rows : shape[0];
  if (place->shape.rank > 0) {
    piece.shape = place->shape;
  } else if (shape.rank == 1 && stacked) {  // one row of several
    piece.shape = {experts, rows};
    piece.of_stack = 0;
    piece.rows.first += expert * rows;
  } else if (shape.rank == 1 && expert < 0 && experts > 0) {  // of each: the map goes over them all
    piece.shape = {experts, place->of_rows != 0 ? place->of_rows : shape[0] / experts};
  } else if (shape.rank == 1) {
    piece.shape = {rows};
  } else if (place->transposed) {
    const int64_t columns = place->of_columns != 0 ? place->of_columns : shape[1];
    piece.shape = stacked ? Shape{experts, columns, rows} : Shape{columns, rows};
  } else {
    piece.shape = stacked ? Shape{experts, rows, shape[1]} : Shape{rows, shape[1]};
  }
  return piece;
}

void TensorTable::declare(Destination to, std::string_view key, Shape shape, Presence presence, std::string_view role,
                          int expert, int experts) {
  if (presence == Presence::absent) return;
  TableRow row;
  row.to = to, row.key = key, row.layer = layer_, row.shape = shape, row.presence = presence, row.role = role;
  row.in_gguf = resolve(key, shape, true, expert, experts);
  row.in_huggingface = resolve(key, shape, false, expert, experts);
  row.piece = gguf_ ? row.in_gguf : row.in_huggingface;
  if (row.piece.name.empty()) {
    CHECK(presence == Presence::if_present, "{} has no name in this kind of file", key);
    return;
  }
  rows_.push_back(std::move(row));
}

void TensorTable::matrix(std::string_view key, PackedMatrix* to, int64_t n, int64_t k, std::string_view role, Presence presence) {
  declare(to, key, {n, k}, presence, role, -1, 0);
  if (names_->scales && presence != Presence::absent)
    declare(&to->scale, std::string(split_suffix(key).first) + std::string(kScaleEnding), {1}, Presence::if_present, {}, -1, 0);
}
void TensorTable::vector(std::string_view key, const float** to, int64_t n, Presence presence) {
  declare(to, key, {n}, presence, {}, -1, 0);
}
void TensorTable::table(std::string_view key, TensorView* to, int64_t rows, int64_t k, Presence presence) {
  declare(to, key, {rows, k}, presence, {}, -1, 0);
}
void TensorTable::experts(std::string_view key, ExpertMatrices* to, int count, int64_t n, int64_t k, std::string_view role) {
  // A file without the first one has none of however many are claimed.
  const WeightPiece first = resolve(key, {n, k}, gguf_, 0, count);
  const int there = first.name.empty() || source_->find(first.name) != nullptr ? count : 1;
  to->resize(static_cast<size_t>(there));
  for (int e = 0; e < there; ++e) declare(&(*to)[static_cast<size_t>(e)], key, {n, k}, Presence::required, role, e, count);
}
void TensorTable::expert_vectors(std::string_view key, const float** to, int count, int64_t n, Presence presence) {
  declare(to, key, {count * n}, presence, {}, -1, count);
}
void TensorTable::vectors(std::string_view key, std::vector<const float*>* to, int count, int64_t n) {
  to->resize(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) declare(&(*to)[static_cast<size_t>(i)], key, {n}, Presence::required, {}, i, count);
}
void TensorTable::ignore(std::string_view key) {
  const WeightPiece piece = resolve(key, {1}, gguf_, -1, 0);
  if (!piece.name.empty()) ignored_.push_back(piece.name);
}

bool TensorTable::in_a_layer(std::string_view name, int64_t* layer) const {
  for (const std::string& prefix : layer_prefixes_) {
    if (!name.starts_with(prefix)) continue;
    const char* const end_of_name = name.data() + name.size();
    const auto [end, error] = std::from_chars(name.data() + prefix.size(), end_of_name, *layer);
    if (error == std::errc::result_out_of_range) *layer = std::numeric_limits<int64_t>::max();
    if (error == std::errc::result_out_of_range || (error == std::errc() && end != end_of_name && *end == '.')) return true;
  }
  return false;
}

// A bias of zeros, as early GPTQ files have them, changes nothing.
bool TensorTable::is_zero_bias(const TensorInfo& info) const {
  constexpr int64_t kMost = 1 << 20;
  const WeightFormat* format = weight_format(info.dtype);
  if (!info.name.ends_with(".bias") || info.shape.rank != 1 || format == nullptr || info.packed || dtype_info(info.dtype).block_elems != 1 || info.shape[0] > kMost)
    return false;
  const TensorView view = source_->view(info);
  if (view.data == nullptr) return false;  // of a directory that is not written yet
  std::vector<float> values(static_cast<size_t>(info.shape[0]));
  format->decode(view.data, values.data(), info.shape[0]);
  return std::ranges::all_of(values, [](float v) { return v == 0; });
}

std::vector<const TensorInfo*> TensorTable::unread() const {
  std::set<std::string_view> read(ignored_.begin(), ignored_.end());
  for (const TableRow& row : rows_) read.insert(row.piece.name);
  std::vector<const TensorInfo*> out;
  for (const TensorInfo& info : source_->tensors())
    if (!read.contains(info.name) && !is_harmless(info.name) && !is_zero_bias(info)) out.push_back(&info);
  return out;
}

Status TensorTable::check(int layers, std::string_view family, int ignored) {
  // An optional row counts when any layer has it, and is then required in all.
  std::set<std::string, std::less<>> there;
  for (const TableRow& row : rows_)
    if (row.presence == Presence::if_present && source_->find(row.piece.name) != nullptr) there.insert(row.key);
  std::erase_if(rows_, [&](const TableRow& row) { return row.presence == Presence::if_present && !there.contains(row.key); });

  const Metadata& metadata = source_->metadata();
  const TableRow* missing = nullptr;
  std::set<std::string_view> missing_names;
  for (const TableRow& row : rows_) {
    const TensorInfo* info = source_->find(row.piece.name);
    if (info == nullptr) {
      if (missing == nullptr) missing = &row;
      missing_names.insert(row.piece.name);
    } else if (!fits(info->shape, row.piece.shape)) {
      return corrupt_data(fmt::format("{}: tensor {} has shape {}, but the model's configuration asks for {}",
                                      source_->files()[info->file_index], row.piece.name, info->shape.text(), row.piece.shape.text()));
    }
  }
  // Matrices of one part are multiplied together.
  for (size_t i = 1; i < rows_.size(); ++i) {
    const TableRow &one = rows_[i - 1], &other = rows_[i];
    if (one.key != other.key || one.layer != other.layer || one.shape.rank != 2) continue;
    const TensorInfo *a = source_->find(one.piece.name), *b = source_->find(other.piece.name);
    if (a != nullptr && b != nullptr && a->dtype != b->dtype)
      return unsupported(fmt::format("{}: tensor {} is of type {}, but {} of {}: experts of one layer have to be of one type",
                                     source_->files()[b->file_index], other.piece.name, dtype_name(b->dtype), one.piece.name, dtype_name(a->dtype)));
  }
  if (missing != nullptr)
    return not_found(fmt::format("{}: tensor {} {} is missing{}", metadata.origin(), missing->piece.name, missing->piece.shape.text(),
                                 missing_names.size() > 1 ? fmt::format(", and {} more", missing_names.size() - 1) : ""));
  // A file with more layers than its configuration counts would run as a model cut short.
  for (const TensorInfo& info : source_->tensors()) {
    int64_t layer = 0;
    if (in_a_layer(info.name, &layer) && layer >= layers + ignored)
      return corrupt_data(fmt::format("{}: tensor {} is of layer {}, but {} is {}, so that the last is {}",
                                      source_->files()[info.file_index], info.name, layer,
                                      gguf_ ? metadata.architecture() + ".block_count" : "num_hidden_layers", layers, layers - 1));
  }
  // One that stands in a layer and that nobody reads (a bias, a norm, a sink) is a part of what the layer computes:
  // without it the model would be another. What stands outside the layers (a second head, an image encoder) changes
  // nothing that is computed here, and is only reported.
  for (const TensorInfo* info : unread()) {
    int64_t layer = 0;
    if (in_a_layer(info->name, &layer) && layer < layers)
      return unsupported(fmt::format("{}: tensor {} stands in a layer, but the {} family has no such tensor: without it "
                                     "the layer would compute something else",
                                     source_->files()[info->file_index], info->name, family));
  }
  return {};
}

const TableRow* TensorTable::find(std::string_view key) const {
  const auto at = std::ranges::find(rows_, key, &TableRow::key);
  return at == rows_.end() ? nullptr : &*at;
}
bool TensorTable::has(std::string_view key) const { return find(key) != nullptr; }

int64_t TensorTable::parameters() const {
  int64_t sum = 0;
  for (const TableRow& row : rows_) sum += row.shape.elems();
  return sum;
}

size_t TensorTable::packed_bytes(const TableRow& row) const {
  DType dtype = source_->find(row.piece.name)->dtype;
  if (row.piece.transposed && dtype_info(dtype).block_elems != 1) dtype = DType::f32;  // as piece_rows() gives it
  return Ops::matmul_supports(dtype) ? Ops::packed_bytes(dtype, row.shape[0], row.shape[1]) : 0;
}

size_t TensorTable::loaded_bytes() const {
  size_t bytes = 0;
  for (const TableRow& row : rows_) {
    if (std::holds_alternative<PackedMatrix*>(row.to)) bytes += packed_bytes(row);
    else if (!std::holds_alternative<TensorView*>(row.to)) bytes += static_cast<size_t>(row.shape.elems()) * sizeof(float);
  }
  return bytes;
}

void TensorTable::load_as_matrix(std::string_view key, PackedMatrix* to, std::string_view role) {
  for (TableRow& row : rows_)
    if (row.key == key) row.to = to, row.role = role;
}

Status TensorTable::load(WeightStore& store) const {
  for (const TableRow& row : rows_) {
    if (auto* const* matrix = std::get_if<PackedMatrix*>(&row.to)) {
      SLUICE_TRY(**matrix, store.matrix(row.piece, row.shape[0], row.shape[1]));
      (*matrix)->role = row.role;
    } else if (const float*** vector = const_cast<const float***>(std::get_if<const float**>(&row.to))) {
      SLUICE_TRY(const std::span<const float> values, store.vector(row.piece, row.shape[0]));
      **vector = values.data();
    } else if (float* const* scale = std::get_if<float*>(&row.to)) {
      SLUICE_TRY(const std::span<const float> values, store.vector(row.piece, 1));
      **scale = values.front();
    } else {
      SLUICE_TRY(*std::get<TensorView*>(row.to), store.table(row.piece, row.shape[0], row.shape[1]));
    }
  }
  return {};
}

void TensorTable::warn_of_unread(std::string_view family) const {
  const std::vector<const TensorInfo*> left = unread();
  if (left.empty()) return;
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(left.size(), 5); ++i) list += (i == 0 ? "" : ", ") + left[i]->name;
  log_warn("{}: {} tensor{} not used by the {} family: {}{}", source_->metadata().origin(), left.size(),
           left.size() == 1 ? " is" : "s are", family, list, left.size() > 5 ? ", ..." : "");
}

}  // namespace sluice
