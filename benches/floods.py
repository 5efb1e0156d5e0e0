#!/usr/bin/env python3
"""How long two members who talk to each other wait while somebody floods the daemon.

    python3 benches/floods.py target/release/roomd [FLOOD ...]

Each flood runs for five seconds from another address of this machine, against a daemon that spares nobody
(`--exempt none`). The two, each at an address of its own, say something by turns every 100 ms; what is shown is the time
from saying to hearing, in milliseconds, and the memory of the daemon before, at its peak and after the flood.
"""
import base64
import multiprocessing
import re
import socket
import subprocess
import sys
import threading
import time

FLAGS = ["--listen", "127.0.0.1:0", "--exempt", "none", "--log-level", "warn", "--max-per-ip", "none"]
SECONDS = 5
ENEMY = "127.0.0.66"
LIGATURES = "\ufdfa" * 1300
KEY = base64.b64encode(b"0123456789abcdef").decode()


def connect(port, ip=ENEMY, receive_bytes=None):
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.bind((ip, 0))
    client.connect(("127.0.0.1", port))
    return client


def say(client, text, may_wait=False):
    client.setblocking(may_wait)
    try:
        client.send(text if isinstance(text, bytes) else text.encode())
        return True
    except (BlockingIOError, ConnectionError):
        return False


def until(end):
    count = 0
    while time.monotonic() < end:
        yield count
        count += 1


def drain(client):
    client.setblocking(False)
    try:
        while client.recv(1 << 16):
            pass
    except OSError:
        pass


def many(port, end, line, count=32, reads=True):
    """`count` members, each of whom says `line` as often as it can."""
    clients = [connect(port) for _ in range(count)]
    for number, client in enumerate(clients):
        say(client, f"enemy-{number}\n")
    for turn in until(end):
        for number, client in enumerate(clients):
            say(client, line(turn, number))
            if reads:
                drain(client)


def again_and_again(port, end, talk):
    """One connection after the other."""
    for turn in until(end):
        try:
            client = connect(port)
            say(client, talk(turn))
            client.close()
        except OSError:
            pass


def unread(port, end, hello, line, count=2000):
    """Many peers who ask, and take nothing of the answers."""
    clients = []
    for turn in until(end):
        if len(clients) < count:
            client = connect(port, receive_bytes=4096)
            say(client, hello(turn))
            clients.append(client)
        say(clients[turn % len(clients)], line)


def frame(kind, payload):
    return bytes([kind, 0xFE]) + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


def upgrade(query=""):
    return (f"GET /ws{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n").encode()


FLOODS = {
    "nothing": lambda port, end: time.sleep(SECONDS),
    "lines": lambda port, end: many(port, end, lambda *_: "spam\n" * 100),
    "long lines": lambda port, end: many(port, end, lambda *_: "spam " * 800 + "\n"),
    "/msg of ligatures": lambda port, end: many(port, end, lambda *_: f"/msg {LIGATURES} x\n"),
    "names of Hangul": lambda port, end: many(port, end, lambda t, n: f"/nick {'뷁' * 20}{chr(0xac00 + n)}\n" * 20),
    "rooms": lambda port, end: many(port, end, lambda t, n: "".join(f"/join x{t}-{n}-{i}\n" for i in range(50))),
    "/history": lambda port, end: many(port, end, lambda *_: "/history 1000\n" * 100),
    "again and again": lambda port, end: again_and_again(port, end, lambda t: f"enemy{t}\nspam\n"),
    "a name and the end": lambda port, end: again_and_again(port, end, lambda t: f"enemy{t}"),
    "WebSockets again": lambda port, end: again_and_again(port, end, lambda t: upgrade(f"?name=enemy{t}")),
    "HTTP": lambda port, end: again_and_again(port, end, lambda t: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "unheard input": lambda port, end: unread(port, end, lambda t: f"enemy{t}\n", "\n" * 33_000),
    "unread history": lambda port, end: unread(
        port, end, lambda t: '{"type":"hello","name":"enemy%d"}\n' % t, '{"type":"history","limit":1000}\n' * 3),
    "unfinished messages": lambda port, end: unread(
        port, end, lambda t: upgrade("?name=enemy%d" % t), frame(0x01, b"y" * 3000)),
}
# The same without a limit on the rate: what the daemon itself is worth.
UNLIMITED = ["lines", "long lines", "/msg of ligatures", "names of Hangul", "/history", "unread history"]


def memory(pid):
    status = open(f"/proc/{pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def innocents(port, end):
    """Two members who say something by turns; returns the times that it took, in milliseconds."""
    two = [connect(port, ip) for ip in ("127.0.0.11", "127.0.0.12")]
    sent, took = {}, []

    def listen(client):
        rest = b""
        client.setblocking(True)
        while True:
            try:
                data = client.recv(1 << 16)
            except OSError:
                return
            if not data:
                return
            now = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                found = re.search(rb": innocent (\d+)$", line)
                if found and int(found.group(1)) in sent:
                    took.append((now - sent.pop(int(found.group(1)))) * 1000)

    for number, client in enumerate(two):
        client.send(f"innocent-{number}\n/join quiet\n".encode())
    time.sleep(0.3)
    for client in two:
        threading.Thread(target=listen, args=(client,), daemon=True).start()
    for turn in until(end):
        sent[turn] = time.monotonic()
        two[turn % 2].send(f"innocent {turn}\n".encode())
        time.sleep(0.1)
    time.sleep(0.5)
    for client in two:
        client.close()
    return sorted(took), len(sent)


def run(program, name, flags):
    daemon = subprocess.Popen([program, *FLAGS, *flags], stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+),", daemon.stderr.readline()).group(1))
        threading.Thread(target=lambda: [None for _ in daemon.stderr], daemon=True).start()
        before = peak = memory(daemon.pid)
        end = time.monotonic() + SECONDS + 0.5
        flood = multiprocessing.Process(target=FLOODS[name], args=(port, end))
        flood.start()
        watching = True

        def watch():
            nonlocal peak
            while watching:
                peak = max(peak, memory(daemon.pid))
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        took, unheard = innocents(port, end)
        flood.terminate()
        flood.join()
        time.sleep(6)
        watching = False
        watcher.join()
        after = memory(daemon.pid)
        at = lambda share: took[min(len(took) - 1, int(len(took) * share))] if took else float("nan")
        print(f"{name + (' (no --rate)' if flags else ''):32} {len(took):4} heard {unheard:2} not  "
              f"p50 {at(.5):6.2f} p99 {at(.99):6.2f} ms   {before:5.1f} {peak:6.1f} {after:5.1f} MiB", flush=True)
    finally:
        daemon.terminate()
        daemon.wait()


def main():
    program, *names = sys.argv[1:]
    for name in names or FLOODS:
        run(program, name, [])
        if name in UNLIMITED:
            run(program, name, ["--rate", "none"])


if __name__ == "__main__":
    main()
