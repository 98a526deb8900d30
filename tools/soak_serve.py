"""Watch `humar-edge serve` for a while: two viewers, changing prompts, clicks, and one client that never reads.

    python tools/soak_serve.py --minutes 30 --model bundles/mine

Prints memory, threads and open files of the server, and exits with 1 when they grew: resident memory by more than
5% between the end of the first fifth of the time and the end, threads or open files at all. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

COMMAND = "from humar_edge.cli.main import main; main()"
PROMPTS = ("the man in red", "the woman in blue", "the person in green", "somebody else")
INTERVAL_S = 5.0


class Viewer:
    """A client of the stream that counts what it gets."""

    def __init__(self, port: int) -> None:
        self.pictures, self.size, self.error = 0, 0, ""
        self._port = port
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
                connection.sendall(b"GET /stream.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n")
                stream = connection.makefile("rb")
                while line := stream.readline():
                    if line.lower().startswith(b"content-length:"):
                        stream.readline()
                        self.size += len(stream.read(int(line.split(b":")[1])))
                        self.pictures += 1
        except OSError as error:
            self.error = str(error)


def measure(pid: int) -> dict[str, float]:
    """Resident memory in MB, threads and open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    values = {key: int(value) for key, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE)}
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return {"rss_mb": round(values["VmRSS"] / 1024, 1), "threads": values["Threads"], "files": files}


def call(port: int, method: str, path: str, body: Any = None) -> Any:
    """One request of the page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def disturb(port: int, turn: int) -> None:
    """What people do: another prompt, one more, a click, everybody again, the results, a viewer that hangs."""
    call(port, "POST", "/api/prompts", {"text": f"{PROMPTS[turn % len(PROMPTS)]} {turn % 50}", "alone": True})
    call(port, "POST", "/api/prompts", {"text": PROMPTS[(turn + 1) % len(PROMPTS)]})
    call(port, "POST", "/api/select", {"x": 0.5, "y": 0.5})
    call(port, "POST", "/api/select", {"prompt": None})
    call(port, "GET", "/api/result.json?masks=1")
    if turn % 4 == 0:
        call(port, "POST", "/api/source", {"id": "demo"})


def soak(server: subprocess.Popen[str], port: int, minutes: float) -> list[dict[str, float]]:
    """Watch the server; returns the measurements."""
    viewers = [Viewer(port), Viewer(port)]
    lazy = socket.create_connection(("127.0.0.1", port))
    lazy.sendall(b"GET /stream.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n")
    started, rows, turn = time.monotonic(), list[dict[str, float]](), 0
    print(f"{'s':>6} {'RSS MB':>8} {'threads':>8} {'files':>6} {'FPS':>6} {'pictures':>14}")
    while time.monotonic() - started < 60 * minutes or turn < 10:
        disturb(port, turn)
        turn += 1
        time.sleep(INTERVAL_S)
        state, row = call(port, "GET", "/api/state"), measure(server.pid)
        rows.append(row)
        seen = "+".join(str(viewer.pictures) for viewer in viewers)
        values = (row["rss_mb"], row["threads"], row["files"], state["fps"], seen)
        print("{:6.0f} {:8.1f} {:8.0f} {:6.0f} {:6.1f} {:>14}".format(time.monotonic() - started, *values), flush=True)
        for viewer in viewers:
            if viewer.error:
                sys.exit(f"a viewer was cut off: {viewer.error}")
    lazy.close()
    return rows


def grown(rows: list[dict[str, float]]) -> list[str]:
    """What grew between the end of the first fifth and the end; medians, as threads come and go."""
    fifth = max(len(rows) // 5, 2)
    problems = []
    for key, share in (("rss_mb", 1.05), ("threads", 1.0), ("files", 1.0)):
        early = statistics.median(row[key] for row in rows[fifth : 2 * fifth])
        late = statistics.median(row[key] for row in rows[-fifth:])
        print(f"{key}: {early:g} -> {late:g} ({100 * (late / early - 1):+.1f}%)")
        if late > early * share:
            problems.append(key)
    return problems


def main() -> None:
    """Parse the arguments, run the server, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default 30)")
    parser.add_argument("--model", help="bundle (default: the embedded one)")
    parser.add_argument("--backend", help="backend (default: the best available)")
    arguments = parser.parse_args()
    options = ["--port", "0", "--threads", "1"]
    for name in ("model", "backend"):
        if value := getattr(arguments, name):
            options += [f"--{name}", value]
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", COMMAND, "serve", *options], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if address := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                problems = grown(soak(server, int(address[1]), arguments.minutes))
                break
        else:
            sys.exit("the server did not start")
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            print("the server did not end within 60 s of SIGTERM")
    print(f"grew: {', '.join(problems)}" if problems else "nothing grew")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
