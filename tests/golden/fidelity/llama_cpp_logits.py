"""What llama.cpp computes from a GGUF file, in float32 with a float32 cache: a second opinion on a model's form."""
import ctypes

import llama_cpp as lib
import numpy as np

from fidelity import core

_silent = lib.llama_log_callback(lambda *_: None)
lib.llama_log_set(_silent, ctypes.c_void_p(0))


def embeddings(path, golden, rank):
    """Hidden states of both texts and their pooled vectors, or the classifier's scores."""
    hidden = [run(path, ids, golden.get("hidden_shape", [0, 1])[1], pooling=0) for ids in golden["texts"]]
    pooled = [run(path, ids, 1 if rank else golden["embeddings_shape"][1], pooling=4 if rank else -1) for ids in golden["texts"]]
    if rank:
        return np.array([v[0] for v in pooled])[:, None], np.array([v[0] for v in pooled])
    pooled = np.stack(pooled)
    return np.concatenate(hidden), pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def logits(path, ids, vocab):
    return run(path, ids, vocab)


def run(path, ids, width, pooling=None):
    parameters = lib.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise RuntimeError("llama.cpp does not load the file")
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch = len(ids), len(ids), len(ids)
    settings.n_threads = settings.n_threads_batch = 1
    settings.type_k = settings.type_v = lib.GGML_TYPE_F32
    settings.flash_attn_type = 0
    if pooling is not None:
        settings.embeddings, settings.pooling_type = True, pooling
    context = lib.llama_init_from_model(model, settings)
    batch = lib.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    if lib.llama_decode(context, batch) != 0:
        raise RuntimeError("llama.cpp does not decode the ids")
    if pooling is None or pooling == 0:
        get = lib.llama_get_logits_ith if pooling is None else lib.llama_get_embeddings_ith
        out = np.stack([np.ctypeslib.as_array(get(context, i), (width,)).copy() for i in range(len(ids))])
    else:
        out = np.ctypeslib.as_array(lib.llama_get_embeddings_seq(context, 0), (width,)).copy()
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    lib.llama_model_free(model)
    return out


def compare(path, folder, golden, spec):
    """How far llama.cpp's logits are from the reference, or from those with the fault that it is known to have."""
    if "texts" in golden:
        return compare_encoder(path, folder, golden)
    reference = np.fromfile(folder / golden["logits"], "<f4").reshape(golden["shape"])
    out = {}
    if spec.llama_cpp_fault:
        out["llama_cpp_has_the_fault"] = spec.llama_cpp_fault
        model = core.load(folder, spec)
        fault = core.faults_of(spec, model.config)[spec.llama_cpp_fault]
        reference = core.logits_of(core.wrong_model(folder, spec, fault), golden["ids"]).numpy()
    try:
        found = np.abs(logits(path, golden["ids"], golden["shape"][1]) - reference).max()
        out["llama_cpp_differs_by"] = float(f"{found:.2g}")
    except RuntimeError as error:
        out["llama_cpp_says"] = str(error)
    return out


def compare_encoder(path, folder, golden):
    try:
        hidden, pooled = embeddings(path, golden, "scores" in golden)
    except RuntimeError as error:
        return {"llama_cpp_says": str(error)}
    if "scores" in golden:
        return {"llama_cpp_differs_by": float(f"{np.abs(pooled - golden['scores']).max():.2g}")}
    reference = np.fromfile(folder / golden["hidden"], "<f4").reshape(golden["hidden_shape"])
    vectors = np.fromfile(folder / golden["embeddings"], "<f4").reshape(golden["embeddings_shape"])
    return {"llama_cpp_differs_by": float(f"{np.abs(hidden - reference).max():.2g}"),
            "llama_cpp_embeddings_differ_by": float(f"{np.abs(pooled - vectors).max():.2g}")}
