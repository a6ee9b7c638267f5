#!/usr/bin/env python3
"""Clients that would have all of a node's memory or descriptors, beside one that counts, and whose
every answer must be right. What the process really holds (VmHWM) is compared with what clients may
make it hold; how long answers took is told, and decides nothing.

`test_budgets.py --seconds N` is the soak alone: all of them at once, again and again, for so long.
"""
import argparse
import contextlib
import os
import random
import resource
import socket
import statistics
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
import raw  # noqa: E402
from raw import boolean, buf, i32, i64  # noqa: E402
from servers import Zabfs  # noqa: E402
from harness import free_ports, wait_for  # noqa: E402

MIB = 1 << 20
LARGE = 1_000_000  # bytes of a znode
PATIENCE_S = 100  # with a machine that has other things to do
GREETING = i32(45) + i32(0) + i64(0) + i32(20_000) + i64(0) + buf(b"\0" * 16) + b"\0"


def frame(kind, body=b"", xid=1):
    return i32(len(body) + 8) + i32(xid) + i32(kind) + body


def get(path, watch=False):
    return frame(raw.GET_DATA, buf(path) + boolean(watch))


def put(path, data):
    return frame(raw.SET_DATA, buf(path) + buf(data) + i32(-1))


def figure(pid, name):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(name):
                return int(line.split()[1]) * 1024


class Server(Zabfs):
    """One with its own limit of descriptors."""

    def __init__(self, settings=(), files=None):
        super().__init__(["4lw.commands.whitelist=*", *settings])
        self.files = files

    def command(self):
        limits = ["prlimit", f"--nofile={self.files}:{self.files}"] if self.files else []
        return limits + super().command()

    def resident(self):
        return figure(self.process.pid, "VmRSS")

    @contextlib.contextmanager
    def growth(self):
        """Of the most memory that it has held: a function that says how much, in bytes."""
        before = self.resident()
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5")
        yield lambda: figure(self.process.pid, "VmHWM") - before

    def settle(self):
        """Until it has taken what it takes."""
        most, since = 0, time.monotonic()
        while time.monotonic() - since < 0.7:
            self.word("srvr")
            now = figure(self.process.pid, "VmHWM")
            if now > most:
                most, since = now, time.monotonic()
            time.sleep(0.05)

    @contextlib.contextmanager
    def without_descriptors(self):
        """It gets no new ones; those that it has go on."""
        pid = self.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, self.hard_limit()))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def hard_limit(self):
        return resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)[1]

    def thread(self, name):
        """Clock ticks that it has run, and how often it has waited."""
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/stat") as f:
                head, rest = f.read().rsplit(")", 1)
            if head.split("(", 1)[1] != name:
                continue
            with open(f"{tasks}/{task}/status") as f:
                status = f.read()
            waits = int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
            return sum(int(ticks) for ticks in rest.split()[11:13]), waits
        raise AssertionError(f"no thread {name}")

    def watches(self):
        return int(self.word("wchs").split(b"Total watches:")[1])

    def connections(self):
        return int(self.word("srvr").split(b"Connections: ")[1].split()[0])


def connect(address):
    """A session whose answers nobody takes."""
    s = socket.create_connection(address, PATIENCE_S)
    s.sendall(GREETING)
    raw.exactly(s, 41)
    return s


def pour(s, data):
    """As much of it as the server takes now. False: it has closed the connection."""
    s.setblocking(False)
    left = memoryview(data)
    patience = 0
    while left and patience < 10:
        try:
            left = left[s.send(left[:MIB]):]
            patience = 0
        except BlockingIOError:
            patience += 1
            time.sleep(0.05)
        except OSError:
            return False
    return True


