"""A recording, scripted upstream for tests: it speaks Chat Completions, Responses and Messages, whole and streamed.

It needs the standard library only. A body in zstd is read with `compression.zstd` or `zstandard`, if there is one.

What it answers is scripted, not generated:

- If the request offers a tool that reads files, it calls that tool for one of `script.files` after the other.
- Otherwise it says `script.answer` if `script.fact` is somewhere in the request, and `script.unknown` if not. So a
  client that gets the answer shows that the fact reached the upstream.

As a program it prints one line per request, and keeps the bodies with --keep DIRECTORY:

    python upstream.py --port 9000 --file notes.txt --fact "KX-4471-B" --answer "It is KX-4471-B."
"""

import argparse
import dataclasses
import gzip
import hashlib
import json
import pathlib
import re
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = ["gpt-5.1", "gpt-4o-mini", "claude-sonnet-4-5", "claude-haiku-4-5"]

# Tools that read a file, and the property that takes the path or the command. A client that offers several is
# answered with the first of this list.
READERS = ["Read", "read_file", "exec_command", "shell_command", "shell", "exec"]


@dataclasses.dataclass
class Script:
    """What the upstream does."""

    fact: str = "KX-4471-B"
    answer: str = "The serial number is KX-4471-B."
    unknown: str = "I cannot find it."
    files: tuple[str, ...] = ()
    fetch: str = ""
    """A hash. After the files, a client that has epitome's tools is told to retrieve it."""


@dataclasses.dataclass
class Record:
    """One request as it arrived."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    raw: bytes
    body: object = None
    """The JSON of the body, or None."""
    plain: bytes = b""
    """The body without its content encoding."""
    said: str = ""
    """What was answered: `text`, `call`, `models`, `count`, `upgrade`, `stray`, `error` or `other`."""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def route(self) -> str:
        return self.path.split("?")[0]


def decode(raw: bytes, encoding: str | None) -> bytes:
    """Takes a content encoding off."""
    for name in reversed([part.strip() for part in (encoding or "").lower().split(",") if part.strip()]):
        if name in ("gzip", "x-gzip"):
            raw = gzip.decompress(raw)
        elif name == "deflate":
            raw = zlib.decompress(raw)
        elif name == "zstd":
            try:
                from compression import zstd
            except ImportError:
                import zstandard

                raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
            else:
                raw = zstd.decompress(raw)
        elif name != "identity":
            raise ValueError(f"unknown content encoding {name}")
    return raw


class Upstream:
    """The server, on a free port of the loopback unless told otherwise."""

    def __init__(self, script: Script | None = None, port: int = 0, on_record=None):
        self.script = script or Script()
        self.records: list[Record] = []
        self.lock = threading.Lock()
        self.calls = 0
        self.on_record = on_record
        handler = type("Bound", (Handler,), {"upstream": self})
        self.server = Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self) -> list[Record]:
        """The requests since the last time. Ids start over, so that two runs of a client get the same ones."""
        with self.lock:
            records, self.records, self.calls = self.records, [], 0
        return records

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that leaves in the middle of a stream is no error here."""


