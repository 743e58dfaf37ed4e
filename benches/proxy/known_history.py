#!/usr/bin/env python3
"""How much a step of an agent costs whose history is known: an Anthropic conversation with about 100,000 tokens of tool
results is sent again with one more short step each time, through the proxy and directly, in turn. At the end comes a new question, twice.

known_history.py BINARY [STEPS]

Prints the median and the 95th percentile of both in milliseconds, and the difference of the medians.
"""
import asyncio, http.client, json, pathlib, statistics, sys, threading, time

import common

TEXTS = sorted((pathlib.Path(__file__).parents[2] / "eval/corpus").glob("*.txt"))


def history():
    """Tool results of 8,000 characters until there are 400,000 characters, which is about 100,000 tokens."""
    whole = "\n\n".join(path.read_text() for path in TEXTS)
    messages = [{"role": "user", "content": "Who paid for what, and when? Read the files."}]
    for n in range(50):
        part = whole[(n * 8000) % max(1, len(whole) - 8000):][:8000]
        messages.append({"role": "assistant", "content": [
            {"type": "text", "text": f"I read part {n} for the names of those who paid."},
            {"type": "tool_use", "id": f"toolu_{n}", "name": "Read", "input": {"file_path": f"part{n}.txt"}}]})
        messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": f"(part {n})\n{part}"}]})
    return messages


def upstream(port):
    async def serve(reader, writer):
        while await common.read_request(reader):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                         % (len(common.ANSWER), common.ANSWER))
            await writer.drain()
        writer.close()

    async def main():
        await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 26)
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()


def main():
    binary, steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    up = common.free_port()
    upstream(up)
    proxy, port = common.start_proxy(binary, up, "serve.deadline_ms=600000", "plan.budget=25%", "plan.floor=0",
                                       "cache.disk_mb=0")
    times = {"direct": [], "proxy": []}
    reasons = {}
    try:
        connections = {name: http.client.HTTPConnection("127.0.0.1", at) for name, at in [("direct", up), ("proxy", port)]}

        def post(name, body):
            start = time.perf_counter()
            connections[name].request("POST", "/v1/messages", body, {"content-type": "application/json"})
            answer = connections[name].getresponse()
            answer.read()
            reason = answer.getheader("x-epitome-outcome"), answer.getheader("x-epitome-texts")
            return (time.perf_counter() - start) * 1e3, reason

        messages = history()
        first, reason = post("proxy", json.dumps({"model": "claude-sonnet-5", "max_tokens": 9, "messages": messages}))
        print(f"first request, all of it new: {first:.0f} ms, {reason}", file=sys.stderr)
        for step in range(steps):
            id = f"toolu_step_{step}"
            messages += [{"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {"command": f"make step-{step}"}}]},
                         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": f"step {step} is done"}]}]
            body = json.dumps({"model": "claude-sonnet-5", "max_tokens": 9, "messages": messages})
            for name in times:
                time_ms, reason = post(name, body)
                times[name].append(time_ms)
                reasons[name] = reason
        # A new question is work: what was left out of earlier texts is ranked for it.
        messages += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Which remote controls do users find ugly?"}]
        body = json.dumps({"model": "claude-sonnet-5", "max_tokens": 9, "messages": messages})
        question = post("proxy", body)[0], post("proxy", body)[0]
    finally:
        proxy.terminate()
    for name, all_ms in times.items():
        ordered = sorted(all_ms)
        print(f"{name}: median {statistics.median(ordered):.1f} ms, p95 {ordered[int(len(ordered) * 0.95)]:.1f} ms, {reasons[name]}")
    print(f"a new question: {question[0]:.0f} ms, the second time {question[1]:.0f} ms")
    print(f"overhead at the median: {statistics.median(times['proxy']) - statistics.median(times['direct']):.1f} ms")


main()