class Beside(threading.Thread):
    """A client that counts in a znode and reads it, and notes how long each took."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.session = raw.Session(address)
        self.session.socket.settimeout(PATIENCE_S)
        self.session.request(raw.CREATE, raw.create("/beside", b"0"))
        self.over = threading.Event()
        self.took_ms = {"read": [], "write": []}
        self.count = 0
        self.trouble = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join(60)
        self.session.close()

    def ask(self, name, kind, body):
        began = time.monotonic()
        _, _, error, answer = self.session.request(kind, body)
        self.took_ms[name].append((time.monotonic() - began) * 1000)
        if error != 0:
            raise AssertionError(f"a {name} failed with {error} at {self.count}")
        return answer

    def count_once(self):
        following = str(self.count + 1).encode()
        written = self.ask("write", raw.SET_DATA, buf("/beside") + buf(following) + i32(self.count))
        read = self.ask("read", raw.GET_DATA, buf("/beside") + boolean(False))
        data, version = read.buf(), written.stat()["version"]
        if data != following or version != self.count + 1:
            raise AssertionError(f"{data} and version {version} where {following} was written")
        self.count += 1

    def run(self):
        try:
            while not self.over.is_set():
                self.count_once()
                time.sleep(0.002)
        except (OSError, raw.Closed, AssertionError) as error:
            self.trouble = repr(error)

    def goes_on(self, more=20):
        """Waits until it has counted so much further."""
        goal = self.count + more
        wait_for(lambda: self.trouble or self.count >= goal, 2 * PATIENCE_S, "progress beside hostile clients")
        if self.trouble:
            raise AssertionError(self.trouble)

    def told(self):
        text = [f"counted to {self.count}"]
        for name, times in self.took_ms.items():
            times = sorted(times) or [0]
            text.append(f"{len(times)} {name}s, median {statistics.median(times):.2f} ms, 99 of 100 "
                        f"within {times[len(times) * 99 // 100]:.1f} ms, all within {times[-1]:.0f}")
        return "; ".join(text)


# What hostile clients do. Each takes a server, and gives back what it keeps open.

def reads_nobody_takes(server, clients=8, each=400):
    held = [connect(server.address) for _ in range(clients)]
    for s in held:
        pour(s, get("/large") * each)
    return held


def multi_reads(server, clients=8, each=20):
    """The largest znode many times in one request: as often as an answer may be long, and much more
    often."""
    once = (raw.GET_DATA, buf("/large") + boolean(False))
    held = [connect(server.address) for _ in range(2 * clients)]
    for s in held[:clients]:
        pour(s, frame(raw.MULTI_READ, raw.multi([once] * 1000)) * each)
    for s in held[clients:]:
        pour(s, frame(raw.MULTI_READ, raw.multi([once] * 15)) * each)
    return held


def reads_behind_writes(server, clients=8, each=100):
    held = [connect(server.address) for _ in range(clients)]
    for s in held:
        pour(s, put("/small", b"z") + get("/large") * each)
    return held


def reads_between_writes(server, clients=8, each=100):
    """They can't be put off: the last write must not be seen by them."""
    held = [connect(server.address) for _ in range(clients)]
    for s in held:
        pour(s, put("/small", b"z") + get("/large") * each + put("/small", b"y"))
    return held


def writes_in_flight(server, clients=40, each=12):
    held = [connect(server.address) for _ in range(clients)]
    threads = [threading.Thread(target=pour, args=(s, put("/large", b"y" * LARGE) * each)) for s in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return held


def halves_of_frames(server, clients=400):
    held = [connect(server.address) for _ in range(clients)]
    for s in held:
        pour(s, put("/large", b"y" * LARGE)[:-1])
    return held


def small_halves_of_frames(server, clients=2_000):
    held = [connect(server.address) for _ in range(clients)]
    for s in held:
        pour(s, put("/large", b"y" * 100_000)[:60_000])
    return held


def halves_of_greetings(server, clients=400):
    held = [socket.create_connection(server.address, 10) for _ in range(clients)]
    for s in held:
        pour(s, i32(LARGE) + b"\0" * (LARGE - 1))
    return held


def watches_on_impossible_paths(server, count=300):
    s = connect(server.address)
    for i in range(count):
        path = f"/{i}" + "x" * LARGE
        if not pour(s, frame(raw.ADD_WATCH, buf(path) + i32(0))):
            break
    return [s]


def watches_without_number(server, clients=4, each=150_000):
    held = [connect(server.address) for _ in range(clients)]
    for n, s in enumerate(held):
        for first in range(0, each, 1000):
            data = b"".join(frame(raw.EXISTS, buf(f"/watched/{n}/{i}" + "w" * 100) + b"\1")
                            for i in range(first, first + 1000))
            if not pour(s, data):
                break
            with contextlib.suppress(OSError):
                while s.recv(MIB):
                    pass
    return held


def events_nobody_takes(server, clients=60, changes=300):
    held = [connect(server.address) for _ in range(clients)]
    for s in held:
        pour(s, frame(raw.ADD_WATCH, buf("/") + i32(1)))
    writer = raw.Session(server.address)
    top = "/" + "/".join("e" * 250 for _ in range(14))
    for depth in range(1, 15):
        writer.request(raw.CREATE, raw.create("/".join(top.split("/")[:depth + 1])))
    for _ in range(changes):
        for _ in range(10):
            writer.post(raw.SET_DATA, buf(top) + buf(b"") + i32(-1))
        for _ in range(10):
            writer.answer()
    return held + [writer]


def silent_ones(server, clients=300):
    held = []
    for _ in range(clients):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection(server.address, 2))
    return held


