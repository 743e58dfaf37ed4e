"""The `headroom` guardrail of the real LiteLLM proxy, with epitome as its service.

    python tests/clients/litellm_guardrail.py BINARY

A long tool result goes in. A short one reaches the recording upstream, which then calls `headroom_retrieve`, once for
all and once with a query, and gets the original back through LiteLLM.
"""

import http.server
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
import urllib.request

import alone

alone.packages("python-litellm-proxy", "litellm[proxy]")

KEY = "key-of-the-gateway"
FACT = "2026-11-30T10:07:11Z ERROR db: connection refused by replica-7, giving up"
PAID = "2026-11-30T10:14:47Z INFO billing: invoice INV-88812 paid by ACME Corp"
LINES = [f"2026-11-30T10:{at // 60 % 60:02}:{at % 60:02}Z INFO worker: job {at} took {at * 7 % 97} ms" for at in range(1000)]
LINES[431], LINES[887] = FACT, PAID
LOG = "\n".join(LINES)
MARKER = re.compile(r"\[epitome: \d+ of \d+ tokens shown; the original is whole, retrieve it with hash=([0-9a-f]{16})\]")


# The same conversation in Anthropic's form, which LiteLLM translates before the guardrail sees it.
MESSAGES = {
    "model": "gpt-4o",
    "max_tokens": 100,
    "system": "You look into logs.",
    "messages": [
        {"role": "user", "content": "Why did the jobs stop?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "grep", "input": {"pattern": "."}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": LOG}]}],
        },
        {"role": "assistant", "content": "I have the log."},
        {"role": "user", "content": "And what does it say?"},
    ],
    "tools": [{"name": "grep", "description": "Finds lines.", "input_schema": {"type": "object", "properties": {}}}],
}


class Upstream(http.server.ThreadingHTTPServer):
    """Records what comes; asks for the original, for a part of it, and then answers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append(body)
        results = [row for row in body["messages"] if row["role"] == "tool"]
        found = MARKER.search("\n".join(text(row["content"]) for row in results))
        if found and len(results) < 3:
            arguments = {"hash": found[1]} | ({"query": "Who paid INV-88812?"} if len(results) == 2 else {})
            function = {"name": "headroom_retrieve", "arguments": json.dumps(arguments)}
            calls = [{"id": f"retrieve-{len(results)}", "type": "function", "function": function}]
            message, reason = {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"
        else:
            message, reason = {"role": "assistant", "content": "Replica-7 refused."}, "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "usage": usage}
        answer["choices"] = [{"index": 0, "message": message, "finish_reason": reason}]
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def post(url: str, body: dict) -> tuple[dict, dict]:
    headers = {"content-type": "application/json", "authorization": "Bearer sk-of-litellm"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response), dict(response.headers)


def text(content) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def check_rows(rows: list[dict], sent: list[dict]) -> None:
    """Every row but the tool's is as it was sent."""
    assert [row["role"] for row in rows] == [row["role"] for row in sent], rows
    for row, was in zip(rows, sent):
        if was["role"] != "tool":
            assert text(row.get("content") or "") == (was["content"] or ""), row


def check(seen: list[dict]) -> None:
    """What has to reach the upstream."""
    first, second, third = seen
    rows = first["messages"]
    short = text(next(row["content"] for row in rows if row["role"] == "tool"))
    marker = MARKER.search(short)
    assert marker and short.endswith(marker[0]), short[-300:]
    assert len(short) < 0.6 * len(LOG) and FACT in short, len(short)
    tools = [tool["function"]["name"] for tool in first["tools"]]
    assert "headroom_retrieve" in tools and "grep" in tools, tools
    whole = text(second["messages"][-1]["content"])
    assert whole == LOG, f"the original did not come back: {whole[:300]}"
    part = text(third["messages"][-1]["content"])
    assert PAID in part and len(part) < len(LOG), part[:300]


def main() -> None:
    binary = pathlib.Path(sys.argv[1]).resolve()
    upstream = Upstream()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        own, litellm = alone.port(), alone.port()
        service, gateway = f"http://127.0.0.1:{own}", f"http://127.0.0.1:{litellm}"
        config = {
            "model_list": [
                {
                    "model_name": "gpt-4o",
                    "litellm_params": {
                        "model": "openai/gpt-4o",
                        "api_base": f"http://127.0.0.1:{upstream.server_port}/v1",
                        "api_key": "sk-none",
                    },
                }
            ],
            "guardrails": [
                {
                    "guardrail_name": "headroom-compression",
                    "litellm_params": {
                        "guardrail": "headroom",
                        "mode": "pre_call",
                        "api_base": service,
                        "api_key": "os.environ/HEADROOM_API_KEY",
                        "default_on": True,
                    },
                }
            ],
            "general_settings": {"master_key": "sk-of-litellm"},
            "litellm_settings": {"telemetry": False, "use_chat_completions_url_for_anthropic_messages": True},
        }
        # JSON is YAML.
        (folder / "litellm.yaml").write_text(json.dumps(config))
        # LiteLLM brings a price list, and need not look for a newer one.
        own_prices = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        environment = {**os.environ, **own_prices, "HEADROOM_API_KEY": KEY, "KEYS_OF_CLIENTS": KEY}
        serve = [binary, "serve", "--listen", f"127.0.0.1:{own}", "--upstream", "http://127.0.0.1:9/v1"]
        serve += ["--set", "serve.keys_env=KEYS_OF_CLIENTS", "--set", "cache.disk_mb=0"]
        run = [pathlib.Path(sys.prefix) / "bin" / "litellm", "--config", folder / "litellm.yaml"]
        run += ["--host", "127.0.0.1", "--port", litellm]
        with (
            alone.server(serve, f"{service}/readyz", folder / "epitome.log", environment),
            alone.server(run, f"{gateway}/health/liveliness", folder / "litellm.log", environment),
        ):
            call = {"name": "grep", "arguments": '{"pattern": "."}'}
            sent = [
                {"role": "system", "content": "You look into logs."},
                {"role": "user", "content": "Why did the jobs stop?"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
                {"role": "tool", "tool_call_id": "c1", "content": LOG},
                # LiteLLM holds back the last exchange, results included.
                {"role": "assistant", "content": "I have the log."},
                {"role": "user", "content": "And what does it say?"},
            ]
            tool = {"type": "function", "function": {"name": "grep", "parameters": {"type": "object", "properties": {}}}}
            body = {"model": "gpt-4o", "messages": sent, "tools": [tool]}
            try:
                answer, headers = post(f"{gateway}/v1/chat/completions", body)
                assert answer["choices"][0]["message"]["content"] == "Replica-7 refused.", answer
                assert "headroom-compression" in headers.get("x-litellm-applied-guardrails", ""), headers
                check_rows(upstream.seen[0]["messages"], sent)
                check(upstream.seen)
                upstream.seen.clear()
                answer, _ = post(f"{gateway}/v1/messages", MESSAGES)
                assert answer["content"][-1]["text"] == "Replica-7 refused.", answer
                check(upstream.seen)
            except BaseException:
                print((folder / "litellm.log").read_text(errors="replace")[-6000:], file=sys.stderr)
                print((folder / "epitome.log").read_text(errors="replace")[-3000:], file=sys.stderr)
                raise
    print("2 passed, 0 failed")


if __name__ == "__main__":
    main()
