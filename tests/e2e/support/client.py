"""The official Python client against the platform that OPENAI_BASE_URL names. Called by clients.test.mjs."""

import json
import traceback

import openai

HELLO = [{"role": "user", "content": "Hello there"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
client = openai.OpenAI(max_retries=0, timeout=30)


def expect(kind, status, text, call):
    try:
        call()
    except kind as error:
        assert error.status_code == status, error
        assert text in str(error) + json.dumps(error.body), error
        assert error.request_id, "the exception knows the request's id"
        return error
    raise AssertionError(f"no {kind.__name__}")


def models():
    ids = [model.id for model in client.models.list()]
    assert {"auto", "fast", "max", "sandbox-small", "double-answer"} <= set(ids), ids


def chat():
    answer = client.chat.completions.create(model="sandbox-small", messages=HELLO)
    assert "Hello there" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer._request_id


def headers():
    raw = client.chat.completions.with_raw_response.create(model="double-answer", messages=HELLO)
    assert float(raw.headers["x-tokaroo-cost"]) > 0
    assert raw.parse().choices[0].message.content == "The quick brown fox jumps"


def stream():
    chunks = list(client.chat.completions.create(model="sandbox-small", messages=HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "Hello there" in text
    assert all(chunk.usage is None for chunk in chunks)


def stream_usage():
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="double-answer", messages=HELLO, stream=True, stream_options=options))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 5


def tools():
    messages = [{"role": "user", "content": "How is the weather in Graz?"}]
    message = client.chat.completions.create(model="sandbox-small", messages=messages, tools=[TOOL]).choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments)
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = client.chat.completions.create(model="sandbox-small", messages=messages, tools=[TOOL])
    assert "sunny" in answer.choices[0].message.content


def wrong_key():
    other = openai.OpenAI(api_key="tr_live_nope", max_retries=0)
    expect(openai.AuthenticationError, 401, "Invalid or expired credential", lambda: other.models.list())


def bad_request():
    expect(openai.BadRequestError, 400, "messages", lambda: client.chat.completions.create(model="auto", messages=[]))


def not_found():
    expect(openai.NotFoundError, 404, "nobody", lambda: client.chat.completions.create(model="nobody", messages=HELLO))


def limited():
    error = expect(
        openai.RateLimitError, 429, "Rate limit exceeded", lambda: client.chat.completions.create(model="double-limited", messages=HELLO)
    )
    assert error.response.headers["retry-after"].isdigit()


def no_money():
    expect(openai.APIStatusError, 402, "billing_required", lambda: client.chat.completions.create(model="double-dear", messages=HELLO))


def down():
    expect(openai.InternalServerError, 502, "provider failed", lambda: client.chat.completions.create(model="double-down", messages=HELLO))


CHECKS = [models, chat, headers, stream, stream_usage, tools, wrong_key, bad_request, not_found, limited, no_money, down]
failed = 0
for check in CHECKS:
    try:
        check()
    except Exception:
        failed += 1
        print(f"{check.__name__} failed:")
        traceback.print_exc()
if failed:
    raise SystemExit(1)
print(f"all {len(CHECKS)} passed", flush=True)
