"""Embedding models and rerankers: /v1/embeddings by the official openai client, and /v1/rerank, against `sluice serve`. The models are those whose vectors
transformers computed (tests/data/families), with a tokenizer of a few letters beside them."""
import base64
import concurrent.futures
import json
import math
import shutil
import struct

import httpx
import openai
import pytest

from conftest import ROOT, sluice

FAMILIES = ROOT / "tests" / "data" / "families"
WORDS = ["yes", "no", "the", "cat", "sat"]


def tokenizer_json(begin, end, at=None):
    """Letters, a few words, and the special tokens `begin` and `end` (name, id) around a text; `at` fixes ids of words."""
    specials = [s for s in (begin, end) if s]
    ids = {name: id for name, id in specials} | {"[UNK]": 3} | (at or {})
    merges = []
    spellings = ["▁", *"abcdefghijklmnopqrstuvwxyz.,?!"]
    for word in WORDS:
        for length in range(2, len(word) + 1):
            merges.append([word[:length - 1], word[length - 1]])
            spellings.append(word[:length])
    taken = set(ids.values())
    free = iter(i for i in range(4, 83) if i not in taken)
    for spelling in spellings:
        if spelling not in ids:
            ids[spelling] = next(free)
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    if begin:
        single.insert(0, {"SpecialToken": {"id": begin[0], "type_id": 0}})
    if end:
        single.append({"SpecialToken": {"id": end[0], "type_id": 0}})
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": id, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                         for name, id in [*specials, ("[UNK]", 3)]],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                           {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": [],
                           "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in specials}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "Fuse"},
                                                     {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "[UNK]", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": True, "byte_fallback": False, "vocab": ids, "merges": merges},
    }


def word_piece_json():
    """BERT's kind: text is lowered, cut into words and signs, and each into the longest known pieces."""
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz.,?!", *("##" + c for c in "abcdefghijklmnopqrstuvwxyz"), *WORDS]
    around = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": id, "content": pieces[id], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                         for id in range(4)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": around, "pair": [],
                           "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in (("[CLS]", 1), ("[SEP]", 2))}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {piece: id for id, piece in enumerate(pieces)}},
    }


SPECIALS = {"modernbert": (("[CLS]", 1), ("[SEP]", 2)), "xlm_roberta_reranker": (("<s>", 0), ("</s>", 2)),
            "roberta": (("<s>", 0), ("</s>", 2)), "qwen3_embedding": (None, ("<|end|>", 2)), "qwen3_reranker": (None, None)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    def make(name):
        folder = tmp_path_factory.mktemp("encoders") / name
        shutil.copytree(FAMILIES / name, folder)
        at = None
        if name == "qwen3_reranker":  # its ids of the answers, and room for the prompt, which is letters here
            at = {"yes": 17, "no": 40}
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 512}))
        tokenizer = word_piece_json() if name == "bert" else tokenizer_json(*SPECIALS[name], at)
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        return folder
    return make


@pytest.fixture(scope="module")
def serve(models):
    from conftest import Server
    running = {}

    def get(name, *flags):
        if (name, flags) not in running:
            running[name, flags] = Server("--matmul-tuning", "off", *flags, model=models(name))
        return running[name, flags]

    yield get
    for server in running.values():
        assert server.stop() == 0


@pytest.fixture(scope="module")
def bert(serve):
    return serve("bert")


def embed(server, given, **fields):
    return server.client().embeddings.create(model="", input=given, **fields)


def vectors(answer):
    return [one.embedding for one in answer.data]


def bits(server, given, **fields):
    """The vectors as the bytes of their float32."""
    answer = httpx.post(server.url + "/v1/embeddings", json={"input": given, "encoding_format": "base64", **fields})
    assert answer.status_code == 200, answer.text
    return [base64.b64decode(one["embedding"]) for one in answer.json()["data"]]


def refusal(server, path="/v1/embeddings", **fields):
    answer = httpx.post(server.url + path, json=fields)
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["error"]