def garbage(server, clients=60):
    """Bytes of no meaning: at once, behind a greeting, as bodies of all kinds of requests."""
    dice = random.Random(SEED)
    held = [socket.create_connection(server.address, 10) for _ in range(clients)]
    held += [connect(server.address) for _ in range(clients)]
    kinds = [kind for kind in range(-12, 110) if kind != raw.CLOSE]
    for s in held:
        data = dice.randbytes(dice.randrange(200_000))
        pour(s, data)
    for _ in range(clients):
        s = connect(server.address)
        held.append(s)
        for _ in range(20):
            pour(s, frame(dice.choice(kinds), dice.randbytes(dice.randrange(2_000))))
    return held


# And how many MiB more the node may hold for it, of 64 that clients may have; the log's buffers are
# in it.
HOSTILE = {reads_nobody_takes: 150, reads_behind_writes: 150, reads_between_writes: 150,
           multi_reads: 150, writes_in_flight: 190, halves_of_frames: 120,
           small_halves_of_frames: 75, halves_of_greetings: 60,
           watches_on_impossible_paths: 60, watches_without_number: 100, events_nobody_takes: 120}
BUDGET = 64  # MiB
SOAK_MIB = 4 * BUDGET
SETTINGS = [f"zabfs.clientMemory={BUDGET}"]
SEED = int(os.environ.get("ZABFS_SEED", random.randrange(1 << 32)))


def close_all(held):
    for s in held:
        (s.socket if isinstance(s, raw.Session) else s).close()


def serve(settings=(), files=None):
    server = Server([*SETTINGS, *settings], files).start()
    session = raw.Session(server.address)
    session.request(raw.CREATE, raw.create("/large", b"x" * LARGE))
    session.request(raw.CREATE, raw.create("/small", b"x"))
    session.close()
    return server


class Budgets(unittest.TestCase):
    def setUp(self):
        self.server = serve()
        self.addCleanup(self.server.stop)

    def check(self, hostile):
        with Beside(self.server.address) as beside, self.server.growth() as growth:
            held = hostile(self.server)
            beside.goes_on()
            self.server.settle()
            grown = growth() / MIB
            close_all(held)
        print(f"{hostile.__name__}: at most {grown:.0f} MiB more; beside them: {beside.told()}",
              flush=True)
        self.assertIsNone(beside.trouble)
        self.assertLess(grown, HOSTILE[hostile])

    def test_watches_beyond_the_budget_are_refused_and_room_comes_back(self):
        session = raw.Session(self.server.address)
        path = "/" + "/".join("w" * 250 for _ in range(15))
        set_ones = 0
        error = -101  # NoNode: it waits for one
        while error == -101 and set_ones * 4096 < BUDGET * MIB:
            error = session.request(raw.EXISTS, buf(f"{path}{set_ones}") + b"\1")[2]
            set_ones += error == -101
        self.assertEqual(error, -127)  # ThrottledOp
        self.assertLess(set_ones * 4096, 32 * MIB)
        self.assertEqual(session.request(raw.EXISTS, buf("/small") + b"\0")[2], 0)
        self.assertEqual(self.server.watches(), set_ones)
        session.close()
        wait_for(lambda: self.server.watches() == 0, 10, "the end of its watches")

    def test_a_slow_client_gets_all_its_answers(self):
        session = raw.Session(self.server.address)
        count = 2 * BUDGET  # of 1 MB
        for n in range(count):
            session.post(raw.SET_DATA, buf("/small") + buf(str(n)) + i32(-1))
            session.post(raw.GET_DATA, buf("/small") + b"\0")
            session.post(raw.GET_DATA, buf("/large") + b"\0")
        time.sleep(0.5)
        for n in range(count):
            self.assertEqual(session.answer()[2], 0)
            self.assertEqual(int(session.answer()[3].buf()), n)
            self.assertEqual(len(session.answer()[3].buf()), LARGE)
        session.close()


for one in HOSTILE:
    setattr(Budgets, f"test_{one.__name__}", lambda self, one=one: self.check(one))


