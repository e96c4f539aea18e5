"""Requests that the server refuses, or takes with a remark."""
import httpx


def post(server, path, body):
    return httpx.post(server.url + path, json=body, timeout=60)


def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenized(server):
    for path, body in [("/v1/completions", {"prompt": "x" * 4_000_000}),
                       ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 4_000_000}]})]:
        error = post(server, path, body).json()["error"]
        assert error["code"] == "context_length_exceeded"
        assert "prompt has 4000" in error["message"] and "bytes, but the 512 tokens" in error["message"]
    assert post(server, "/v1/completions", {"prompt": "x" * 1_000}).json()["error"]["message"].startswith("the prompt has 1002 tokens")