def rerank(server, **fields):
    answer = httpx.post(server.url + fields.pop("path", "/v1/rerank"), json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tokens(server, text, **fields):
    return httpx.post(server.url + "/tokenize", json={"prompt": text, **fields}).json()["tokens"]


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "qwen3_embedding"])
def test_token_ids_give_the_vectors_of_the_reference(serve, name):
    golden = json.loads((FAMILIES / name / "golden.json").read_text())
    raw = (FAMILIES / name / "golden.embeddings.f32").read_bytes()
    expected = struct.unpack(f"<{len(raw) // 4}f", raw)
    answer = embed(serve(name, "--isa", "ref"), golden["texts"])  # the client asks for base64, and decodes it
    given = [value for vector in vectors(answer) for value in vector]
    assert max(abs(a - b) for a, b in zip(given, expected, strict=True)) < 1e-4
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(map(len, golden["texts"]))
    assert [one.index for one in answer.data] == [0, 1] and answer.model == name and answer.object == "list"


def test_text_and_its_tokens_are_one(bert):
    ids = tokens(bert, "the cat sat")
    assert ids[0] == 1 and ids[-1] == 2 and len(ids) == 5 and ids == tokens(bert, "The CAT sat")
    assert bits(bert, "the cat sat") == bits(bert, [ids]) == bits(bert, ids)
    assert bits(bert, "the cat sat", add_special_tokens=False) == bits(bert, [ids[1:-1]])


def test_numbers_are_the_bytes_of_base64(bert):
    as_numbers = vectors(embed(bert, "the cat", encoding_format="float"))[0]
    assert struct.pack("<36f", *as_numbers) == bits(bert, "the cat")[0]
    assert math.isclose(sum(v * v for v in as_numbers), 1, rel_tol=1e-5)


def test_a_batch_gives_the_bits_of_each_alone(bert):
    texts = ["the cat sat", "no", "", "a much longer text, of many letters", "yes! the cat?", "the cat sat"]
    together = bits(bert, texts)
    assert together == [bits(bert, text)[0] for text in texts]
    assert len(set(together)) == 5  # of six, two of which are the same


def test_concurrent_requests_get_their_own(bert):
    texts = [f"{'the cat sat ' * (i % 4)}{chr(97 + i % 26)}" for i in range(64)]
    alone = [bits(bert, text)[0] for text in texts]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda text: bits(bert, text)[0], texts)) == alone


def test_threads_change_nothing(serve, bert):
    assert bits(serve("bert", "--threads", "3"), ["the cat sat", "no"]) == bits(bert, ["the cat sat", "no"])


def test_dimensions_are_the_first_ones_to_length_one_again(bert):
    whole = vectors(embed(bert, "the cat"))[0]
    answer = httpx.post(bert.url + "/v1/embeddings", json={"input": "the cat", "dimensions": 8})
    short = answer.json()["data"][0]["embedding"]
    length = math.sqrt(sum(v * v for v in whole[:8]))
    assert short == pytest.approx([v / length for v in whole[:8]], abs=1e-6)
    assert "first 8 of 36" in answer.headers["X-Sluice-Note"]
    assert vectors(embed(bert, "the cat", dimensions=36))[0] == whole
    status, error = refusal(bert, input="the cat", dimensions=37)
    assert status == 400 and error["param"] == "dimensions" and "36" in error["message"]


def test_long_texts_are_an_error_unless_they_may_be_cut(bert):
    text = "cat " * 80
    ids = tokens(bert, text)
    assert len(ids) == 82
    with pytest.raises(openai.BadRequestError) as caught:
        embed(bert, ["no", text])
    assert caught.value.code == "context_length_exceeded" and "input[1]" in caught.value.message and "64" in caught.value.message
    assert bits(bert, text, truncate_prompt_tokens=-1) == bits(bert, text, truncate=True) == bits(bert, [ids[:63] + [2]])
    assert bits(bert, text, truncate_prompt_tokens=10) == bits(bert, [ids[:9] + [2]])
    assert refusal(bert, input=text, truncate_prompt_tokens=65)[1]["param"] == "truncate_prompt_tokens"
    assert refusal(bert, input=text, truncate_prompt_tokens=0)[1]["param"] == "truncate_prompt_tokens"


