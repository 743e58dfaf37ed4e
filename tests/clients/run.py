"""Real clients through a running epitome, and the same clients without it.

    python tests/clients/run.py BINARY [NAME...] [--quick] [--must-compact] [--keep] [--set KEY=VALUE]

README.md says what is checked. A NAME is a client (`openai-python`) or a client and a variant (`codex/zstd`).
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import agents
import compare
from upstream import Script, Upstream, save

HERE = pathlib.Path(__file__).resolve().parent
STORY = HERE.parents[1] / "eval" / "corpus" / "story.txt"
FACT = " The spare surge-circuit of the Aphrodite carried the serial number KX-4471-B."
ERRATA = "Page 3: for Gormann read Gorman.\n"
UNKNOWN = "0123456789abcdef"
"""The hash of no text."""
QUESTION = "What is the serial number of the spare surge-circuit of the Aphrodite?"
SYSTEM = "You are a librarian. Answer from the text alone, in one sentence."
PATIENCE = 120
"""Seconds for one run of one client."""


class Skipped(Exception):
    """A client that cannot run here."""


@dataclasses.dataclass
class Packages:
    """What a client needs, in a folder of its own in the cache."""

    folder: str
    names: tuple[str, ...]

    def install(self, cache: pathlib.Path, fresh: bool) -> pathlib.Path:
        """The folder of the programs, after installing what is missing."""
        root = cache / self.folder
        python = self.folder.startswith("python")
        stamp = root / "installed.txt"
        have = stamp.read_text().split() if stamp.exists() and not fresh else []
        programs = root / ("bin" if python else "node_modules")
        if set(self.names) <= set(have):
            return programs
        if not shutil.which("python3" if python else "npm"):
            raise Skipped("there is no npm")
        root.mkdir(parents=True, exist_ok=True)
        if python:
            if not (programs / "python").exists():
                command([sys.executable, "-m", "venv", root])
            # What a venv got before stays among the wishes, so that a later installation keeps it working.
            wanted = sorted({*have, *self.names})
            pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command([*pip, *(["--upgrade"] if fresh else []), *wanted])
        else:
            wanted = sorted({*have, *self.names})
            (root / "package.json").write_text('{"private": true}')
            names = [f"{name}@latest" for name in wanted] if fresh else wanted
            command(["npm", "install", "--prefix", root, "--no-fund", "--no-audit", "--loglevel=error", *names])
        stamp.write_text("\n".join(wanted))
        return programs


def command(words) -> None:
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        raise Skipped("installing takes too long") from None
    if done.returncode:
        raise Skipped(f"cannot be installed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]}")


@dataclasses.dataclass
class Case:
    """One client in one way of using it."""

    client: str
    variant: str
    packages: Packages
    dialect: str
    script: str = ""
    """A file of this folder, which takes the variant as its argument."""
    start: Callable | None = None
    """Or how to start an agent, and how to read its output."""
    answer: Callable | None = None
    stream: bool = False
    quick: bool = False
    zstd: bool = False
    """Whether the upstream has to read zstd."""
    compacts: bool = True
    """Whether epitome is to compact what this client sends, if it knows the dialect."""
    wrap: bool = False
    """Whether `epitome wrap` starts the agent, instead of a proxy that runs already."""
    relay: str = ""
    """Where the LiteLLM proxy is: `before` or `behind` epitome."""

    @property
    def name(self) -> str:
        return f"{self.client}/{self.variant}"


PYTHON = "python"
OPENAI = Packages(PYTHON, ("openai",))
ANTHROPIC = Packages(PYTHON, ("anthropic",))
# The others hold the official clients back to some version, so each is alone.
LITELLM = Packages("python-litellm", ("litellm",))
LANGCHAIN = Packages("python-langchain", ("langchain-openai", "langchain-anthropic"))
LLAMAINDEX = Packages("python-llamaindex", ("llama-index-llms-openai-like",))
PYDANTIC = Packages("python-pydantic", ("pydantic-ai-slim[openai,anthropic]",))
PROXY = Packages("python-litellm-proxy", ("litellm[proxy]",))
ZSTD = Packages(PYTHON, ("zstandard",))
AIDER = Packages("python-aider", ("aider-chat",))
CLAUDE = Packages("node-claude", ("@anthropic-ai/claude-code",))
CODEX = Packages("node-codex", ("@openai/codex",))


def scripted(client, packages, script, variants, quick=frozenset(), **more):
    """Cases of one script: the name of a variant begins with its dialect."""
    for variant in variants.split():
        name = variant.removesuffix("!")
        yield Case(
            client,
            name,
            packages,
            {"count": "messages"}.get(name.split("-")[0], name.split("-")[0]),
            script=script,
            stream=name.endswith("-stream") or name in ("messages-cached", "messages-document"),
            # Variants with an exclamation mark are none that must be compacted.
            compacts=name == variant,
            quick=name in quick,
            **more,
        )


def cases():
    yield from scripted(
        "openai-python",
        OPENAI,
        "openai_python.py",
        "chat chat-stream chat-tools responses responses-stream responses-tools",
        quick={"chat", "chat-stream", "chat-tools", "responses-stream", "responses-tools"},
    )
    yield from scripted(
        "anthropic-python",
        ANTHROPIC,
        "anthropic_python.py",
        "messages messages-stream messages-tools messages-beta-tools messages-cached! messages-document! count-tokens!",
        quick={"messages", "messages-stream", "messages-tools"},
    )
    yield from scripted(
        "litellm-python", LITELLM, "litellm_python.py", "chat chat-stream responses messages messages-stream"
    )
    yield from scripted(
        "langchain-python",
        LANGCHAIN,
        "langchain_python.py",
        "chat chat-stream chat-tools responses-stream messages messages-stream messages-tools",
    )
    yield from scripted("llamaindex-python", LLAMAINDEX, "llamaindex_python.py", "chat chat-stream")
    yield from scripted(
        "pydantic-ai",
        PYDANTIC,
        "pydantic_python.py",
        "chat-tools chat-tools-stream responses-tools messages-tools messages-tools-stream",
    )
    yield from scripted(
        "openai-node", Packages("node", ("openai",)), "openai_node.mjs", "chat chat-stream responses-stream"
    )
    yield from scripted(
        "anthropic-node", Packages("node", ("@anthropic-ai/sdk",)), "anthropic_node.mjs", "messages messages-stream"
    )
    for relay in ("before", "behind"):
        client = f"litellm-proxy-{relay}"
        yield from scripted(client, OPENAI, "openai_python.py", "chat-stream chat-tools", relay=relay)
        yield from scripted(client, ANTHROPIC, "anthropic_python.py", "messages-stream messages-tools", relay=relay)
    for variant, model in (("sonnet", "claude-sonnet-4-5"), ("opus", "claude-opus-4-8")):
        start = agents.claude(model)
        yield Case("claude", variant, CLAUDE, "messages", start=start, answer=agents.claude_answer, stream=True)
    for variant, model, login in (
        ("provider", "gpt-5.5", "provider"),
        ("code-mode", "gpt-6.2-sol", "provider"),
        ("websocket", "gpt-5.5", "key"),
        ("zstd", "gpt-5.5", "account"),
    ):
        yield Case(
            "codex",
            variant,
            CODEX,
            "responses",
            start=agents.codex(model, login),
            answer=agents.codex_answer,
            stream=True,
            zstd=variant == "zstd",
        )
    for client, packages, dialect, start, answer in (
        ("claude", CLAUDE, "messages", agents.claude("claude-sonnet-4-5"), agents.claude_answer),
        ("codex", CODEX, "responses", agents.codex("gpt-5.5", "key"), agents.codex_answer),
    ):
        yield Case(client, "wrap", packages, dialect, start=start, answer=answer, stream=True, wrap=True)
    yield Case("aider", "ask", AIDER, "chat", start=agents.aider, answer=agents.aider_answer, stream=True)


class Setup:
    """What all cases share: the upstream, epitome in front of it, and a folder that is gone at the end."""

    def __init__(self, options, folder: pathlib.Path, closing: contextlib.ExitStack):
        self.options = options
        self.folder = folder
        self.closing = closing
        self.file = folder / "work" / "story.txt"
        self.errata = folder / "work" / "errata.txt"
        # After the second file the long text is sent once more, as an earlier turn.
        self.upstream = Upstream(Script(files=(str(self.file), str(self.errata))))
        closing.callback(self.upstream.close)
        self.epitome = self.serve(self.upstream.url)
        self.relays: dict[str, str] = {}

    def serve(self, upstream: str) -> str:
        """Starts an epitome in front of this address, and returns its own."""
        port = free_port()
        words = [self.options.binary, "serve", "--listen", f"127.0.0.1:{port}", "--upstream", f"{upstream}/v1"]
        for setting in self.options.set:
            words += ["--set", setting]
        url = f"http://127.0.0.1:{port}"
        self.background(words, f"epitome-{port}", self.environment(), f"{url}/readyz")
        return url

    def relay(self, upstream: str) -> str:
        """A LiteLLM proxy in front of this address; one is enough for all cases."""
        if upstream not in self.relays:
            programs = PROXY.install(self.options.cache, self.options.upgrade)
            port = free_port()
            openai = {"model": "openai/gpt-4o-mini", "api_base": f"{upstream}/v1", "api_key": "sk-test"}
            anthropic = {"model": "anthropic/claude-sonnet-4-5", "api_base": upstream, "api_key": "sk-ant-test"}
            models = [
                {"model_name": values["model"].split("/")[1], "litellm_params": values}
                for values in (openai, anthropic)
            ]
            # JSON is YAML.
            config = self.folder / f"litellm-{port}.yaml"
            config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}))
            words = [programs / "litellm", "--config", config, "--host", "127.0.0.1", "--port", port]
            url = f"http://127.0.0.1:{port}"
            # Only this machine reaches it, and it has no key to lose.
            env = self.environment(LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true")
            self.background(words, config.stem, env, f"{url}/health/liveliness")
            self.relays[upstream] = url
        return self.relays[upstream]

    def background(self, words, name: str, env, probe: str):
        """Starts a server, which ends with this program, and waits until it answers."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd=self.folder,
                start_new_session=True,
            )
        self.closing.callback(end, process)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(probe, timeout=5)
                return
            time.sleep(0.2)
        raise Skipped(f"{name} does not start: {log.read_text(errors='replace')[-500:]}")

    def environment(self, **more: str) -> dict[str, str]:
        """Little of the own environment, an empty home, and no way out: what would leave arrives at the upstream."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        kept |= {name: value for name, value in os.environ.items() if name.startswith("EPITOME_")}
        return {
            **kept,
            **agents.QUIET,
            "HOME": str(self.folder / "home"),
            "HTTPS_PROXY": self.upstream.url,
            "https_proxy": self.upstream.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **more,
        }

    def clean(self):
        """A home and a work folder with nothing but the text."""
        for name in ("home", "work"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        lines = STORY.read_text(encoding="utf-8").split("\n")
        lines.insert(len(lines) // 2, FACT)
        self.file.write_text("\n".join(lines), encoding="utf-8")
        self.errata.write_text(ERRATA, encoding="utf-8")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process: subprocess.Popen):
    """Ends a process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclasses.dataclass
