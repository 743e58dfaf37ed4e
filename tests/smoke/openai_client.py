"""Talks through a running proxy as any user of the official `openai` package would.

Usage: python openai_client.py http://127.0.0.1:8080/v1
"""

import sys
from pathlib import Path

from openai import BadRequestError, OpenAI

CORPUS = Path(__file__).resolve().parents[2] / "eval" / "corpus"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    client = OpenAI(base_url=sys.argv[1], api_key="none", timeout=300, max_retries=0)

    models = [model.id for model in client.models.list()]
    print("models:", models)
    assert models, "no models"

    hello = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    answer = client.chat.completions.create(model=models[0], messages=hello, max_tokens=16, temperature=0)
    print("whole:", repr(answer.choices[0].message.content))
    assert answer.choices[0].message.content, "an empty answer"
    assert answer.choices[0].finish_reason in ("stop", "length"), answer.choices[0].finish_reason
    assert answer.usage and answer.usage.completion_tokens > 0, answer.usage

    text, usage = "", None
    for chunk in client.chat.completions.create(
        model=models[0],
        messages=hello,
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    print("streamed:", repr(text))
    assert text == answer.choices[0].message.content, "the stream says something else"
    assert usage and usage.total_tokens == answer.usage.total_tokens, usage

    document = (CORPUS / "documents.txt").read_text(encoding="utf-8")[:12000]
    long = [{"role": "user", "content": f"{document}\n\nQuestion: What are the documents about?\nAnswer:"}]
    raw = client.chat.completions.with_raw_response.create(
        model=models[0], messages=long, max_tokens=16, extra_headers={"x-epitome-budget": "600"}
    )
    told = {name: value for name, value in raw.headers.items() if name.startswith("x-epitome-")}
    print("long document:", told)
    content = raw.parse().choices[0].message.content
    print("answer:", repr(content))
    assert told.get("x-epitome-outcome") == "compacted", told
    assert int(told["x-epitome-tokens-after"]) <= 600 < int(told["x-epitome-tokens-before"]), told
    assert content, "an empty answer"

    try:
        client.chat.completions.create(model=models[0], messages=hello, extra_headers={"x-epitome-budget": "lots"})
    except BadRequestError as error:
        print("a bad budget:", error)
        assert "x-epitome-budget" in str(error)
    else:
        raise AssertionError("a bad budget was taken")


if __name__ == "__main__":
    main()