def test_what_is_wrong_is_said(bert):
    for fields, param, words in [
            ({}, "input", "missing"), ({"input": []}, "input", "array"), ({"input": 5}, "input", "string"), ({"input": ["a", 5]}, "input[1]", "string"),
            ({"input": [1, 83]}, "input", "83"), ({"input": [[1], [-1]]}, "input[1][0]", "token id"), ({"input": [[]]}, "input", "empty"),
            ({"input": "a", "encoding_format": "int8"}, "encoding_format", "base64"), ({"input": "a", "dimensions": 0}, "dimensions", "1")]:
        status, error = refusal(bert, **fields)
        assert status == 400 and error["param"] == param and words in error["message"], (fields, error)
    assert refusal(bert, input="a", model="gpt")[0] == 404
    assert httpx.post(bert.url + "/v1/embeddings", json={"input": "a", "fancy": 1}).headers["X-Sluice-Warnings"] == "fancy"


def test_what_a_model_is_not_for_is_refused_in_words(bert, server, serve):
    assert "/v1/embeddings" in refusal(bert, "/v1/completions", prompt="a")[1]["message"]
    assert "/v1/embeddings" in refusal(bert, "/v1/chat/completions", messages=[])[1]["message"]
    assert "/v1/embeddings" in refusal(bert, "/v1/rerank", query="a", documents=["b"])[1]["message"]
    assert "generates text" in refusal(server, input="a")[1]["message"]
    assert "generates text" in refusal(server, "/rerank", query="a", documents=["b"])[1]["message"]
    assert "/v1/rerank" in refusal(serve("xlm_roberta_reranker"), input="a")[1]["message"]


def test_models_and_metrics(bert):
    before = bert.metric("prompt_tokens"), bert.metric("texts"), bert.metric("request_success")
    answer = embed(bert, ["the cat", "no"])
    after = bert.metric("prompt_tokens"), bert.metric("texts"), bert.metric("request_success")
    assert [b - a for a, b in zip(before, after)] == [answer.usage.total_tokens, 2, 1]
    model = httpx.get(bert.url + "/v1/models").json()["data"][0]
    assert model["id"] == "bert" and model["max_model_len"] == 64 and model["meta"]["n_vocab"] <= 83
    assert httpx.get(bert.url + "/health").status_code == 200


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_reranking(serve, path):
    reranker = serve("xlm_roberta_reranker")
    documents = ["the cat sat", "no", {"text": "yes, yes"}, "zebra"]
    whole = rerank(reranker, path=path, query="the cat", documents=documents)
    scores = [result["relevance_score"] for result in whole["results"]]
    assert sorted(r["index"] for r in whole["results"]) == [0, 1, 2, 3] and scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores) and len(set(scores)) == 4
    # <s> query </s></s> document </s>
    plain = [len(tokens(reranker, text, add_special_tokens=False)) for text in ("the cat sat", "no", "yes, yes", "zebra")]
    assert whole["usage"]["total_tokens"] == sum(plain) + 4 * (len(tokens(reranker, "the cat", add_special_tokens=False)) + 4)
    best = rerank(reranker, path=path, query="the cat", documents=documents, top_n=2, return_documents=True)["results"]
    assert [r["index"] for r in best] == [r["index"] for r in whole["results"][:2]]
    assert best[0]["document"]["text"] == (documents[best[0]["index"]]["text"] if best[0]["index"] == 2 else documents[best[0]["index"]])


def test_a_score_is_its_pairs_own(serve):
    reranker = serve("xlm_roberta_reranker")
    documents = ["the cat sat", "no", "a longer one than the others"]
    together = {r["index"]: r["relevance_score"] for r in rerank(reranker, query="the cat", documents=documents)["results"]}
    raw = {r["index"]: r["relevance_score"] for r in rerank(reranker, query="the cat", documents=documents, raw_scores=True)["results"]}
    for i, document in enumerate(documents):
        assert rerank(reranker, query="the cat", documents=[document])["results"][0]["relevance_score"] == together[i]
        assert together[i] == pytest.approx(1 / (1 + math.exp(-raw[i])), abs=1e-12)
    assert rerank(reranker, query="no", documents=documents)["results"][0]["relevance_score"] not in together.values()