class Run:
    """One run of a client."""

    version: str
    answer: str
    facts: list
    records: list
    seconds: float
    told: str = ""
    """What was written to standard error."""


def run(setup: Setup, case: Case, programs: pathlib.Path, url: str, way: str) -> Run:
    """Runs the client against this address."""
    setup.clean()
    setup.upstream.take()
    task = f"Read the file {setup.file.name}, then {setup.errata.name}."
    if case.script:
        given = {
            "url": url,
            "file": str(setup.file),
            "question": QUESTION,
            "system": SYSTEM,
            "task": task,
            "answer": setup.upstream.script.answer,
            "modules": str(programs),
        }
        program = "node" if case.script.endswith(".mjs") else programs / "python"
        words = [program, HERE / case.script, case.variant]
        env = setup.environment(EPITOME_CASE=json.dumps(given), PYTHONDONTWRITEBYTECODE="1")
    else:
        place = agents.Place(programs, setup.folder / "home", url, str(setup.file), f"{task} {QUESTION}")
        if case.wrap:
            # Without `epitome wrap`, the agent gets the same tools from the proxy that runs.
            place.wrapped = way == "epitome"
            place.tools = "" if place.wrapped else setup.epitome
        words, more = case.start(place)
        if place.wrapped:
            settings = [word for setting in setup.options.set for word in ("--set", setting)]
            words = [setup.options.binary, "wrap", *settings, "--program", words[0], case.client, "--", *words[1:]]
        env = setup.environment(**more)
    kept = setup.folder / "kept" / case.name / way
    kept.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (kept / "stdout").open("wb") as output, (kept / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=env,
            cwd=setup.folder / "work",
            start_new_session=True,
        )
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = f"no end within {PATIENCE} seconds"
        finally:
            end(process)
    seconds = time.monotonic() - started
    records = setup.upstream.take()
    for number, record in enumerate(records):
        save(record, kept, f"{number:02}")
    output = (kept / "stdout").read_text(errors="replace")
    told = (kept / "stderr").read_text(errors="replace").strip()
    if code != 0:
        raise AssertionError(f"{way}: exit code {code}: {(told or output.strip())[-400:]}")
    if case.script:
        result = json.loads(output.strip().splitlines()[-1])
        return Run(result["version"], result["answer"], result["facts"], records, seconds)
    answer, *facts = case.answer(output)
    return Run(version_of(case, programs), answer, facts, records, seconds, told)


