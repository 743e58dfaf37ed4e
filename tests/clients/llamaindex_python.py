"""LlamaIndex: its client for servers that speak as OpenAI does, and its own prompt around retrieved texts."""

from case import DOCUMENT, QUESTION, ROOT, SYSTEM, main
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT_TMPL
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="gpt-4o-mini",
    api_base=f"{ROOT}/v1",
    api_key="sk-test",
    is_chat_model=True,
    context_window=100_000,
    max_retries=0,
    timeout=60,
)
MESSAGES = [
    ChatMessage(role="system", content=SYSTEM),
    ChatMessage(
        role="user",
        content=PromptTemplate(DEFAULT_TEXT_QA_PROMPT_TMPL).format(context_str=DOCUMENT, query_str=QUESTION),
    ),
]


def chat():
    return (llm.chat(MESSAGES).message.content,)


def chat_stream():
    parts = [part.delta for part in llm.stream_chat(MESSAGES)]
    return "".join(parts), len([part for part in parts if part])


main("llama-index-llms-openai-like", {"chat": chat, "chat-stream": chat_stream})