class Descriptors(unittest.TestCase):
    def test_who_says_nothing_takes_no_descriptor_that_the_node_needs(self):
        files = 300
        server = serve(files=files)
        self.addCleanup(server.stop)
        with Beside(server.address) as beside:
            silent = silent_ones(server, 2 * files)
            wait_for(lambda: server.connections() < files // 2, 10, "a bound")
            with raw.Session(server.address).socket as s:  # who says something gets in
                for _ in range(40):  # several segments of the log
                    s.sendall(put("/large", b"y" * LARGE))
                    self.assertEqual(raw.Reader(raw.exactly(s, 88)).i32(), 84)
            beside.goes_on()
            close_all(silent)
        print(f"{2 * files} silent ones, {files} descriptors: {beside.told()}", flush=True)
        self.assertIsNone(beside.trouble)
        self.assertIsNone(server.process.poll(), server.log_text())
        self.assertIn("there are too many such connections", server.whole_log())

    def test_without_one_for_the_log_a_node_steps_aside_and_comes_back(self):
        server = serve()
        self.addCleanup(server.stop)
        session = raw.Session(server.address)
        with server.without_descriptors(), contextlib.suppress(raw.Closed, OSError):
            for _ in range(80):
                session.request(raw.SET_DATA, buf("/large") + buf(b"y" * LARGE) + i32(-1))
        with server.without_descriptors():
            wait_for(lambda: "no file descriptor is free" in server.whole_log() or
                     server.process.poll() is not None, 30, "the end of its descriptors")
        self.assertIsNone(server.process.poll(), server.log_text())
        session.close()

        def writes():
            try:
                again = raw.Session(server.address)
            except raw.Closed:
                return False
            with again.socket:
                return again.request(raw.SET_DATA, buf("/small") + buf(b"y") + i32(-1))[2] == 0
        wait_for(writes, 60, "its return")

    def test_the_admin_port_rests_while_it_can_not_accept(self):
        port = free_ports(1)[0]
        server = serve(["admin.enableServer=true", f"admin.serverPort={port}"])
        self.addCleanup(server.stop)
        with server.without_descriptors():
            waits = socket.create_connection(("127.0.0.1", port), 10)
            ticks, rests = server.thread("zabfs-admin")
            while server.thread("zabfs-admin")[1] < rests + 10:
                self.assertLess(server.thread("zabfs-admin")[0], ticks + 100, "it tries all the time")
                time.sleep(0.05)
        with waits:
            waits.sendall(b"GET /commands/ruok HTTP/1.0\r\n\r\n")
            self.assertIn(b"200", waits.recv(100))


def attack(hostile, server, held):
    with contextlib.suppress(OSError, raw.Closed):  # refused, or cut off meanwhile
        held.append(hostile(server))


def soak(seconds):
    """All of them at once, again and again. True: memory stays, and the others were served."""
    print(f"soak with seed {SEED}", flush=True)
    dice = random.Random(SEED)
    server = serve()
    try:
        # What it keeps of any client's writes is there before.
        with raw.Session(server.address).socket as s:
            for _ in range(150):
                s.sendall(put("/large", b"y" * LARGE))
                raw.exactly(s, 88)
        before = server.resident() / MIB
        rounds, counts = [], []
        everybody = [*HOSTILE, silent_ones, garbage]
        end = time.monotonic() + seconds
        with Beside(server.address) as beside, server.growth() as growth:
            while len(rounds) < 3 or time.monotonic() < end:
                held = []
                threads = [threading.Thread(target=attack, args=(hostile, server, held), daemon=True)
                           for hostile in dice.sample(everybody, len(everybody))]
                for thread in threads:
                    thread.start()
                beside.goes_on()
                for thread in threads:
                    thread.join(120)
                beside.goes_on()
                counts.append(beside.count)
                for some in held:
                    close_all(some)
                wait_for(lambda: server.connections() < 10, 60, "the end of the hostile ones")
                server.settle()
                rounds.append(server.resident() / MIB)
            most = growth() / MIB
        print(f"soak: {before:.0f} MiB before; after each round "
              + " ".join(f"{mib:.0f}" for mib in rounds) +
              f" MiB, at most {most:.0f} more than before; beside them: {beside.told()}", flush=True)
        if beside.trouble:
            print(f"FAILED: {beside.trouble}\n{server.log_text()}")
        # What is kept for later use comes in the first rounds.
        grows = statistics.median(rounds[-2:]) > max(rounds[:2]) + BUDGET
        if grows or most > SOAK_MIB:
            print(f"FAILED: memory grows; the bound is {SOAK_MIB} MiB more")
        return not beside.trouble and not grows and most <= SOAK_MIB
    finally:
        server.stop()


class Soak(unittest.TestCase):
    def test_all_of_them_at_once(self):
        self.assertTrue(soak(12))


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float)
    options, rest = parser.parse_known_args()
    if options.seconds is not None:
        sys.exit(0 if soak(options.seconds) else 1)
    unittest.main(verbosity=2, argv=[sys.argv[0], *rest])
