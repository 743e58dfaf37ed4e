"""LangChain's models for both vendors, alone and with the result of a tool."""

from case import CASE, DOCUMENT, QUESTION, ROOT, SYSTEM, main, read_file
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

MESSAGES = [SystemMessage(SYSTEM), HumanMessage(f"Context:\n{DOCUMENT}\n\nQuestion: {QUESTION}")]


def chat(**more):
    return ChatOpenAI(
        model="gpt-4o-mini", base_url=f"{ROOT}/v1", api_key="sk-test", max_retries=0, timeout=60, **more
    )


def messages():
    return ChatAnthropic(
        model="claude-sonnet-4-5", base_url=ROOT, api_key="sk-ant-test", max_retries=0, timeout=60, max_tokens=100
    )


def whole(model):
    answer = model.invoke(MESSAGES)
    assert answer.usage_metadata["input_token_details"]["cache_read"] > 0, answer.usage_metadata
    return answer.text, answer.usage_metadata["output_tokens"]


def stream(model):
    chunks = [chunk.text for chunk in model.stream(MESSAGES)]
    return "".join(chunks), len([chunk for chunk in chunks if chunk])


def tools(model):
    @tool
    def read_file_(path: str) -> str:
        """Reads a text file."""
        return read_file(path)

    read_file_.name = "read_file"
    bound = model.bind_tools([read_file_])
    turns = [SystemMessage(SYSTEM), HumanMessage(f"{CASE['task']} {QUESTION}")]
    for _ in range(3):
        answer = bound.invoke(turns)
        turns.append(answer)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            turns.append(ToolMessage(read_file(**call["args"]), tool_call_id=call["id"]))
    return answer.text, len(turns)


main(
    "langchain-core",
    {
        "chat": lambda: whole(chat()),
        "chat-stream": lambda: stream(chat(stream_usage=True)),
        "chat-tools": lambda: tools(chat()),
        "responses-stream": lambda: stream(chat(use_responses_api=True)),
        "messages": lambda: whole(messages()),
        "messages-stream": lambda: stream(messages()),
        "messages-tools": lambda: tools(messages()),
    },
)
