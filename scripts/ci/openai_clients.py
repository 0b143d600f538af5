"""What the official openai package sees: a line `passed NAME` or `FAILED NAME: why` for each case."""

import json
import os
import sys
import urllib.request

import openai

base = os.environ["WANWU_BASE_URL"]
client = openai.OpenAI(base_url=base, api_key=os.environ["WANWU_KEY"], max_retries=0)
QUESTION = [{"role": "user", "content": "你好"}]
cases = []


def case(function):
    cases.append(function)
    return function


def script(**fields):
    return {"wanwu_script": fields}


@case
def models_are_listed():
    assert "scripted" in [model.id for model in client.models.list()]
    assert client.models.retrieve("scripted").id == "scripted"


@case
def an_answer_in_one_piece():
    answer = client.chat.completions.create(model="scripted", messages=QUESTION, extra_body=script(tokens=7))
    assert len(answer.choices[0].message.content) == 7
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 7)
    assert answer.model_extra["aigc"]["Label"] == "1"


@case
def an_answer_as_it_comes():
    stream = client.chat.completions.create(
        model="scripted", messages=QUESTION, stream=True, stream_options={"include_usage": True},
        extra_body=script(tokens=9),
    )
    text, usage = "", None
    for chunk in stream:
        usage = chunk.usage or usage
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert len(text) == 9 and usage.completion_tokens == 9, (text, usage)


@case
def the_streaming_helper_understands_it():
    with client.chat.completions.stream(model="scripted", messages=QUESTION, extra_body=script(tokens=4)) as stream:
        for _ in stream:
            pass
        assert len(stream.get_final_completion().choices[0].message.content) == 4


@case
def a_bad_key_is_an_authentication_error():
    wrong = openai.OpenAI(base_url=base, api_key="wk-nonsense", max_retries=0)
    expect(openai.AuthenticationError, "invalid_api_key", lambda: ask(wrong))


@case
def an_exhausted_balance_is_a_rate_limit_error_that_is_not_retried():
    poor = openai.OpenAI(base_url=base, api_key=os.environ["WANWU_POOR_KEY"], max_retries=2)
    error = expect(openai.RateLimitError, "insufficient_quota", lambda: ask(poor))
    assert error.response.headers["x-should-retry"] == "false"


@case
def an_unknown_model_is_not_found():
    call = lambda: client.chat.completions.create(model="no-such-model", messages=QUESTION)
    expect(openai.NotFoundError, "model_not_found", call)


@case
def a_body_that_is_too_large_is_refused():
    large = [{"role": "user", "content": "x" * (5 << 20)}]
    try:
        client.chat.completions.create(model="scripted", messages=large)
    except openai.APIStatusError as error:
        assert error.status_code == 413, error.status_code
        return
    raise AssertionError("it was taken")


@case
def an_invalid_body_is_a_bad_request():
    call = lambda: client.chat.completions.create(model="scripted", messages=[])
    expect(openai.BadRequestError, None, call)


@case
def a_failing_engine_is_a_server_error():
    call = lambda: client.chat.completions.create(model="scripted", messages=QUESTION, extra_body=script(status=500))
    expect(openai.InternalServerError, None, call)


FIELDS = {
    "temperature": 0.25, "top_p": 0.5, "seed": 7, "stop": ["x"], "presence_penalty": 0.5,
    "frequency_penalty": 0.5, "logit_bias": {"1": -1}, "user": "u", "reasoning_effort": "low",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_object"}, "metadata": {"k": "v"},
}


def field_case(name, value):
    def reaches():
        answer = client.chat.completions.with_raw_response.create(
            model="scripted", messages=QUESTION, extra_body={**script(tokens=1), name: value},
        )
        call = json.loads(answer.text)["aigc"]["ProduceID"]
        with urllib.request.urlopen(f"{os.environ['WANWU_ENGINE']}/_truth?call={call}") as truth:
            arrived = json.loads(json.load(truth)["body"])
        assert arrived[name] == value, arrived.get(name)

    reaches.__name__ = f"field_{name}_reaches_the_engine"
    cases.append(reaches)


for name, value in {**FIELDS, "something_new": {"nested": [1, None, "三"]}}.items():
    field_case(name, value)


def ask(with_client):
    return with_client.chat.completions.create(model="scripted", messages=QUESTION, extra_body=script(tokens=1))


def expect(kind, code, call):
    try:
        call()
    except kind as error:
        assert code is None or error.code == code, error.code
        return error
    raise AssertionError(f"no {kind.__name__}")


failed = 0
for run in cases:
    try:
        run()
        print(f"passed {run.__name__}")
    except Exception as error:  # every failure is a line
        failed += 1
        print(f"FAILED {run.__name__}: {type(error).__name__}: {error}"[:400])
print(f"openai {openai.__version__}: {len(cases) - failed} of {len(cases)} cases")
sys.exit(bool(failed))
