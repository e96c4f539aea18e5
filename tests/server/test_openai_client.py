"""The official openai client, unchanged, against the server."""
import json
import time

import httpx
import openai
import pytest

STORY = "Once upon a time"
GREEDY = ", there was a little girl named Lily. She loved to play outside in the park."


def complete(server, **fields):
    return server.client().completions.create(**{"model": "stories260K", "prompt": STORY, "max_tokens": 30, "temperature": 0, **fields})


def test_blocking_completion_and_usage(server):
    answer = complete(server, max_tokens=20)
    assert answer.object == "text_completion" and answer.model == "stories260K"
    assert GREEDY.startswith(answer.choices[0].text) and answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 20, 25)


def test_streaming_equals_blocking(server):
    whole = complete(server, max_tokens=60).choices[0].text
    chunks = list(complete(server, max_tokens=60, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == whole
    assert chunks[-1].usage.completion_tokens == 60 and not chunks[-1].choices
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"


def test_chat_blocking_and_streaming(server):
    messages = [{"role": "system", "content": "Tell stories."}, {"role": "user", "content": STORY}]
    chat = server.client().chat.completions
    whole = chat.create(model="stories260K", messages=messages, max_tokens=25, temperature=0)
    assert whole.choices[0].message.role == "assistant" and whole.choices[0].message.content
    stream = list(chat.create(model="stories260K", messages=messages, max_tokens=25, temperature=0, stream=True))
    assert stream[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == whole.choices[0].message.content


def test_parallel_samples_differ_and_repeat_with_a_seed(server):
    first = complete(server, n=4, temperature=1.0, seed=7)
    again = complete(server, n=4, temperature=1.0, seed=7)
    texts = [c.text for c in sorted(first.choices, key=lambda c: c.index)]
    assert texts == [c.text for c in sorted(again.choices, key=lambda c: c.index)]
    assert len(set(texts)) == 4
    assert texts[0] == complete(server, temperature=1.0, seed=7).choices[0].text  # sample 0 does not depend on n
    assert first.usage.completion_tokens == 120


def test_logprobs(server):
    choice = complete(server, max_tokens=5, logprobs=3).choices[0]
    assert len(choice.logprobs.tokens) == 5 and "".join(choice.logprobs.tokens) == choice.text
    for token, logprob, top in zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, choice.logprobs.top_logprobs):
        assert logprob <= 0 and max(top.values()) == pytest.approx(logprob)  # greedy takes the likeliest
    content = server.client().chat.completions.create(
        model="stories260K", messages=[{"role": "user", "content": "Hi"}], max_tokens=4, logprobs=True, top_logprobs=2, temperature=0
    ).choices[0].logprobs.content
    assert len(content) == 4 and all(len(c.top_logprobs) == 2 and c.top_logprobs[0].logprob >= c.top_logprobs[1].logprob for c in content)


def test_echo_with_logprobs_scores_the_prompt_as_it_was_sampled(server):
    sampled = complete(server, max_tokens=40, logprobs=3).choices[0]
    told = complete(server, prompt=STORY + sampled.text, max_tokens=1, logprobs=3, echo=True)
    scored = told.choices[0].logprobs
    assert told.choices[0].text.startswith(STORY + sampled.text) and told.usage.prompt_tokens_details.cached_tokens == 0
    assert scored.token_logprobs[0] is None and scored.top_logprobs[0] is None and None not in scored.token_logprobs[1:]
    # The text's own tokens may be others than the sampled ones; where the last 20 are the same, so is every bit.
    n = len(scored.tokens) - 1
    before = sampled.logprobs
    assert scored.tokens[n - 20:n] == before.tokens[-20:]
    assert scored.token_logprobs[n - 20:n] == before.token_logprobs[-20:] and scored.top_logprobs[n - 20:n] == before.top_logprobs[-20:]
    for i, token in enumerate(scored.tokens):
        if i > 1:
            assert told.choices[0].text[scored.text_offset[i]:].startswith(token)
    alone = complete(server, prompt=STORY + sampled.text, max_tokens=0, logprobs=3, echo=True)
    assert alone.choices[0].text == STORY + sampled.text and alone.usage.completion_tokens == 0
    assert alone.choices[0].logprobs.token_logprobs == scored.token_logprobs[:-1]


def test_stop_strings_never_leak(server):
    whole = complete(server, max_tokens=60).choices[0].text
    stop = "Lily. She"
    for stream in (False, True):
        answer = complete(server, max_tokens=60, stop=[stop, "never"], stream=stream)
        choices = [c.choices[0] for c in answer if c.choices] if stream else [answer.choices[0]]
        assert "".join(c.text for c in choices) == whole[: whole.index(stop)]
        assert choices[-1].finish_reason == "stop"


def test_errors_have_openais_shape(server):
    with pytest.raises(openai.BadRequestError) as caught:
        complete(server, temperature=-1)
    assert caught.value.body["param"] == "temperature" and "-1" in caught.value.body["message"]
    with pytest.raises(openai.BadRequestError) as caught:
        complete(server, prompt="word " * 2000)
    message = caught.value.body["message"]
    assert "512" in message and any(int(w) > 2000 for w in message.replace(",", " ").split() if w.isdigit())
    with pytest.raises(openai.NotFoundError):
        complete(server, model="nobody")
    with pytest.raises(openai.BadRequestError) as caught:
        server.client().chat.completions.create(model="stories260K", messages=[{"role": "user", "content": "x"}], response_format={"type": "json_object"})
    assert "response_format" in caught.value.body["param"]


def test_unknown_fields_are_listed_not_refused(server):
    body = {"model": "stories260K", "prompt": STORY, "max_tokens": 2, "frobnicate": 3}
    answer = httpx.post(server.url + "/v1/completions", json=body)
    assert answer.status_code == 200 and "frobnicate" in answer.headers["x-sluice-warnings"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"prompt": 3.5}', b'{"prompt": "x", "max_tokens": "many"}', b'{"prompt": [[]]}',
                                  b'{"prompt": "x", "n": 1e99}', b"\xff\xfe", b"[" * 100000, b'{"prompt": "x", "logit_bias": {"a": 1}}',
                                  b'{"prompt": [99999999]}', b'{"prompt": "x", "stop": [1]}', b'{"messages": 1}'])
