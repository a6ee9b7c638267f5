"""Size and storms: a million znodes through the client port, thousands of sessions with watches, and
what they live through when the leader is killed.

  tests/bench/scale.py [ZNODES [SESSIONS]]      after a build; ZABFS_BUILD names another than build/
"""
import os
import select
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("ZABFS_BUILD", os.path.join(HERE, "..", "..", "build"))
sys.path[:0] = [os.path.join(HERE, "..", "cluster"), os.path.join(HERE, "..", "interop")]
import raw  # noqa: E402
from harness import Cluster, wait_for  # noqa: E402
from raw import Session, buf, i32, i64  # noqa: E402

IN_FLIGHT = 500


def resident_mb(process):
    with open(f"/proc/{process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def cpu_seconds(process):
    with open(f"/proc/{process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_znodes(session, count):
    """As a client does who has much to make: requests in flight, answers read behind them."""
    data = b"x" * 100
    for top in range((count + 9_999) // 10_000):
        session.request(raw.CREATE, raw.create(f"/big{top}"))
    outstanding = 0
    started = time.monotonic()
    for i in range(count):
        session.post(raw.CREATE, raw.create(f"/big{i // 10_000}/n{i}", data))
        outstanding += 1
        if outstanding >= IN_FLIGHT:
            for _ in range(IN_FLIGHT // 2):
                assert session.answer()[2] == 0
            outstanding -= IN_FLIGHT // 2
        if i % 100_000 == 99_999:
            print(f"  {i + 1} znodes, {(i + 1) / (time.monotonic() - started):.0f}/s", flush=True)
    for _ in range(outstanding):
        assert session.answer()[2] == 0


class Client:
    """One session that comes back by itself, as client libraries do, with its watch set anew."""

    def __init__(self, addresses, number):
        self.addresses, self.number, self.at = addresses, number, number
        self.session, self.password = 0, b"\0" * 16
        self.socket = None
        self.input = b""
        self.lost = 0       # sessions that were over when it came back
        self.back_at = 0.0  # when its watch was last set
        self.answers = 0
        self.events = 0

    def connect(self, poller):
        self.at += 1
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(self.addresses[self.at % len(self.addresses)])
        self.input = b""
        self.phase = "connecting"
        poller.register(self.socket, select.POLLOUT)

    def say_hello(self, poller):
        record = i32(0) + i64(0) + i32(30_000) + i64(self.session) + buf(self.password) + b"\0"
        self.socket.send(i32(len(record)) + record)
        self.phase = "hello"
        poller.modify(self.socket, select.POLLIN)

    def watch(self):
        record = i32(1) + i32(raw.EXISTS) + buf("/flag") + b"\1"
        self.socket.send(i32(len(record)) + record)

    def take(self):
        """What has arrived; False: the connection is over."""
        try:
            more = self.socket.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not more:
            return False
        self.input += more
        while len(self.input) >= 4:
            size = struct.unpack(">i", self.input[:4])[0]
            if len(self.input) < 4 + size:
                break
            record, self.input = self.input[4:4 + size], self.input[4 + size:]
            if self.phase == "hello":
                session = struct.unpack(">q", record[8:16])[0]
                if session == 0:
                    self.lost += 1
                    self.session, self.password = 0, b"\0" * 16
                    return False
                self.session, self.password = session, record[20:36]
                self.phase = "open"
                self.watch()
            elif struct.unpack(">i", record[:4])[0] == -1:
                self.events += 1
            else:
                self.back_at = time.monotonic()
                self.answers += 1
        return True


class Crowd:
    def __init__(self, addresses, count):
        self.clients = [Client(addresses, i) for i in range(count)]
        self.poller = select.poll()
        self.by_descriptor = {}
        self.waiting = []  # (when, client)
        for client in self.clients:
            self.open(client)

    def open(self, client):
        client.connect(self.poller)
        self.by_descriptor[client.socket.fileno()] = client

    def close(self, client):
        del self.by_descriptor[client.socket.fileno()]
        self.poller.unregister(client.socket)
        client.socket.close()
        client.phase = "away"
        self.waiting.append((time.monotonic() + 0.1, client))

    def turn(self):
        now = time.monotonic()
        due = [client for when, client in self.waiting if when <= now]
        self.waiting = [(when, client) for when, client in self.waiting if when > now]
        for client in due:
            self.open(client)
        for descriptor, _ in self.poller.poll(50):
            client = self.by_descriptor[descriptor]
            if client.phase == "connecting":
                if client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
                    self.close(client)
                else:
                    client.say_hello(self.poller)
            elif not client.take():
                self.close(client)

    def until(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self.turn()
        if not condition():
            away = sum(client.phase != "open" for client in self.clients)
            raise SystemExit(f"not within {seconds} s; {away} clients are not connected")


def main():
    znodes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 9_000
    cluster = Cluster(3, tick_ms=2000, extra="maxClientCnxns=0\nzabfs.rootMode=0777\n")
    try:
        cluster.start()
        addresses = [("127.0.0.1", node.client_port) for node in cluster.nodes]
        maker = Session(addresses[0])
        print(f"{znodes} znodes of 100 B through one session, {IN_FLIGHT} in flight")
        make_znodes(maker, znodes)
        maker.request(raw.CREATE, raw.create("/flag"))
        for node in cluster.nodes:
            print(f"  node {node.number}: {resident_mb(node.process):.0f} MB resident")

        started = time.monotonic()
        crowd = Crowd(addresses, sessions)
        crowd.until(lambda: all(client.back_at for client in crowd.clients), 120)
        print(f"{sessions} sessions, each with a watch: all there after "
              f"{time.monotonic() - started:.2f} s")
        started = time.monotonic()
        maker.request(raw.SET_DATA, buf("/flag") + buf("1") + i32(-1))
        crowd.until(lambda: all(client.events >= 1 for client in crowd.clients), 60)
        print(f"one change, {sessions} events: all delivered after {time.monotonic() - started:.2f} s")
        for client in crowd.clients:
            client.watch()
        crowd.until(lambda: all(client.answers >= 2 for client in crowd.clients), 60)

        leader = cluster.leader()
        before = {node.number: cpu_seconds(node.process) for node in cluster.nodes}
        killed = time.monotonic()
        leader.kill()
        there = [c for c in crowd.clients if c.at % 3 == leader.number - 1]
        crowd.until(lambda: all(c.back_at > killed for c in there) and
                    all(c.phase == "open" for c in crowd.clients), 120)
        moved = [client.back_at - killed for client in crowd.clients if client.back_at > killed]
        print(f"the leader killed: {len(moved)} sessions came back at another server, the last after "
              f"{max(moved):.2f} s; {sum(client.lost for client in crowd.clients)} were lost")
        for node in cluster.nodes:
            if node is not leader:
                print(f"  node {node.number}: {cpu_seconds(node.process) - before[node.number]:.2f} s "
                      f"of CPU for it, {resident_mb(node.process):.0f} MB resident")
        started = time.monotonic()
        leader.start()
        wait_for(leader.has_quorum, 60, "the killed node")
        print(f"the killed node, started again: serves with {znodes} znodes after "
              f"{time.monotonic() - started:.2f} s")
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
