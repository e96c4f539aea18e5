#pragma once
// The tile registers of AMX as a scalar model, after the Intel SDM (volume 1, chapter 18; volume 2, each instruction's
// page). Where the processor would fault, the program ends with the reason.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice {

class TileModel {
 public:
  /// LDTILECFG: 64 bytes. Clears all tiles.
  void load_config(const uint8_t* at) {
    *this = TileModel();
    if (at[0] == 0) return;
    must(at[0] == 1, "palette 1");
    must(at[1] == 0, "start row 0");
    for (int i = 2; i < 64; ++i)
      must(!(i < 16 || (i >= 32 && i < 48) || i >= 56) || at[i] == 0,
           "zero in the reserved bytes of the configuration");
    configured_ = true;
    for (int t = 0; t < kTiles; ++t) {
      uint16_t row_bytes;
      std::memcpy(&row_bytes, at + 16 + 2 * t, 2);
      rows_[t] = at[48 + t];
      row_bytes_[t] = row_bytes;
      must(rows_[t] <= kRows && row_bytes <= kRowBytes, "at most 16 rows of 64 bytes");
      must((rows_[t] == 0) == (row_bytes == 0), "rows and bytes, or neither");
    }
  }
  void release() { *this = TileModel(); }
  void zero(int t) {
    use(t);
    std::memset(data_[t], 0, sizeof(data_[t]));
  }
  void load(int t, const uint8_t* at, int64_t stride) {
    zero(t);
    for (int r = 0; r < rows_[t]; ++r) std::memcpy(data_[t][r], at + r * stride, row_bytes_[t]);
  }
  void store(int t, uint8_t* at, int64_t stride) const {
    use(t);
    for (int r = 0; r < rows_[t]; ++r) std::memcpy(at + r * stride, data_[t][r], row_bytes_[t]);
  }

  /// TDPB[SU][SU]D: c[m][n] += sum over four bytes of a[m][k] * b[k][n], of types A and B.
  template <class A, class B>
  void dot_bytes(int c, int a, int b) {
    use_product(c, a, b);
    for (int m = 0; m < rows_[c]; ++m)
      for (int n = 0; n < row_bytes_[c] / 4; ++n) {
        uint32_t sum = get<uint32_t>(c, m, n);  // wraps, as there
        for (int k = 0; k < rows_[b]; ++k)
          for (int i = 0; i < 4; ++i) sum += static_cast<uint32_t>(get<A>(a, m, 4 * k + i) * get<B>(b, k, 4 * n + i));
        std::memcpy(data_[c][m] + 4 * n, &sum, 4);
      }
  }

  /// TDPBF16PS: the even and the odd values of k in a sum each of fused multiply-adds, from zero; c += even + odd.
  /// Subnormal numbers count as zero, in and out.
  void dot_bf16(int c, int a, int b) {
    use_product(c, a, b);
    for (int m = 0; m < rows_[c]; ++m)
      for (int n = 0; n < row_bytes_[c] / 4; ++n) {
        float sum[2] = {0, 0};
        for (int k = 0; k < rows_[b]; ++k)
          for (int i = 0; i < 2; ++i)
            sum[i] = flushed(
                std::fma(from_bf16(get<uint16_t>(a, m, 2 * k + i)), from_bf16(get<uint16_t>(b, k, 2 * n + i)), sum[i]));
        const float total = flushed(flushed(get<float>(c, m, n)) + flushed(sum[0] + sum[1]));
        std::memcpy(data_[c][m] + 4 * n, &total, 4);
      }
  }

 private:
  static constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

  static void must(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "AMX faults here: the SDM asks for %s\n", what);
    std::abort();
  }
  void use(int t) const {
    must(configured_, "a configuration");
    must(rows_[t] > 0, "a tile that is configured");
  }
  void use_product(int c, int a, int b) const {
    use(c), use(a), use(b);
    must(c != a && c != b && a != b, "three different tiles");
    must(row_bytes_[c] % 4 == 0 && row_bytes_[a] % 4 == 0 && row_bytes_[b] % 4 == 0, "rows of whole dwords");
    must(rows_[c] == rows_[a] && row_bytes_[c] == row_bytes_[b] && row_bytes_[a] == 4 * rows_[b],
         "tiles of m x k and k x n for one of m x n");
  }
  template <class T>
  T get(int t, int row, int i) const {
    T v;
    std::memcpy(&v, data_[t][row] + i * static_cast<int>(sizeof(T)), sizeof(T));
    return v;
  }
  static float flushed(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
  static float from_bf16(uint16_t bits) {
    const uint32_t wide = uint32_t{bits} << 16;
    float x;
    std::memcpy(&x, &wide, 4);
    return flushed(x);
  }

  bool configured_ = false;
  int rows_[kTiles] = {}, row_bytes_[kTiles] = {};
  uint8_t data_[kTiles][kRows][kRowBytes] = {};
};

}  // namespace sluice
