"""Modules and chunks whose KV is reused, through the official client."""
import httpx
import openai
import pytest

from conftest import sluice, MODEL

SCHEMA = """<schema name="tale">
<module name="lily">Once upon a time, there was a little girl named Lily. She loved to play outside in the park.</module>
<union>
  <module name="dog">One day, she saw a big dog. The dog was very happy and wanted to play.</module>
  <module name="cat">One day, she saw a cat.</module>
</union>
<module name="gift">Her mom gave her <parameter name="what" tokens="8"/> and said to be good.</module>
<scaffold modules="lily gift"/>
</schema>
"""


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("schemas") / "tale.xml"
    path.write_text(SCHEMA)
    return path


@pytest.fixture
def served(start, schema):
    return start("--prompt-schema", str(schema), "--enable-chunk-reuse", "--chat-template", "chatml")


def complete(server, cache, prompt="Then she", **fields):
    return server.client().completions.create(model="stories260K", prompt=prompt, max_tokens=12, temperature=0, extra_body={"prompt_cache": cache}, **fields)


def cached(answer):
    return answer.usage.prompt_tokens_details.cached_tokens


def tokens(server, *parts):
    """The token ids of a prompt of these parts, each tokenized by itself."""
    ask = lambda text, special: httpx.post(server.url + "/tokenize", json={"prompt": text, "add_special_tokens": special}).json()["tokens"]
    return sum((ask(part, False) for part in parts), ask("", True))


def test_one_module_is_plain_prefill_and_is_computed_once(served):
    cache = {"schema": "tale", "modules": ["lily"]}
    first, again = complete(served, cache), complete(served, cache)
    assert first.choices[0].text == again.choices[0].text
    assert cached(first) == 0 and cached(again) > 20
    # The first module behind the lead is exact: recomputing it changes nothing, nor does asking for all of it.
    whole = complete(served, {**cache, "recompute": 1.0})
    assert whole.choices[0].text == first.choices[0].text
    assert served.metric("segment_cache_hits") >= cached(again)


def test_new_text_costs_what_it_is_long(served):
    small, large = {"schema": "tale", "modules": ["cat"]}, {"schema": "tale", "modules": ["lily", "dog"]}
    for cache in (small, large):
        complete(served, cache)
    rows = []
    for cache in (small, large):
        before = served.metric("step_tokens")
        complete(served, cache)
        rows.append(served.metric("step_tokens") - before)
    assert rows[0] == rows[1], "as many rows behind a short module as behind two long ones"


def test_parameters_are_filled_and_chats_work(served):
    answers = {complete(served, {"schema": "tale", "modules": ["dog", {"name": "gift", "parameters": {"what": what}}]}).choices[0].text for what in ("a red ball", "some cake")}
    assert len(answers) == 2, "the text that follows sees the argument"
    chat = served.client().chat.completions.create(model="stories260K", messages=[{"role": "user", "content": "Go on."}], max_tokens=8, temperature=0,
                                                   extra_body={"prompt_cache": {"schema": "tale", "modules": ["lily", "gift"]}})
    again = served.client().chat.completions.create(model="stories260K", messages=[{"role": "user", "content": "Go on."}], max_tokens=8, temperature=0,
                                                    extra_body={"prompt_cache": {"schema": "tale", "modules": ["lily", "gift"]}})
    assert chat.choices[0].message.content == again.choices[0].message.content
    assert cached(again) > cached(chat) == 0


def test_chunks_are_found_in_any_order_and_recomputed_in_whole_are_plain_prefill(served):
    one, two = " Lily had a toy car. It was red and very fast.", " Tom had a boat. It was blue."
    assert cached(complete(served, {"chunks": [one, two]})) == 0
    other = complete(served, {"chunks": [two, one], "recompute": 0.2})
    assert cached(other) > 15
    for rule in ("deviation", "position"):
        whole = complete(served, {"chunks": [two, one], "recompute": 1.0, "rule": rule}, logprobs=2)
        plain = served.client().completions.create(model="stories260K", prompt=tokens(served, two, one, "Then she"), max_tokens=12, temperature=0, logprobs=2)
        assert whole.choices[0].text == plain.choices[0].text
        assert whole.choices[0].logprobs.token_logprobs == plain.choices[0].logprobs.token_logprobs
    assert cached(whole) == cached(complete(served, {"chunks": [two, one], "recompute": 1.0}))


