#!/usr/bin/env python3
"""Writes tests/golden/quant/<TYPE>.bin (blocks of random bytes, with scales of sane size) and <TYPE>.f32 (their values),
dequantized by the `gguf` package (pip install gguf), for the weight codecs' tests; types of our own by their formula."""
import pathlib

import gguf
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