def test_bad_bodies_are_refused_with_a_reason(server, body):
    for path in ("/v1/completions", "/v1/chat/completions"):
        answer = httpx.post(server.url + path, content=body, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]


def test_models_tokenize_version_health(server):
    assert [m.id for m in server.client().models.list()] == ["stories260K"]
    tokens = httpx.post(server.url + "/tokenize", json={"prompt": STORY}).json()
    assert tokens["tokens"] == [1, 403, 407, 261, 378] and tokens["count"] == 5 and tokens["max_model_len"] == 512
    text = httpx.post(server.url + "/detokenize", json={"tokens": tokens["tokens"]}).json()["prompt"]
    assert STORY in text
    assert httpx.get(server.url + "/health").status_code == 200
    assert httpx.get(server.url + "/version").json()["version"]
    assert httpx.get(server.url + "/nothing").status_code == 404


def test_a_client_that_leaves_frees_its_request(server):
    before = server.metric("num_requests_running")
    with httpx.stream("POST", server.url + "/v1/completions", json={"prompt": STORY, "max_tokens": 500, "temperature": 0, "ignore_eos": True, "stream": True}) as answer:
        next(answer.iter_lines())
    for _ in range(200):
        if server.metric("num_requests_running") <= before and server.metric("num_requests_waiting") == 0:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the request goes on without its client")


def test_api_key(start):
    server = start("--api-key", "secret")
    with pytest.raises(openai.AuthenticationError):
        server.client("wrong").models.list()
    assert server.client("secret").models.list().data
    assert httpx.get(server.url + "/health").status_code == 200


def test_chat_without_a_template_says_what_to_do(start):
    with pytest.raises(openai.BadRequestError) as caught:
        start().client().chat.completions.create(model="stories260K", messages=[{"role": "user", "content": "x"}])
    assert "template" in caught.value.body["message"]
