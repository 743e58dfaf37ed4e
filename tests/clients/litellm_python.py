"""LiteLLM as a library, in front of both vendors' APIs."""

import os

# Its list of prices comes with the package. Without this it would be fetched.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from case import DOCUMENT, QUESTION, ROOT, SYSTEM, main

litellm.telemetry = False

MODELS = {
    "chat": {"model": "openai/gpt-4o-mini", "api_base": f"{ROOT}/v1", "api_key": "sk-test"},
    "messages": {"model": "anthropic/claude-sonnet-4-5", "api_base": ROOT, "api_key": "sk-ant-test", "max_tokens": 100},
}
MESSAGES = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": f"<document>\n{DOCUMENT}\n</document>\n\n{QUESTION}"},
]


def whole(dialect):
    answer = litellm.completion(**MODELS[dialect], messages=MESSAGES, num_retries=0, timeout=60)
    assert answer.usage.prompt_tokens_details.cached_tokens > 0, answer.usage
    return answer.choices[0].message.content, answer.choices[0].finish_reason


def stream(dialect):
    chunks = litellm.completion(**MODELS[dialect], messages=MESSAGES, num_retries=0, timeout=60, stream=True)
    return ("".join(chunk.choices[0].delta.content or "" for chunk in chunks),)


def responses():
    answer = litellm.responses(
        model="openai/gpt-4o-mini",
        api_base=f"{ROOT}/v1",
        api_key="sk-test",
        instructions=SYSTEM,
        input=MESSAGES[1]["content"],
        timeout=60,
    )
    return answer.output[0].content[0].text, answer.status


main(
    "litellm",
    {
        "chat": lambda: whole("chat"),
        "chat-stream": lambda: stream("chat"),
        "messages": lambda: whole("messages"),
        "messages-stream": lambda: stream("messages"),
        "responses": responses,
    },
)