def version_of(case: Case, programs: pathlib.Path) -> str:
    name = case.packages.names[0]
    if programs.name == "node_modules":
        return json.loads((programs / name / "package.json").read_text())["version"]
    code = f"from importlib.metadata import version; print(version({name.split('[')[0]!r}))"
    return subprocess.run([programs / "python", "-c", code], capture_output=True, text=True).stdout.strip()


def outcomes(setup: Setup, url: str, records: list) -> str:
    """What epitome says of the last of these requests: a client keeps the headers of an answer to itself."""
    said = ""
    for record in records:
        if record.raw and record.route in compare.DIALECTS:
            headers = {name: value for name, value in record.headers if name.lower() not in compare.HOP}
            headers["accept-encoding"] = "identity"
            request = urllib.request.Request(f"{url}{record.path}", record.raw, headers, method="POST")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(request, timeout=PATIENCE) as response:
                    response.read()
                    told = response.headers
            except urllib.error.HTTPError as error:
                told = error.headers
            said = " ".join(filter(None, (told.get("x-epitome-outcome"), told.get("x-epitome-reason"))))
    setup.upstream.take()
    return said


def model_of(one: Run) -> str:
    """The model that the client asked for."""
    return next(record.body["model"] for record in one.records if record.route in compare.DIALECTS)


