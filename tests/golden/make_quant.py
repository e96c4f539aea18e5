#!/usr/bin/env python3
"""Writes tests/golden/quant/<TYPE>.bin (blocks of random bytes, with scales of sane size) and <TYPE>.f32 (their values),
dequantized by the `gguf` package (pip install gguf ml_dtypes), for the weight codecs' tests; types of our own by their formula."""
import pathlib

import gguf
import ml_dtypes
import numpy as np

OUT = pathlib.Path(__file__).parent / "quant"
BLOCKS = {"F16": 256, "BF16": 256, "Q8_0": 8, "Q4_0": 8, "Q4_K": 4, "Q6_K": 4, "Q5_0": 8, "Q5_K": 4, "IQ4_NL": 8, "MXFP4": 8, "Q4_1": 8, "Q5_1": 8, "Q3_K": 4, "Q2_K": 4}
F16_AT = {"Q8_0": [0], "Q4_0": [0], "Q4_K": [0, 2], "Q6_K": [208], "Q5_0": [0], "Q5_K": [0, 2], "IQ4_NL": [0], "MXFP4": [], "Q4_1": [0, 2], "Q5_1": [0, 2], "Q3_K": [108], "Q2_K": [80, 82]}


def write(name, data, values):
    (OUT / f"{name}.bin").write_bytes(data.tobytes())
    (OUT / f"{name}.f32").write_bytes(values.astype(np.float32).tobytes())


rng = np.random.default_rng(20240)
for name, count in BLOCKS.items():
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    if name == "F16":
        data = (rng.standard_normal(count) * 10.0 ** rng.integers(-7, 4, count)).astype(np.float16).view(np.uint8)
    elif name == "BF16":
        data = (rng.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    else:
        data = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for at in F16_AT[name]:
            data[:, at:at + 2] = (rng.standard_normal((count, 1)) / 50).astype(np.float16).view(np.uint8)
    if name == "MXFP4":  # byte 0 is a power of two: those about 1, and the ends of the range
        data[:, 0] = [120, 122, 127, 130, 0, 1, 2, 255]
    values = gguf.dequantize(data.reshape(-1), kind).astype(np.float32)
    assert values.size == count * elems
    write(name, data, values)

# I8_G128: float16 d, then 128 int8, value = d * q
data = rng.integers(0, 256, (8, 130), dtype=np.uint8)
data[:, :2] = (rng.standard_normal((8, 1)) / 50).astype(np.float16).view(np.uint8)
write("I8_G128", data, data[:, :2].copy().view(np.float16).astype(np.float32) * data[:, 2:].view(np.int8).astype(np.float32))

# Later types, from another seed so that the files above stay as they are.
rng = np.random.default_rng(1016)
F16_AT = {"IQ4_XS": 0, "IQ3_S": 0, "IQ3_XXS": 0, "IQ2_S": 0, "IQ2_XS": 0, "IQ2_XXS": 0, "IQ1_S": 0, "IQ1_M": None, "TQ2_0": 64, "TQ1_0": 52, "NVFP4": None}
for name, at in F16_AT.items():
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    count = 4 if elems == 256 else 16
    data = rng.integers(0, 256, (count, size), dtype=np.uint8)
    d = (rng.standard_normal((count, 1)) / 50).astype(np.float16)
    if at is not None:
        data[:, at:at + 2] = d.view(np.uint8)
    if name == "IQ1_M":  # d stands in the top nibbles of the last four uint16
        scales = data[:, 48:].view(np.uint16) & 0xfff | (d.view(np.uint16) >> np.array([[0, 4, 8, 12]], dtype=np.uint16) & 15) << 12
        data[:, 48:] = scales.astype(np.uint16).view(np.uint8)
    if name == "NVFP4":
        data[0, :4] = [0, 127, 1, 126]
    write(name, data, gguf.dequantize(data.reshape(-1), kind))

doubles = rng.standard_normal(64) * 10.0 ** rng.integers(-50, 42, 64)
write("F64", doubles.view(np.uint8), doubles)
codes = np.arange(256, dtype=np.uint8)
write("F8_E4M3", codes, codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32))
codes = codes[(codes & 127) <= 124]  # without NaNs, which differ in bits that nobody reads
write("F8_E5M2", codes, codes.view(ml_dtypes.float8_e5m2).astype(np.float32))

# Groups: float32 scale, for the integers a zero, then the values. Each 32 of 4 bits: byte j holds elements j (low) and j + 16.
def scales(count):
    return (rng.standard_normal((count, 1)) / 50).astype(np.float32)


for bits in (4, 8):
    for group in (128, 32):
        count = 1024 // group
        scale, zero = scales(count), rng.integers(0, 1 << bits, (count, 1), dtype=np.uint8)
        q = rng.integers(0, 1 << bits, (count, group), dtype=np.uint8)
        q[0, :2], zero[0] = [0, (1 << bits) - 1], (1 << bits) - 1
        stored = q
        if bits == 4:
            halves = q.reshape(count, -1, 2, 16)
            stored = (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(count, -1)
        write(f"U{bits}_G{group}", np.concatenate([scale.view(np.uint8), zero, stored], axis=1), scale * (q.astype(np.float32) - zero.astype(np.float32)))
for group in (128, 32):
    scale, q = scales(1024 // group), rng.integers(0, 127, (1024 // group, group), dtype=np.uint8)
    q |= rng.integers(0, 2, q.shape, dtype=np.uint8) << 7
    write(f"F8_G{group}", np.concatenate([scale.view(np.uint8), q], axis=1), scale * q.view(ml_dtypes.float8_e4m3fn).astype(np.float32))
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
                -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
                0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], dtype=np.float32)
scale, q = scales(16), rng.integers(0, 16, (16, 64), dtype=np.uint8)
write("NF4_G64", np.concatenate([scale.view(np.uint8), q[:, 0::2] << 4 | q[:, 1::2]], axis=1), NF4[q] * scale)
