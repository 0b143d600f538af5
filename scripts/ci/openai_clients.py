"""What the official openai package sees: a line `passed NAME` or `FAILED NAME: why` for each case."""

import json
import os
import sys
import urllib.request

import openai

base = os.environ["WANWU_BASE_URL"]
client = openai.OpenAI(base_url=base, api_key=os.environ["WANWU_KEY"], max_retries=0)
QUESTION = [{"role": "user", "content": "你好"}]
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
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


@case
def a_completion_in_one_piece_and_as_it_comes():
    answer = client.completions.create(model="scripted", prompt="从前", max_tokens=5, extra_body=script(tokens=9))
    assert len(answer.choices[0].text) == 5 and answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 5)
    assert answer.model_extra["aigc"]["Label"] == "1"
    stream = client.completions.create(
        model="scripted", prompt=["一", "二"], stream=True, stream_options={"include_usage": True},
        extra_body=script(tokens=6),
    )
    text, usage = "", None
    for chunk in stream:
        usage = chunk.usage or usage
        text += chunk.choices[0].text if chunk.choices else ""
    assert len(text) == 6 and usage.completion_tokens == 6, (text, usage)


@case
def a_response_in_one_piece():
    answer = client.responses.create(model="scripted", input="你好", instructions="短", extra_body=script(tokens=7))
    assert len(answer.output_text) == 7 and answer.status == "completed"
    assert answer.usage.output_tokens == 7
    assert answer.model_extra["aigc"]["Label"] == "1"
    arrived = engine_body(answer.model_extra["aigc"]["ProduceID"])
    assert arrived["store"] is False, arrived


@case
def a_response_as_it_comes():
    stream = client.responses.create(model="scripted", input="你好", stream=True, extra_body=script(tokens=8))
    kinds, text, last = [], "", None
    for event in stream:
        kinds.append(event.type)
        text += event.delta if event.type == "response.output_text.delta" else ""
        last = event
    assert len(text) == 8, text
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    assert last.response.usage.output_tokens == 8 and last.response.output_text == text


@case
def a_response_that_is_to_be_kept_is_refused():
    call = lambda: client.responses.create(model="scripted", input="你好", store=True)
    expect(openai.BadRequestError, "state_not_kept", call)
    call = lambda: client.responses.create(model="scripted", input="你好", previous_response_id="resp_1")
    expect(openai.BadRequestError, "state_not_kept", call)
    call = lambda: client.responses.create(model="scripted", input="你好", tools=[{"type": "web_search"}])
    expect(openai.BadRequestError, "unbounded_cost", call)


@case
def embeddings_in_both_formats():
    # The package asks for base64 by itself and decodes it.
    texts = client.embeddings.create(model="scripted", input=["你好", "世界"])
    assert [item.index for item in texts.data] == [0, 1]
    assert (texts.usage.prompt_tokens, texts.usage.total_tokens) == (4, 4)
    floats = client.embeddings.create(model="scripted", input="你好", encoding_format="float")
    assert floats.data[0].embedding == texts.data[0].embedding
    assert "aigc" not in (floats.model_extra or {})
    tokens = client.embeddings.create(model="scripted", input=[[1, 2, 3], [4]])
    assert len(tokens.data) == 2 and tokens.usage.prompt_tokens == 4


@case
def embeddings_need_their_own_scope():
    poor = openai.OpenAI(base_url=base, api_key=os.environ["WANWU_POOR_KEY"], max_retries=0)
    call = lambda: poor.embeddings.create(model="scripted", input="x")
    expect(openai.PermissionDeniedError, "scope_missing", call)


@case
def an_image_reaches_the_engine():
    question = look_at(PIXEL)
    answer = client.chat.completions.create(model="scripted", messages=question, extra_body=script(tokens=3))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 3), answer.usage
    assert engine_body(answer.model_extra["aigc"]["ProduceID"])["messages"] == question


@case
def an_image_of_a_response_reaches_the_engine():
    parts = [{"type": "input_text", "text": "这是什么"}, {"type": "input_image", "image_url": PIXEL, "detail": "low"}]
    question = [{"role": "user", "content": parts}]
    answer = client.responses.create(model="scripted", input=question, extra_body=script(tokens=3))
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (4, 3), answer.usage
    assert engine_body(answer.model_extra["aigc"]["ProduceID"])["input"] == question


@case
def an_image_without_a_bound_is_refused():
    ask_about = lambda url, **more: client.chat.completions.create(
        model="scripted", messages=look_at(url), extra_body={**script(tokens=1), **more})
    # One that the engine would fetch, of whatever size, and one that it would make larger.
    expect(openai.BadRequestError, "unbounded_cost", lambda: ask_about("https://example.com/a.png"))
    larger = {"mm_processor_kwargs": {"max_pixels": 1 << 30}}
    expect(openai.BadRequestError, "unbounded_cost", lambda: ask_about(PIXEL, **larger))


def look_at(url):
    image = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    return [{"role": "user", "content": [{"type": "text", "text": "这是什么"}, image]}]


FIELDS = {
    "logprobs": True, "top_logprobs": 3, "parallel_tool_calls": False, "tool_choice": "auto", "n": 2,
    "service_tier": "auto", "verbosity": "low", "prediction": {"type": "content", "content": "x"},
    "safety_identifier": "u", "prompt_cache_key": "k", "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1,
    "guided_json": {"type": "object"}, "chat_template_kwargs": {"enable_thinking": False}, "ignore_eos": True,
    "temperature": 0.25, "top_p": 0.5, "seed": 7, "stop": ["x"], "presence_penalty": 0.5,
    "frequency_penalty": 0.5, "logit_bias": {"1": -1}, "user": "u", "reasoning_effort": "low",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}, "metadata": {"k": "v"},
}


def engine_body(call):
    with urllib.request.urlopen(f"{os.environ['WANWU_ENGINE']}/_truth?call={call}") as truth:
        return json.loads(json.load(truth)["body"])


def field_case(name, value):
    def reaches():
        answer = client.chat.completions.with_raw_response.create(
            model="scripted", messages=QUESTION, extra_body={**script(tokens=1), name: value},
        )
        arrived = engine_body(json.loads(answer.text)["aigc"]["ProduceID"])
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