def check(setup: Setup, case: Case):
    """Runs a client both ways. Returns its version, what it amounts to, and what is wrong."""
    programs = case.packages.install(setup.options.cache, setup.options.upgrade)
    if case.zstd and not importlib.util.find_spec("compression"):
        # Before 3.14, Python's own library has none. The upstream imports it when it needs it.
        ZSTD.install(setup.options.cache, setup.options.upgrade)
        sys.path.append(sysconfig.get_path("purelib", vars={"base": str(setup.options.cache / PYTHON)}))
    asked = setup.epitome
    if case.relay == "before":
        first, second = setup.relay(setup.upstream.url), setup.relay(setup.epitome)
    elif case.relay == "behind":
        first = setup.relay(setup.upstream.url)
        second = asked = setup.serve(first)
    elif case.wrap:
        first = second = setup.upstream.url
    else:
        first, second = setup.upstream.url, setup.epitome
    setup.upstream.script.fetch = UNKNOWN if case.wrap else ""
    direct = run(setup, case, programs, first, "direct")
    through = run(setup, case, programs, second, "epitome")

    if case.wrap:
        # `epitome wrap` refuses websockets itself.
        direct.records = [record for record in direct.records if record.said != "upgrade"]
    wording = [QUESTION, f"Read the file {setup.file.name}, then", SYSTEM, "Process exited with code 0"]
    compared = compare.Comparison(direct.records, through.records, wording)
    problems = compared.problems
    expected = setup.upstream.script.answer
    for way, one in (("direct", direct), ("through epitome", through)):
        if one.answer != expected:
            problems.append(f"{way} the answer is {one.answer[-200:]!r}")
        if case.variant == "count-tokens":
            continue
        asks = [record for record in one.records if record.raw and record.route in compare.DIALECTS]
        if not asks or not any(QUESTION in text for text in compare.texts(asks[-1])):
            problems.append(f"{way} the question did not arrive")
        # The upstream asked for a text that is not kept, and epitome's tool said so.
        said = f"no original {UNKNOWN} is kept"
        if case.wrap and not (asks and any(said in text for text in compare.texts(asks[-1]))):
            problems.append(f"{way} the tools of epitome were not offered, or not called")
    if case.wrap and not all(word in through.told for word in ("paid $", model_of(direct)[:8])):
        problems.append(f"no bill: {through.told[-200:]!r}")
    counted = case.variant == "count-tokens" and through.facts <= direct.facts
    if direct.facts != through.facts and not counted:
        problems.append(f"{direct.facts} became {through.facts}")

    strays = sorted({record.path for record in direct.records + through.records if record.said == "stray"})
    if strays:
        compared.notes.append(f"tried to reach {', '.join(strays)}")
    if compared.encodings:
        compared.notes.append(f"sent in {', '.join(compared.encodings)}")
    if through.seconds > direct.seconds + 5:
        compared.notes.append(f"{direct.seconds:.1f} s direct, {through.seconds:.1f} s through epitome")
    if compared.shortened:
        outcome = "compacted"
    else:
        told = outcomes(setup, asked, direct.records)
        outcome = f"passed through ({told or 'no header'})"
        if setup.options.must_compact and case.compacts:
            problems.append("not compacted")
    sizes = f"{compared.sent:,} -> {compared.arrived:,} bytes"
    return direct.version, [outcome, sizes, json.dumps(through.answer)], problems, compared.notes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="only the official Python clients; skips none")
    parser.add_argument("--must-compact", action="store_true", help="a long text that passes through is a failure")
    parser.add_argument("--keep", action="store_true", help="keep everything that was sent and said")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of epitome")
    parser.add_argument("--upgrade", action="store_true", help="install the newest versions")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache" / "epitome-clients")
    options = parser.parse_intermixed_args()
    options.cache = options.cache.resolve()

    chosen = [case for case in cases() if case.quick or not options.quick]
    if options.names:
        known = {name for case in chosen for name in (case.name, case.client)}
        if unknown := set(options.names) - known:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        chosen = [case for case in chosen if {case.name, case.client} & set(options.names)]
    if options.list:
        print("\n".join(case.name for case in chosen))
        return

    folder = pathlib.Path(tempfile.mkdtemp(prefix="epitome-clients-"))
    counts = {"ok": 0, "failed": 0, "skipped": 0}
    with contextlib.ExitStack() as closing:
        if not options.keep:
            closing.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "home").mkdir()
        try:
            setup = Setup(options, folder, closing)
        except Skipped as reason:
            sys.exit(f"{reason}")
        for case in chosen:
            version, told, problems, notes = "", [], [], []
            try:
                version, told, problems, notes = check(setup, case)
                state = "failed" if problems else "ok"
            except Skipped as reason:
                # What CI asks for must run there.
                state, problems = "failed" if options.quick else "skipped", [str(reason)]
            except (AssertionError, KeyError, ValueError, IndexError) as error:
                state, problems = "failed", [f"{type(error).__name__}: {error}"]
            counts[state] += 1
            way = "stream" if case.stream else "whole"
            print(f"{state:7} {case.name:34} {version:9} {case.dialect:9} {way:6} {', '.join(told)}", flush=True)
            for problem in problems:
                print(f"        {problem}", flush=True)
            for note in dict.fromkeys(notes):
                print(f"        note: {note}", flush=True)
    if options.keep:
        print(f"kept: {folder}")
    # One line that a reader of CI's output finds.
    print(f"clients: {counts['ok']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
