"""LLMLingua and LongLLMLingua (their Python package `llmlingua`) as a service that an evaluation arm can ask.

    python llmlingua_service.py MODEL_FOLDER [--port 8765] [--threads N]

MODEL_FOLDER holds a causal language model in the layout of transformers; `gguf_folder.py` makes one from a GGUF.
POST /llmlingua and POST /longllmlingua take {"text", "query", "budget"} (tokens) and give {"text"}. The parameters of
the second are those that its authors recommend for many documents (README of microsoft/LLMLingua, "LongLLMLingua").
"""

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer

import tiktoken
import torch


class Counter:
    """Stands in for tiktoken's table, which would have to be downloaded: counts with the small model's tokenizer."""

    tokenizer = None

    def encode(self, text, **_):
        return self.tokenizer(text, add_special_tokens=False).input_ids


counter = Counter()
tiktoken.encoding_for_model = lambda _: counter

from llmlingua import PromptCompressor  # noqa: E402 (after the table is replaced)


def passages(text):
    """What the method ranks: documents if the text has any, else paragraphs of at most about 200 words."""
    parts = re.split(r"(?m)^(?=Document \[\d+\])", text)
    parts = [p.strip() for p in parts if p.strip()]
    if len(parts) > 1:
        return parts
    out, words = [], 0
    for line in (l for l in text.split("\n") if l.strip()):
        size = len(line.split())
        if out and words + size <= 200:
            out[-1] += "\n" + line
            words += size
        else:
            out.append(line)
            words = size
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    compressor = PromptCompressor(args.model, device_map="cpu", model_config={"torch_dtype": "float32"})
    counter.tokenizer = compressor.tokenizer

    def compress(kind, text, query, budget):
        parts = passages(text)
        if kind == "llmlingua":
            done = compressor.compress_prompt(parts, question=query, target_token=budget, concate_question=False)
        else:
            done = compressor.compress_prompt(
                parts,
                question=query,
                target_token=budget,
                condition_in_question="after_condition",
                reorder_context="sort",
                dynamic_context_compression_ratio=0.3,
                condition_compare=True,
                context_budget="+100",
                rank_method="longllmlingua",
                concate_question=False,
            )
        return done["compressed_prompt"]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                text = compress(self.path.strip("/"), asked["text"], asked["query"], asked["budget"])
                status, body = 200, {"text": text}
            except Exception as error:  # the arm records the failure and goes on
                status, body = 500, {"error": repr(error)}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    HTTPServer(("127.0.0.1", args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
