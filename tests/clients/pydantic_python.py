"""Pydantic AI: an agent that reads a file with a tool, over the three dialects, whole and streamed."""

import asyncio

from case import CASE, QUESTION, ROOT, SYSTEM, main, read_file
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


def openai():
    return OpenAIProvider(base_url=f"{ROOT}/v1", api_key="sk-test")


MODELS = {
    "chat": lambda: OpenAIChatModel("gpt-4o-mini", provider=openai()),
    "responses": lambda: OpenAIResponsesModel("gpt-4o-mini", provider=openai()),
    "messages": lambda: AnthropicModel(
        "claude-sonnet-4-5", provider=AnthropicProvider(base_url=ROOT, api_key="sk-ant-test")
    ),
}


def agent(dialect):
    return Agent(MODELS[dialect](), instructions=SYSTEM, tools=[read_file])


def whole(dialect):
    result = agent(dialect).run_sync(f"{CASE['task']} {QUESTION}")
    return result.output, len(result.all_messages())


def stream(dialect):
    async def run():
        async with agent(dialect).run_stream(f"{CASE['task']} {QUESTION}") as result:
            return await result.get_output(), len(result.all_messages())

    return asyncio.run(run())


main(
    "pydantic-ai-slim",
    {
        "chat-tools": lambda: whole("chat"),
        "chat-tools-stream": lambda: stream("chat"),
        "responses-tools": lambda: whole("responses"),
        "messages-tools": lambda: whole("messages"),
        "messages-tools-stream": lambda: stream("messages"),
    },
)