@pytest.mark.parametrize("cache, where, says", [
    ({"schema": "tail"}, "prompt_cache.schema", "tale"),
    ({"schema": "tale", "modules": ["lily", "bird"]}, "prompt_cache.modules[1]", "lily, dog, cat, gift"),
    ({"schema": "tale", "modules": ["dog", "cat"]}, "prompt_cache.modules[1]", "same union"),
    ({"schema": "tale", "modules": ["lily", "lily"]}, "prompt_cache.modules[1]", "again"),
    ({"schema": "tale", "modules": [{"name": "gift", "parameters": {"who": "x"}}]}, "prompt_cache.modules[0].parameters", "what"),
    ({"schema": "tale", "modules": [{"name": "gift", "parameters": {"what": "a very long list of many different things and toys and more"}}]},
     "prompt_cache.modules[0].parameters.what", "reserves 8"),
    ({"schema": "tale", "modules": 3}, "prompt_cache.modules", "array"),
    ({"schema": "tale", "modules": [{"name": "gift", "x": 1}]}, "prompt_cache.modules[0].x", "name and parameters"),
    ({"schema": "tale", "chunks": ["a"]}, "prompt_cache", "either"),
    ({"chunks": []}, "prompt_cache.chunks", "at least one"),
    ({"chunks": [""]}, "prompt_cache.chunks[0]", "not empty"),
    ({"chunks": ["a"], "recompute": 2}, "prompt_cache.recompute", "from 0 to 1"),
    ({"chunks": ["a"], "rule": "luck"}, "prompt_cache.rule", "deviation"),
    ({"chunks": ["a"], "colour": 1}, "prompt_cache.colour", "known"),
])
def test_errors_name_the_place(server_with_schema, cache, where, says):
    with pytest.raises(openai.BadRequestError) as error:
        complete(server_with_schema, cache)
    assert error.value.param == where and says in str(error.value), error.value


@pytest.fixture(scope="module")
def server_with_schema(schema):
    from conftest import Server
    running = Server("--prompt-schema", str(schema), "--enable-chunk-reuse")
    yield running
    assert running.stop() == 0


def test_what_is_off_is_refused_by_its_flag(server):
    for cache, flag in (({"schema": "tale"}, "--prompt-schema"), ({"chunks": ["a"]}, "--enable-chunk-reuse")):
        with pytest.raises(openai.BadRequestError) as error:
            complete(server, cache)
        assert flag in str(error.value)


def test_echo_and_prompt_logprobs_are_refused(server_with_schema):
    with pytest.raises(openai.APIStatusError) as error:
        complete(server_with_schema, {"schema": "tale", "modules": ["lily"]}, echo=True)
    assert error.value.param == "echo"


def test_samples_share_the_modules(server_with_schema):
    answer = server_with_schema.client().completions.create(model="stories260K", prompt="Then", max_tokens=10, temperature=1, seed=3, n=3,
                                                            extra_body={"prompt_cache": {"schema": "tale", "modules": ["lily", "dog"]}})
    assert len({c.text for c in answer.choices}) == 3


def test_bad_schemas_stop_the_server_with_file_and_line(tmp_path):
    bad = tmp_path / "bad.xml"
    bad.write_text("<schema name=\"a\">\n<modul name=\"m\">x</modul>\n</schema>")
    run = sluice("serve", str(MODEL), "--prompt-schema", str(bad))
    assert run.returncode != 0 and "bad.xml:2: <modul> is not known" in run.stderr
    run = sluice("serve", str(MODEL), "--prompt-schema", str(tmp_path / "absent.xml"))
    assert run.returncode != 0 and "absent.xml" in run.stderr
    empty = tmp_path / "none"
    empty.mkdir()
    assert "no *.xml or *.pml" in sluice("serve", str(MODEL), "--prompt-schema", str(empty)).stderr
    good = tmp_path / "good.xml"
    good.write_text(SCHEMA)
    run = sluice("serve", str(MODEL), "--prompt-schema", str(good), "--kv-allocator", "virtual")
    assert run.returncode != 0 and "--kv-allocator paged" in run.stderr


def test_truncated_conversations_keep_what_is_left(start):
    system, old, rest = ([10 + (7 * i + k) % 400 for i in range(n)] for k, n in ((0, 20), (3, 40), (1, 80)))
    found = {}
    for flags in ((), ("--cache-reuse", "16")):
        running = start("--block-size", "4", *flags)
        ask = lambda ids: running.client().completions.create(model="stories260K", prompt=ids, max_tokens=4, temperature=0)
        ask([1] + system + old + rest)
        found[flags] = [cached(ask([1] + system + rest + [5, 6, 7])), cached(ask([1] + system + rest + [5, 6, 7, 8, 9]))]
    exact, reused = found.values()
    assert exact[0] == 20, "the system prompt's whole blocks"
    assert reused[0] >= 20 + 72 and reused[1] >= 96, found


def test_cache_reuse_needs_a_prefix_cache():
    run = sluice("serve", str(MODEL), "--cache-reuse", "16", "--prefix-cache", "none")
    assert run.returncode != 0 and "--cache-reuse" in run.stderr
