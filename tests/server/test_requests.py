"""Requests that the server refuses, or takes with a remark."""
import json

import httpx
from conftest import ROOT

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def post(server, path, body):
    return httpx.post(server.url + path, json=body, timeout=60)


def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenized(server):
    for path, body in [("/v1/completions", {"prompt": "x" * 4_000_000}),
                       ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 4_000_000}]})]:
        error = post(server, path, body).json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert "prompt has 4000" in error["message"] and "bytes, but the 512 tokens" in error["message"]
    assert post(server, "/v1/completions", {"prompt": "x" * 1_000}).json()["error"]["message"].startswith("the prompt has 1002 tokens")


def test_a_model_may_bring_a_template_of_its_own_for_tools(tmp_path, start):
    for file in (ROOT / "models/sluice-tiny-2m").iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = tmp_path / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    config.unlink()
    config.write_text(json.dumps(settings | {"chat_template": [{"name": "default", "template": "plain"}]}))
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates/tool_use.jinja").write_text("{{ tools[0].function.name }}")
    server = start(model=tmp_path)
    message = {"messages": [{"role": "user", "content": "x"}]}

    def rendered(body):
        return post(server, "/detokenize", {"tokens": post(server, "/tokenize", body).json()["tokens"]}).json()["prompt"].strip()

    assert rendered(message) == "plain"
    assert rendered(message | {"tools": [TOOL]}) == "look"


def test_what_the_template_does_not_read_is_named(server):
    answer = post(server, "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1,
                                                   "chat_template_kwargs": {"enable_thinking": False}, "documents": [{"text": "d"}],
                                                   "response_format": {"type": "text", "strict": True}})
    assert answer.status_code == 200
    assert answer.headers["x-sluice-warnings"].split(", ") == [
        "response_format.strict", "chat_template_kwargs.enable_thinking:unread-by-the-template", "documents:unread-by-the-template"]


def test_beams_come_best_first_and_are_not_streamed(server):
    body = {"prompt": "One day", "max_tokens": 12, "ignore_eos": True, "logprobs": 0}

    def choices(**fields):
        answer = post(server, "/v1/completions", body | fields).json()
        assert "choices" in answer, answer
        return answer["choices"]

    greedy = choices(temperature=0)[0]
    assert choices(use_beam_search=True)[0]["text"] == greedy["text"]
    best = choices(use_beam_search=True, n=3, best_of=6)
    scores = [sum(choice["logprobs"]["token_logprobs"]) for choice in best]
    assert len(best) == 3 and len({choice["text"] for choice in best}) == 3
    assert scores == sorted(scores, reverse=True) and scores[0] >= sum(greedy["logprobs"]["token_logprobs"])
    chat = post(server, "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "use_beam_search": True, "n": 2})
    assert len(chat.json()["choices"]) == 2
    refused = post(server, "/v1/completions", body | {"use_beam_search": True, "stream": True})
    assert refused.status_code == 400 and "only at its end" in refused.json()["error"]["message"]