class Handler(BaseHTTPRequestHandler):
    upstream: Upstream
    protocol_version = "HTTP/1.1"
    # Without this an answer in several writes waits for the acknowledgement of the one before.
    disable_nagle_algorithm = True

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.respond()

    def do_CONNECT(self):
        """A client that wants to leave the machine, through the proxy that its environment names."""
        with self.upstream.lock:
            self.upstream.records.append(Record("CONNECT", self.path, list(self.headers.items()), b"", said="stray"))
        self.close_connection = True
        self.send_error(403)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET

    def read_body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def respond(self):
        raw = self.read_body()
        record = Record(self.command, self.path, list(self.headers.items()), raw)
        try:
            record.plain = decode(raw, self.headers.get("content-encoding"))
            record.body = json.loads(record.plain) if record.plain else None
        except (ValueError, ImportError, OSError, zlib.error) as error:
            record.said = f"error: {error}"
        with self.upstream.lock:
            self.upstream.records.append(record)
        try:
            self.route(record)
        finally:
            if self.upstream.on_record:
                self.upstream.on_record(record)

    def route(self, record: Record):
        if self.headers.get("upgrade"):
            # A client that tries a websocket must fall back to plain requests.
            record.said = "upgrade"
            return self.send(426, {"error": {"type": "invalid_request_error", "message": "no websockets here"}})
        route = record.route.rstrip("/")
        if self.command in ("GET", "HEAD"):
            if match := re.fullmatch(r"(?:/v1)?/models(?:/(.+))?", route):
                record.said = "models"
                if match[1]:
                    return self.send(200, model(match[1]))
                data = [model(name) for name in MODELS]
                return self.send(
                    200,
                    {
                        "object": "list",
                        "data": data,
                        "has_more": False,
                        "first_id": MODELS[0],
                        "last_id": MODELS[-1],
                        # codex reads its own list.
                        "models": [],
                    },
                )
            record.said = "other"
            return self.send(200 if route == "" else 404, {"path": route})
        body = record.body
        if not isinstance(body, dict):
            record.said = record.said or "error: no JSON object"
            return self.send(400, {"error": {"type": "invalid_request_error", "message": record.said}})
        if body.get("model") == "no-such-model":
            record.said = "error: no such model"
            error = {"type": "not_found_error", "message": "no such model", "code": "model_not_found", "param": "model"}
            return self.send(404, {"type": "error", "error": error})
        dialect = {
            "/v1/chat/completions": Chat,
            "/v1/responses": Responses,
            "/v1/messages": Messages,
        }.get(route)
        if dialect:
            return self.answer(record, dialect(self.upstream, record))
        if route == "/v1/messages/count_tokens":
            record.said = "count"
            return self.send(200, {"input_tokens": tokens(record.plain)})
        record.said = "other"
        return self.send(404, {"error": {"type": "not_found_error", "message": f"nothing at {route}"}})

    def answer(self, record: Record, dialect):
        record.said = "call" if dialect.call else "text"
        if not record.body.get("stream"):
            return self.send(200, dialect.whole())
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.ids()
        self.end_headers()
        for name, data in dialect.events():
            lines = f"event: {name}\n" if name else ""
            lines += f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
            event = lines.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(0.002)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def ids(self):
        self.send_header("x-request-id", "req_test")
        self.send_header("request-id", "req_test")

    def send(self, status: int, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.ids()
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def model(name: str) -> dict:
    """A model as both kinds of list describe it."""
    return {
        "id": name,
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "test",
        "type": "model",
        "display_name": name,
        "created_at": "2025-01-01T00:00:00Z",
    }


def tokens(data: bytes) -> int:
    """About how many tokens these bytes are."""
    return max(1, len(data) // 4)


def strings(value):
    """All strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)


class Dialect:
    """What is common to the three: whether to call a tool, and the words of the answer."""

    def __init__(self, upstream: Upstream, record: Record):
        self.body = record.body
        self.model = self.body.get("model", "test")
        self.input_tokens = tokens(record.plain)
        script = upstream.script
        known = any(script.fact in text for text in strings(self.body))
        self.text = self.formatted(script.answer if known else script.unknown)
        self.call = None
        read = self.results()
        if read < len(script.files):
            tool = min(
                (tool for tool in self.tools() if tool[0] in READERS),
                key=lambda tool: READERS.index(tool[0]),
                default=None,
            )
            if tool:
                self.call = tool[0], arguments(tool[1], script.files[read])
        elif read == len(script.files) and script.fetch and (name := self.retriever()):
            self.call = name, json.dumps({"hash": script.fetch})
        with upstream.lock:
            upstream.calls += 1
            self.id = hashlib.sha256(b"%d" % upstream.calls).hexdigest()[:24]

    def retriever(self) -> str | None:
        """The tool of epitome that gives back originals, if it is offered."""
        return next((name for name, _ in self.tools() if name and re.fullmatch(r".*epitome.*retrieve", name)), None)

    def formatted(self, text: str) -> str:
        """The text in the JSON that the request asks for."""
        return text

    def halves(self):
        half = len(self.text) // 2
        return self.text[:half], self.text[half:]


def arguments(schema: dict | None, path: str) -> str:
    """Arguments for a tool that reads files, by what its schema calls them; without a schema it takes a program."""
    if schema is None:
        return f"const read = await tools.exec_command({json.dumps({'cmd': f'cat {path}'})});\ntext(read.output);"
    properties = schema.get("properties", {})
    if "file_path" in properties:
        given = {"file_path": path}
    elif "path" in properties:
        given = {"path": path}
    elif "cmd" in properties:
        given = {"cmd": f"cat {path}"}
    elif properties.get("command", {}).get("type") == "array":
        given = {"command": ["cat", path]}
    else:
        given = {"command": f"cat {path}"}
    return json.dumps(given)


def filled(schema: dict, text: str):
    """A value of this JSON schema, with the text where a string is wanted."""
    kind = schema.get("type")
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        return {name: filled(part, text) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return []
    return {"string": text, "integer": 0, "number": 0, "boolean": False}.get(kind)


class Chat(Dialect):
    """OpenAI's Chat Completions."""

    def tools(self):
        for tool in self.body.get("tools") or []:
            if function := tool.get("function"):
                yield function.get("name"), function.get("parameters")

    def results(self):
        return sum(message.get("role") == "tool" for message in self.body.get("messages", []))

    def usage(self):
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": 12,
            "total_tokens": self.input_tokens + 12,
            "prompt_tokens_details": {"cached_tokens": self.input_tokens // 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    def head(self, kind):
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": 1_700_000_000,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": "fp_test",
        }

    def tool_call(self):
        name, given = self.call
        return {"id": f"call_{self.id}", "type": "function", "function": {"name": name, "arguments": given}}

    def whole(self):
        message = {"role": "assistant", "content": None if self.call else self.text, "refusal": None, "annotations": []}
        if self.call:
            message["tool_calls"] = [self.tool_call()]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": "tool_calls" if self.call else "stop",
        }
        return self.head("chat.completion") | {"choices": [choice], "usage": self.usage()}

    def events(self):
        head = self.head("chat.completion.chunk")
        counts = (self.body.get("stream_options") or {}).get("include_usage")

        def chunk(delta, reason=None):
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return None, head | {"choices": [choice]} | ({"usage": None} if counts else {})

        yield chunk({"role": "assistant", "content": None if self.call else "", "refusal": None})
        if self.call:
            call = self.tool_call()
            given = call["function"]["arguments"]
            call["function"]["arguments"] = ""
            yield chunk({"tool_calls": [{"index": 0} | call]})
            for part in (given[:7], given[7:]):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        else:
            for part in self.halves():
                yield chunk({"content": part})
        yield chunk({}, "tool_calls" if self.call else "stop")
        if counts:
            yield None, head | {"choices": [], "usage": self.usage()}
        yield None, "[DONE]"


class Responses(Dialect):
    """OpenAI's Responses."""

    def tools(self):
        """Tools, wherever they are: codex sends some as an item of the input, in namespaces."""
        places = [self.body, *(item for item in self.items() if item.get("type") == "additional_tools")]
        tools = [tool for place in places for tool in place.get("tools") or []]
        for tool in tools:
            if tool.get("type") == "namespace":
                tools.extend(tool["tools"])
            elif tool.get("type") == "custom":
                yield tool["name"], None
            else:
                yield tool.get("name") or tool.get("type"), tool.get("parameters")

    def retriever(self):
        """Codex names only the namespace of a server's tools, and takes a call of any of them."""
        named = (re.search(r"\bmcp__\w*epitome\w*", text) for text in strings(self.body))
        return next((f"{name[0]}/retrieve" for name in named if name), None)

    def items(self):
        items = self.body.get("input")
        return items if isinstance(items, list) else []

    def results(self):
        return sum(str(item.get("type")).endswith("_output") for item in self.items())

    def formatted(self, text):
        form = (self.body.get("text") or {}).get("format") or {}
        if form.get("type") == "json_schema":
            return json.dumps(filled(form["schema"], text))
        return text

    def usage(self):
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.input_tokens // 2},
            "output_tokens": 12,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.input_tokens + 12,
        }

    def item(self, done=True):
        if self.call:
            name, given = self.call
            custom = not given.startswith("{")
            space, _, name = name.rpartition("/")
            return {
                **({"namespace": space} if space else {}),
                "id": f"{'ctc' if custom else 'fc'}_{self.id}",
                "type": "custom_tool_call" if custom else "function_call",
                "status": "completed" if done else "in_progress",
                "input" if custom else "arguments": given if done else "",
                "call_id": f"call_{self.id}",
                "name": name,
            }
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "status": "completed" if done else "in_progress",
            "role": "assistant",
            "content": [self.part(self.text)] if done else [],
        }

    @staticmethod
    def part(text):
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def response(self, status="completed"):
        done = status == "completed"
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": self.body.get("instructions"),
            "max_output_tokens": None,
            "model": self.model,
            "output": [self.item()] if done else [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": self.usage() if done else None,
            "metadata": {},
        }

    def whole(self):
        return self.response()

    def events(self):
        number = 0

        def event(name, /, **data):
            nonlocal number
            number += 1
            return name, {"type": name, "sequence_number": number - 1} | data

        yield event("response.created", response=self.response("in_progress"))
        yield event("response.in_progress", response=self.response("in_progress"))
        item = self.item()
        yield event("response.output_item.added", output_index=0, item=self.item(done=False))
        place = {"item_id": item["id"], "output_index": 0}
        if self.call:
            given = self.call[1]
            custom = item["type"] == "custom_tool_call"
            name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
            for part in (given[:7], given[7:]):
                yield event(f"{name}.delta", delta=part, **place)
            done = {"input": given} if custom else {"arguments": given, "name": item["name"]}
            yield event(f"{name}.done", **done, **place)
        else:
            place["content_index"] = 0
            yield event("response.content_part.added", part=self.part(""), **place)
            for part in self.halves():
                yield event("response.output_text.delta", delta=part, logprobs=[], **place)
            yield event("response.output_text.done", text=self.text, logprobs=[], **place)
            yield event("response.content_part.done", part=self.part(self.text), **place)
        yield event("response.output_item.done", output_index=0, item=item)
        yield event("response.completed", response=self.response())


