"""Compares what a client sends by itself with what arrives behind epitome.

Bodies are compared as bytes: cut into string literals and what is between them. So the order of keys, the form of
numbers and white space count as well.
"""

import json
import re
from collections import Counter

from upstream import Record

# Where texts may be compacted. Everywhere else, but where tokens are counted, a request must arrive as it was sent.
DIALECTS = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/messages": "messages"}

LITERAL = re.compile(rb'"(?:[^"\\]|\\.)*"')

# What counts the tokens of a request may count those of the compacted one.
COUNTS = {"/v1/messages/count_tokens", "/v1/responses/input_tokens"}

# Shorter texts are none of epitome's business.
LONG = 4000

# What differs between two runs of the same client: ids, times, and what codex writes above the output of a command.
VARYING = [
    (rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", b"UUID"),
    (rb"\b[0-9a-f]{64}\b", b"DIGEST"),
    (rb"Chunk ID: [0-9a-f]+", b"Chunk ID: X"),
    (rb"Wall time:? [0-9.]+ seconds", b"Wall time T"),
    (rb"create_time\":[0-9.]+", b'create_time":0'),
    (rb"unix_ms(\\*)\":[0-9]+", rb'unix_ms\1":0'),
    # The port of the server that was asked.
    (rb"127\.0\.0\.1:[0-9]+", b"127.0.0.1:PORT"),
]

# An object of strings that codex writes in a random order.
METADATA = re.compile(rb'"client_metadata":\{(?:"(?:[^"\\]|\\.)*"[:,]?)*\}')

# Headers of one connection only, or of no meaning to an upstream.
HOP = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "x-request-id", "proxy-connection"}


def normal(data: bytes) -> bytes:
    """Without what differs between two runs."""

    def ordered(match):
        return b",".join(sorted(re.findall(LITERAL.pattern + b":" + LITERAL.pattern, match[0])))

    data = METADATA.sub(ordered, data)
    for pattern, to in VARYING:
        data = re.sub(pattern, to, data)
    return data


def texts(record: Record) -> list[str]:
    """All string literals of a body."""
    return [json.loads(literal) for literal in LITERAL.findall(record.plain)]


class Comparison:
    """The requests of two runs, in pairs."""

    def __init__(self, direct: list[Record], through: list[Record], kept: list[str]):
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.shortened = 0
        """How many texts arrived shorter."""
        self.kept = kept
        """What must still be in a shortened text, if it was there before."""
        self.became: dict[str, str] = {}
        """What became of each text that was shortened."""
        self.pairs = self.paired(direct, through)
        for sent, arrived in self.pairs:
            self.bodies(sent, arrived)
            self.headers(sent, arrived)
        bytes_of = lambda records: sum(len(r.plain) for r in records if r.route in DIALECTS)
        self.sent, self.arrived = bytes_of(direct), bytes_of(through)
        self.encodings = sorted({r.header("content-encoding") or "" for r in direct} - {""})

    def paired(self, direct, through):
        """Requests with a body in their order. Of the others it matters only that they arrive."""
        pairs = []
        texts = COUNTS | DIALECTS.keys()
        posts = lambda records: [record for record in records if record.raw and record.route in texts]
        first, second = posts(direct), posts(through)
        if [record.path for record in first] != [record.path for record in second]:
            self.problems.append(f"requests: {[r.path for r in first]} became {[r.path for r in second]}")
        else:
            pairs += zip(first, second)
        rest = lambda records: Counter((r.method, r.path) for r in records if not (r.raw and r.route in texts))
        first, second = rest(direct), rest(through)
        for method, path in sorted(first.keys() | second.keys()):
            counts = first[method, path], second[method, path]
            if not all(counts):
                self.problems.append(f"{method} {path}: {counts[0]} times direct, {counts[1]} times through epitome")
            elif counts[0] != counts[1]:
                self.notes.append(f"{method} {path}: {counts[0]} times direct, {counts[1]} times through epitome")
        others = lambda records: {(r.path, normal(r.plain)) for r in records if r.raw and r.route not in texts}
        for path, _ in others(through) - others(direct):
            self.problems.append(f"{path}: another body arrived")
        return pairs

    def bodies(self, sent: Record, arrived: Record):
        before, after = normal(sent.plain), normal(arrived.plain)
        if before == after:
            if sent.header("content-encoding") != arrived.header("content-encoding"):
                self.notes.append(f"content-encoding: {arrived.header('content-encoding')}")
            return
        if LITERAL.split(before) != LITERAL.split(after):
            self.problems.append(f"{sent.path}: more than texts changed")
            return
        name = b""
        for old, new in zip(LITERAL.findall(before), LITERAL.findall(after), strict=True):
            if old != new:
                self.text(f"{sent.path} {name.decode()}", json.loads(old), json.loads(new))
            if len(old) < 40:
                name = old

    def text(self, where: str, old: str, new: str):
        if old in new:
            # What a question needs from a text before it may be put beside it.
            self.notes.append(f"{where}: {len(new) - len(old)} bytes are beside {old[:40]!r}")
            return
        if len(old) < LONG or len(new) >= len(old):
            self.problems.append(f"{where}: {old[:60]!r} became {new[:60]!r}")
            return
        if where.split()[0].split("?")[0] in COUNTS:
            self.notes.append(f"{where}: counted at {len(new):,} bytes instead of {len(old):,}")
        else:
            self.shortened += 1
        # A text that changes from turn to turn is in no prefix cache.
        if self.became.setdefault(old, new) != new:
            self.problems.append(f"{where}: compacted in another way than a turn before")
        for wording in self.kept:
            if wording in old and wording not in new:
                self.problems.append(f"{where}: {wording!r} is gone")

    def headers(self, sent: Record, arrived: Record):
        def named(record):
            pairs = [(name.lower(), normal(value.encode()).decode()) for name, value in record.headers]
            return Counter(pair for pair in pairs if pair[0] not in HOP)

        for name, value in named(sent) - named(arrived):
            self.notes_or_problem(name, f"{name}: {value[:60]}", arrived)
        for name, value in named(arrived) - named(sent):
            if not sent.header(name):
                self.notes.append(f"new header {name}: {value[:60]}")

    def notes_or_problem(self, name: str, text: str, arrived: Record):
        # A proxy that reads the body may take its encoding off, and may ask for an answer that it can read.
        if name in ("content-encoding", "accept-encoding"):
            self.notes.append(f"{text} arrived as {arrived.header(name)}")
        else:
            self.problems.append(f"header {text} arrived as {arrived.header(name)}")
