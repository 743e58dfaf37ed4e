"""The official Python client of Anthropic: Messages."""

import anthropic
from case import CASE, DOCUMENT, QUESTION, READ_FILE, ROOT, SYSTEM, main, read_file

client = anthropic.Anthropic(base_url=ROOT, api_key="sk-ant-test", max_retries=0, timeout=60)
MODEL = "claude-sonnet-4-5"
TOOL = {"name": "read_file", "description": "Reads a text file.", "input_schema": READ_FILE["parameters"]}


def messages():
    assert MODEL in [model.id for model in client.models.list()]
    try:
        client.messages.create(model="no-such-model", max_tokens=9, messages=[{"role": "user", "content": "Hello"}])
    except anthropic.NotFoundError as error:
        assert error.body["error"]["type"] == "not_found_error", error.body
    else:
        raise AssertionError("an unknown model was taken")
    answer = client.messages.create(
        model=MODEL,
        max_tokens=100,
        system=SYSTEM,
        messages=[{"role": "user", "content": f"{DOCUMENT}\n\nQuestion: {QUESTION}"}],
        metadata={"user_id": "someone"},
        extra_body={"x_unknown": {"price": 1.50, "large": 12345678901234567890}},
    )
    assert answer.usage.cache_read_input_tokens > 0, answer.usage
    return answer.content[0].text, answer.stop_reason, answer.id


def streamed(content, **more):
    text, events = "", 0
    with client.messages.stream(
        model=MODEL,
        max_tokens=100,
        system=[{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": content}],
        **more,
    ) as stream:
        for event in stream:
            events += 1
            if event.type == "text":
                text += event.text
        assert stream.get_final_message().usage.cache_read_input_tokens > 0
    return text, events


def messages_stream():
    return streamed([{"type": "text", "text": DOCUMENT}, {"type": "text", "text": QUESTION}])


def messages_cached():
    """A marker at the document: whoever sets it means to send these bytes again."""
    marked = {"type": "text", "text": DOCUMENT, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    return streamed([marked, {"type": "text", "text": QUESTION}])


def messages_document():
    """A block of the type `document`, with a title and citations."""
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": DOCUMENT},
        "title": "Story",
        "citations": {"enabled": True},
    }
    return streamed([document, {"type": "text", "text": QUESTION}])


def messages_tools(beta=False):
    """The result in a list of blocks, as the documentation shows it; with `beta`, in one string."""
    api = client.beta.messages if beta else client.messages
    more = {"betas": ["context-management-2025-06-27"]} if beta else {}
    turns = [{"role": "user", "content": f"{CASE['task']} {QUESTION}"}]
    for _ in range(3):
        answer = api.create(model=MODEL, max_tokens=100, system=SYSTEM, messages=turns, tools=[TOOL], **more)
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            break
        turns.append({"role": "assistant", "content": answer.content})
        results = []
        for call in calls:
            text = read_file(**call.input)
            content = text if beta else [{"type": "text", "text": text}]
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": content})
        turns.append({"role": "user", "content": results})
    return answer.content[0].text, len(turns)


def count_tokens():
    count = client.messages.count_tokens(
        model=MODEL, system=SYSTEM, messages=[{"role": "user", "content": f"{DOCUMENT}\n\n{QUESTION}"}]
    )
    return CASE["answer"], count.input_tokens


main(
    "anthropic",
    {
        "messages": messages,
        "messages-stream": messages_stream,
        "messages-cached": messages_cached,
        "messages-document": messages_document,
        "messages-tools": messages_tools,
        "messages-beta-tools": lambda: messages_tools(beta=True),
        "count-tokens": count_tokens,
    },
)