def test_reranking_long_documents(serve):
    reranker = serve("xlm_roberta_reranker")
    status, error = refusal(reranker, "/v1/rerank", query="the cat", documents=["no", "cat " * 40])
    assert status == 400 and error["code"] == "context_length_exceeded" and "documents[1]" in error["message"]
    cut = rerank(reranker, query="the cat", documents=["cat " * 40], truncate_prompt_tokens=-1)
    assert cut["usage"]["total_tokens"] == 64
    assert refusal(reranker, "/v1/rerank", query="cat " * 40, documents=["a"], truncate=True)[1]["param"] == "query"
    for fields, param in [({"documents": ["a"]}, "query"), ({"query": "a"}, "documents"), ({"query": "a", "documents": []}, "documents"),
                          ({"query": "a", "documents": [1]}, "documents[0]"), ({"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
                          ({"query": "a", "documents": ["b"], "instruction": "c"}, "instruction")]:
        assert refusal(reranker, "/v1/rerank", **fields)[1]["param"] == param, fields


def test_a_causal_model_answers_yes_or_no(serve):
    reranker = serve("qwen3_reranker", "--task", "rerank")
    documents = ["cat", "no", "a zebra"]
    scores = {r["index"]: r["relevance_score"] for r in rerank(reranker, query="the cat", documents=documents)["results"]}
    assert len(set(scores.values())) == 3 and all(0 < s < 1 for s in scores.values())
    assert rerank(reranker, query="the cat", documents=["no"])["results"][0]["relevance_score"] == scores[1]
    assert rerank(reranker, query="the cat", documents=["no"], instruction="cat")["results"][0]["relevance_score"] != scores[1]
    cut = rerank(reranker, query="a", documents=["cat " * 300], truncate=True)
    assert cut["usage"]["total_tokens"] == 512


def test_decoders_generate_or_embed_as_the_flags_say(serve):
    embedding = serve("qwen3_embedding")
    generating = serve("qwen3_embedding", "--task", "generate")
    assert "/v1/embeddings" in refusal(embedding, "/v1/completions", prompt="a")[1]["message"]
    assert generating.client().completions.create(model="", prompt="the cat", max_tokens=3, temperature=0).usage.completion_tokens >= 1
    mean = serve("qwen3_embedding", "--pooling", "mean")
    assert bits(mean, "the cat") != bits(embedding, "the cat")


def test_commands_say_what_an_encoder_is_for(models):
    folder = models("bert")
    run = sluice("run", str(folder), "-p", "a")
    assert run.returncode != 0 and "/v1/embeddings" in run.stderr
    shown = sluice("inspect", str(folder)).stdout
    assert "embeddings of 36 values" in shown and "mean of all tokens" in shown
    assert "scores of a query and a document" in sluice("inspect", str(models("xlm_roberta_reranker"))).stdout
    for flags, words in [(("--task", "rerank"), "no classifier"), (("--task", "sing"), "must be auto"), (("--pooling", "max"), "cls, mean or last"),
                         (("--max-model-len", "65"), "64 positions")]:
        served = sluice("serve", str(folder), "--port", "0", *flags)
        assert served.returncode != 0 and words in served.stderr, (flags, served.stderr)


def test_a_bare_encoder_says_what_it_assumes(serve, models, start):
    folder = models("bert")
    (folder / "modules.json").unlink()
    bare = start("--matmul-tuning", "off", model=folder)
    assert any("do not say what stands for a text" in line for line in bare.log)
    assert bits(bare, "the cat") == bits(serve("bert"), "the cat")  # whose files say the same


def test_flags_that_are_for_generating_are_named(serve, bert):
    given = ("--chat-template", "chatml", "--kv-cache-dtype", "int8", "--block-size", "32", "--no-enable-prefix-caching", "--enable-chunk-reuse")
    used = ("--max-num-batched-tokens", "64", "--max-waiting", "9", "--task", "embed", "--host", "127.0.0.1", "--drain-timeout", "5", "--log-level", "info")
    server = serve("bert", *given, *used)
    said = [line.split("not used: ")[1] for line in server.log if "not used: " in line]
    names = [flag for flag in given if flag.startswith("--")]
    assert len(said) == 1 and set(said[0].split(";")[0].split(", ")) == {name.replace("--no-", "--") for name in names}, server.log
    assert not [line for line in bert.log if "not used: " in line]
    assert bits(server, "the cat") == bits(bert, "the cat")
