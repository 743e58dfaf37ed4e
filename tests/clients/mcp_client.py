"""`epitome mcp` with the official Python SDK's client, over standard streams and over streamable HTTP,
and with the `/mcp` of a proxy.

    python tests/clients/mcp_client.py BINARY
"""

import asyncio
import json
import pathlib
import re
import sys
import tempfile
import urllib.error
import urllib.request

import alone

alone.packages("python-mcp", "mcp>=2")

from mcp import Client, StdioServerParameters  # noqa: E402

PAID = "2026-11-30T10:14:47Z INFO billing: invoice INV-88812 paid by ACME Corp"
LINES = [f"2026-11-30T10:{at // 60 % 60:02}:{at % 60:02}Z INFO worker: job {at} took {at * 7 % 97} ms" for at in range(1000)]
LINES[887] = PAID
LOG = "\n".join(LINES)
QUERY = "Who paid invoice INV-88812?"


def words(result) -> str:
    assert not result.is_error, result.content
    return "".join(block.text for block in result.content)


async def talk(server, mode: str) -> None:
    async with Client(server, mode=mode, read_timeout_seconds=300) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"compact", "retrieve", "explain"}, tools
        assert tools["compact"].input_schema["required"] == ["text"]

        short = await client.call_tool("compact", {"text": LOG, "query": QUERY, "budget": "10%"})
        figures, text = short.meta["epitome"], words(short)
        assert PAID in text and len(text) < len(LOG) / 4, text
        assert figures["tokens_after"] < figures["tokens_before"] / 4, figures
        identity = re.search(r"retrieve it with hash=([0-9a-f]{16})\]$", text)[1]
        assert figures["id"] == identity, figures

        async def original(**part) -> str:
            return words(await client.call_tool("retrieve", {"id": identity, **part}))

        assert await original() == LOG
        named = await client.call_tool("retrieve", {"hash": identity})
        # Agents show a model structured content in place of the words.
        assert words(named) == LOG and not named.structured_content, named
        assert await original(lines="888") == PAID + "\n"
        assert await original(bytes="0-20") == LOG[:20]
        assert PAID in await original(query=QUERY, budget=200)

        why = (await client.call_tool("explain", {"id": identity, "query": QUERY, "budget": "10%"})).structured_content
        at = LOG.index(PAID)
        assert any(first <= at < last for first, last in (piece["bytes"] for piece in why["kept"])), why["kept"]
        assert why["left_out"] and all(gap["tokens"] > 0 for gap in why["left_out"]), why["left_out"]

        unknown = await client.call_tool("retrieve", {"id": "0123456789abcdef"})
        assert unknown.is_error and "left the cache" in unknown.content[0].text, unknown
        wrong = await client.call_tool("compact", {"txt": LOG})
        assert wrong.is_error and "txt" in wrong.content[0].text, wrong


def refused(url: str, **headers) -> int:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    accepted = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, accepted | headers), timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


async def through(url: str, identity: str) -> None:
    """What the proxy shortened for a gateway is fetched from its `/mcp`."""
    for mode in ("auto", "legacy"):
        async with Client(f"{url}/mcp", mode=mode, read_timeout_seconds=300) as client:
            assert words(await client.call_tool("retrieve", {"hash": identity})) == LOG
            needed = await client.call_tool("retrieve", {"hash": identity, "query": QUERY, "budget": 200})
            assert PAID in words(needed)


def compressed(url: str) -> str:
    """The hash of the log, after the proxy has shortened it as a row."""
    rows = [{"role": "user", "content": QUERY}, {"role": "tool", "tool_call_id": "c1", "content": LOG}]
    body = json.dumps({"model": "gpt-4o", "messages": rows}).encode()
    request = urllib.request.Request(f"{url}/v1/compress", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        answer = json.load(response)
    assert answer["tokens_after"] < answer["tokens_before"], answer["account"]
    (identity,) = answer["ccr_hashes"]
    return identity


async def main() -> None:
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        names = {key: value for key, value in alone.os.environ.items() if key.startswith("EPITOME_MODELS")}
        env = {"EPITOME_CACHE_DIR": str(folder), "HOME": alone.os.environ["HOME"], **names}
        streams = StdioServerParameters(command=binary, args=["mcp"], env=env)
        for mode in ("auto", "legacy"):
            await talk(streams, mode)
        port = alone.port()
        url = f"http://127.0.0.1:{port}/mcp"
        # A GET is answered, though with an error: there are no sessions to listen to.
        with alone.server([binary, "mcp", "--listen", f"127.0.0.1:{port}"], url, folder / "mcp.log", {**env}):
            for mode in ("auto", "legacy"):
                await talk(url, mode)
            # A page in a browser cannot reach it, by its own name or by another for this machine.
            assert refused(url, origin="http://evil.example") == 403
            assert refused(url, host="evil.example") == 403
        port = alone.port()
        url = f"http://127.0.0.1:{port}"
        # Nobody listens upstream: whatever went there would be answered with 502.
        command = [binary, "serve", "--listen", f"127.0.0.1:{port}", "--upstream", "http://127.0.0.1:9/v1"]
        with alone.server(command, f"{url}/readyz", folder / "serve.log", {**env}):
            await through(url, compressed(url))
            await talk(f"{url}/mcp", "auto")
            assert refused(f"{url}/mcp", origin="http://evil.example") == 403
            assert refused(f"{url}/mcp", host="evil.example") == 403
    print("5 passed, 0 failed")


asyncio.run(main())
