"""An upstream that answers at once, and the proxy in front of it. Standard library only."""
import asyncio, json, pathlib, socket, subprocess, time, urllib.request

ANSWER = json.dumps({"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": "end_turn",
                     "content": [{"type": "text", "text": "ok"}], "usage": {"input_tokens": 1, "output_tokens": 1}}).encode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_proxy(binary, upstream_port, *settings):
    """Starts `binary serve` and waits until it is ready; returns the process and its port."""
    port = free_port()
    command = [binary, "serve", "--listen", f"127.0.0.1:{port}", "--upstream", f"http://127.0.0.1:{upstream_port}/v1"]
    command += [part for setting in settings for part in ("--set", setting)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1)
            return process, port
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise SystemExit("the proxy did not become ready")


def resident_mib(pid):
    """Memory of a process, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def read_request(reader):
    """The head and the body of an HTTP/1.1 request; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head, await reader.readexactly(length)
