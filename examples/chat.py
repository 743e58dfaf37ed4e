"""Asks a question about a long document through the proxy, with the OpenAI client.

Needs a running proxy and: pip install openai

    epitome serve &
    python examples/chat.py eval/corpus/meeting.txt "What share of users find most remote controls ugly?" --budget 500

`epitome serve` without an upstream answers with a small local model. With `--upstream` it is the same command; the key
in OPENAI_API_KEY goes to the upstream.
"""

import argparse
import os
import sys
from pathlib import Path

import openai


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("document", type=Path)
    parser.add_argument("question")
    parser.add_argument("--budget", default="25%", help="such as 1500, 25%% or floor=0.98")
    parser.add_argument("--model", help="the first that the upstream lists, unless given")
    parser.add_argument("--base-url", default="http://127.0.0.1:8080/v1")
    args = parser.parse_args()

    try:
        document = args.document.read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"cannot read the document: {error}")
    client = openai.OpenAI(base_url=args.base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"))
    # Tags mark the document off from the question, which goes upstream word for word.
    prompt = f"<document>\n{document}\n</document>\n\n{args.question}"
    try:
        response = client.chat.completions.with_raw_response.create(
            model=args.model or client.models.list().data[0].id,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=100,
            extra_headers={"x-epitome-budget": args.budget},
        )
    except openai.APIConnectionError as error:
        sys.exit(f"no proxy at {args.base_url}: {error}")
    except openai.APIStatusError as error:
        sys.exit(f"{error.status_code}: {error.message}")

    print(response.parse().choices[0].message.content.strip(), end="\n\n")
    for name, value in sorted(response.headers.items()):
        if name.startswith("x-epitome-"):
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
