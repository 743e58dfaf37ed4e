#!/usr/bin/env python3
"""Many streams at once: clients read server-sent events through the proxy for a minute, and a tenth of them leave early.

streams.py BINARY [STREAMS] [SECONDS]

All streams together carry 200 events a second. Prints how many streams ended as they should, how many failed, how many
left, and the memory of the proxy before, at most, and after.
"""
import asyncio, random, sys, time

import common

EVENTS_PER_SECOND = 200
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
END = b"data: [DONE]\n\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


async def upstream(port, streams, seconds):
    pause = streams / EVENTS_PER_SECOND

    async def serve(reader, writer):
        try:
            while await common.read_request(reader):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
                await asyncio.sleep(random.random() * pause)
                for _ in range(max(1, int(seconds / pause))):
                    writer.write(chunk(EVENT))
                    await writer.drain()
                    await asyncio.sleep(pause)
                writer.write(chunk(END) + b"0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 22)


async def client(port, body, leaves_after, counts):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                     b"content-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        end = time.monotonic() + leaves_after if leaves_after else None
        seen = b""
        while True:
            wait = max(0.0, end - time.monotonic()) if end else 120
            try:
                data = await asyncio.wait_for(reader.read(4096), wait)
            except asyncio.TimeoutError:
                counts["left" if end else "failed"] += 1
                break
            seen = (seen + data)[-64:]
            if b"[DONE]" in seen:
                counts["done"] += 1
                break
            if not data:
                counts["failed"] += 1
                break
        writer.close()
    except OSError:
        counts["failed"] += 1


async def main():
    binary = sys.argv[1]
    streams = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 60
    up = common.free_port()
    await upstream(up, streams, seconds)
    proxy, port = await asyncio.to_thread(common.start_proxy, binary, up)
    body = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Tell me."}]}'
    counts = {"done": 0, "failed": 0, "left": 0}
    before = most = common.resident_mib(proxy.pid)
    random.seed(1)
    try:
        clients = [asyncio.create_task(client(port, body, random.uniform(1, seconds / 2) if n % 10 == 0 else None, counts))
                   for n in range(streams)]
        while not all(task.done() for task in clients):
            most = max(most, common.resident_mib(proxy.pid))
            await asyncio.sleep(0.5)
        await asyncio.sleep(2)
        after = common.resident_mib(proxy.pid)
    finally:
        proxy.terminate()
    print(f"{streams} streams: {counts['done']} done, {counts['left']} left, {counts['failed']} failed; "
          f"memory {before:.0f} MiB before, {most:.0f} at most, {after:.0f} after")
    sys.exit(1 if counts["failed"] else 0)


asyncio.run(main())