class Messages(Dialect):
    """Anthropic's Messages."""

    def tools(self):
        for tool in self.body.get("tools") or []:
            yield tool.get("name"), tool.get("input_schema")

    def results(self):
        return sum(
            part.get("type") == "tool_result"
            for message in self.body.get("messages", [])
            if isinstance(message.get("content"), list)
            for part in message["content"]
        )

    def formatted(self, text):
        form = (self.body.get("output_config") or {}).get("format") or {}
        if form.get("type") == "json_schema":
            return json.dumps(filled(form["schema"], text))
        return text

    def usage(self):
        half = self.input_tokens // 2
        return {
            "input_tokens": self.input_tokens - half,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": half,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 12,
            "service_tier": "standard",
        }

    def block(self):
        if self.call:
            name, given = self.call
            return {"type": "tool_use", "id": f"toolu_{self.id}", "name": name, "input": json.loads(given)}
        return {"type": "text", "text": self.text}

    def message(self):
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [self.block()],
            "stop_reason": "tool_use" if self.call else "end_turn",
            "stop_sequence": None,
            "usage": self.usage(),
        }

    def whole(self):
        return self.message()

    def events(self):
        def event(name, /, **data):
            return name, {"type": name} | data

        started = self.message() | {"content": [], "stop_reason": None}
        yield event("message_start", message=started)
        block = self.block()
        if self.call:
            yield event("content_block_start", index=0, content_block=block | {"input": {}})
            given = self.call[1]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", given[:7], given[7:])]
        else:
            yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            deltas = [{"type": "text_delta", "text": part} for part in self.halves()]
        yield event("ping")
        for delta in deltas:
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
        reason = {"stop_reason": "tool_use" if self.call else "end_turn", "stop_sequence": None}
        yield event("message_delta", delta=reason, usage=self.usage())
        yield event("message_stop")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", action="append", default=[], help="what a reading tool is called for")
    parser.add_argument("--fact", default=Script.fact)
    parser.add_argument("--answer", default=Script.answer)
    parser.add_argument("--keep", type=pathlib.Path, help="a directory for what arrives")
    options = parser.parse_args()
    count = 0

    def show(record: Record):
        nonlocal count
        count += 1
        print(record.method, record.path, len(record.raw), "bytes:", record.said, flush=True)
        if options.keep:
            save(record, options.keep, f"{count:03}")

    upstream = Upstream(Script(options.fact, options.answer, files=tuple(options.file)), options.port, show)
    print(upstream.url, flush=True)
    threading.Event().wait()


def save(record: Record, folder: pathlib.Path, name: str):
    """Writes a request: its head as text, and its body without content encoding."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "".join(f"{key}: {value}\n" for key, value in record.headers)
    (folder / f"{name}.head").write_text(f"{record.method} {record.path}\n{head}\nanswered: {record.said}\n")
    (folder / f"{name}.json").write_bytes(record.plain)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
