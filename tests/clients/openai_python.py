"""The official Python client of OpenAI: Chat Completions and Responses."""

import json

import openai
from case import CASE, DOCUMENT, QUESTION, READ_FILE, ROOT, SYSTEM, main, read_file

client = openai.OpenAI(base_url=f"{ROOT}/v1", api_key="sk-test", max_retries=0, timeout=60)
MODEL = "gpt-4o-mini"

# Fields that no version of the client knows, and numbers that do not survive a float.
UNKNOWN = {"x_unknown": {"price": 1.50, "large": 12345678901234567890, "list": [None, True, "ü"]}}


def chat():
    assert MODEL in [model.id for model in client.models.list()]
    try:
        client.chat.completions.create(model="no-such-model", messages=[{"role": "user", "content": "Hello"}])
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error.code
    else:
        raise AssertionError("an unknown model was taken")
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{DOCUMENT}\n\nQuestion: {QUESTION}"},
        ],
        seed=7,
        metadata={"run": "a"},
        extra_headers={"x-own-header": "kept"},
        extra_body=UNKNOWN,
    )
    assert answer.usage.prompt_tokens_details.cached_tokens > 0, answer.usage
    return answer.choices[0].message.content, answer.choices[0].finish_reason, answer.id


def chat_stream():
    text, chunks, usage = "", 0, None
    with client.chat.completions.stream(
        model=MODEL,
        messages=[
            {"role": "developer", "content": SYSTEM},
            {"role": "user", "content": [{"type": "text", "text": DOCUMENT}, {"type": "text", "text": QUESTION}]},
        ],
        stream_options={"include_usage": True},
    ) as stream:
        for event in stream:
            if event.type == "content.delta":
                text += event.delta
                chunks += 1
        usage = stream.get_final_completion().usage
    assert usage.prompt_tokens_details.cached_tokens > 0, usage
    return text, chunks


def chat_tools():
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{CASE['task']} {QUESTION}"}]
    tools = [{"type": "function", "function": READ_FILE | {"strict": True}}]
    for _ in range(3):
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=tools).choices[0].message
        if not answer.tool_calls:
            break
        messages.append(answer)
        for call in answer.tool_calls:
            result = read_file(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return answer.content, len(messages)


def responses():
    answer = client.responses.create(
        model=MODEL,
        instructions=SYSTEM,
        input=f"{DOCUMENT}\n\nQuestion: {QUESTION}",
        metadata={"run": "a"},
        store=False,
        extra_body=UNKNOWN,
    )
    assert answer.usage.input_tokens_details.cached_tokens > 0, answer.usage
    return answer.output_text, answer.status, answer.id


def responses_stream():
    text, events = "", 0
    with client.responses.stream(
        model=MODEL,
        input=[
            {"role": "developer", "content": SYSTEM},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": DOCUMENT}, {"type": "input_text", "text": QUESTION}],
            },
        ],
    ) as stream:
        for event in stream:
            events += 1
            if event.type == "response.output_text.delta":
                text += event.delta
        assert stream.get_final_response().output_text == text
    return text, events


def responses_tools():
    items = [{"role": "user", "content": f"{CASE['task']} {QUESTION}"}]
    tools = [{"type": "function", "strict": True} | READ_FILE]
    for _ in range(3):
        answer = client.responses.create(model=MODEL, instructions=SYSTEM, input=items, tools=tools)
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            break
        items += answer.output
        for call in calls:
            result = read_file(**json.loads(call.arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    return answer.output_text, len(items)


main(
    "openai",
    {
        "chat": chat,
        "chat-stream": chat_stream,
        "chat-tools": chat_tools,
        "responses": responses,
        "responses-stream": responses_stream,
        "responses-tools": responses_tools,
    },
)
