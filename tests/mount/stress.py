#!/usr/bin/env python3
"""Mixed operations from three mounts at once, under a watchdog.

    stress.py [--seconds N] [--seed S]

Workers on every mount make, write, append, read, rename, remove, list, lock, count and commit in one
small tree, so that they meet; some are killed in the middle, and nodes are stopped and started. None
may hang, no operation may fail in a way that POSIX and DESIGN.md don't name, and all the while:

- a file's contents are one version, whole: a line of its number, repeated as often as its first says;
- who sees the later of two writes sees the earlier: by contents, sizes, listings and absence;
- appended lines are all there in the end, once; so are the counter's steps and the queue's items;
- in the end all mounts show the same tree.
"""
import argparse
import ctypes
import errno
import faulthandler
import fcntl
import mmap
import os
import random
import signal
import struct
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from harness import Cluster, die_with_parent, run, wait_for  # noqa: E402

HANG_SECONDS = 60
WORKERS = 4  # a node, of each kind
NAMES = [f"n{i}" for i in range(6)]
# What may come of an operation on names that others make and remove meanwhile.
RACES = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ESTALE, errno.ENOTDIR, errno.EISDIR,
         errno.EBUSY, errno.EXDEV, errno.ELOOP, errno.EINVAL}
# And while its node is stopped.
OUTAGES = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EROFS, errno.ENODEV, errno.EBADF}


class Wrong(Exception):
    pass


def content(number):
    return f"{number} {number % 7 + 1}\n" * (number % 7 + 1)


def check_content(text, path):
    lines = text.splitlines(True)
    if not lines:
        return  # made, and nothing committed yet
    number, count = lines[0].split()
    if text != content(int(number)) or len(lines) != int(count):
        raise Wrong(f"{path} is no version: {text!r}")


def write_file(path, text):
    with open(path, "w") as f:
        f.write(text)


def read_file(path):
    with open(path) as f:
        return f.read()


class Worker:
    """One process's life; each kind has a `step`."""

    def __init__(self, node, seed, board, slot):
        self.top = node.path("stress")
        self.node = node
        self.random = random.Random(seed)
        self.board, self.slot = board, slot
        self.count = 0

    def tick(self, what):
        self.board.begin(self.slot, what)

    def live(self, until):
        self.begin()
        while time.time() < until:
            try:
                self.step()
                self.count += 1
            except OSError as error:
                if error.errno in OUTAGES:
                    self.board.begin(self.slot, "waits for its node")
                    time.sleep(0.2)
                elif error.errno not in RACES:
                    raise
        self.board.begin(self.slot, "")

    def begin(self):
        pass


class Mixer(Worker):
    def path(self):
        depth = self.random.choice((1, 1, 2))
        return os.path.join(self.top, "mix", *(self.random.choice(NAMES) for _ in range(depth)))

    def step(self):
        name = self.random.choice([m for m in dir(self) if m.startswith("do_")])
        self.tick(name)
        getattr(self, name)()

    def do_write(self):
        write_file(self.path(), content(self.random.randrange(10**6)))

    def do_read(self):
        path = self.path()
        check_content(read_file(path), path)

    def do_read_slowly(self):
        path = self.path()
        fd = os.open(path, os.O_RDONLY)
        try:
            text = b""
            while part := os.pread(fd, 5, len(text)):
                text += part
            check_content(text.decode(), path)
        finally:
            os.close(fd)

    def do_replace(self):
        path = self.path()
        temporary = os.path.join(os.path.dirname(path), f"tmp{os.getpid()}")
        write_file(temporary, content(self.random.randrange(10**6)))
        try:
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise

    def do_rename(self):
        os.rename(self.path(), self.path())

    def do_unlink(self):
        os.unlink(self.path())

    def do_mkdir(self):
        os.mkdir(self.path())

    def do_rmdir(self):
        os.rmdir(self.path())

    def do_list(self):
        for name in os.listdir(os.path.dirname(self.path())):
            os.lstat(os.path.join(self.top, "mix", name))

    def do_chmod(self):
        os.chmod(self.path(), self.random.choice((0o644, 0o600, 0o755)))

    def do_touch(self):
        os.utime(self.path(), (1, self.random.randrange(10**9)))

    def do_sync(self):
        fd = os.open(self.top, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def do_lock(self):
        fd = os.open(os.path.join(self.top, "lock", "@", "lock"), os.O_RDWR)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
            except InterruptedError:
                return
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            path = os.path.join(self.top, "lock", "holder")
            me = f"{os.getpid()}\n"
            write_file(path, me)
            if read_file(path) != me:
                raise Wrong("two hold the lock")
        finally:
            os.close(fd)

    def do_file_lock(self):
        with open(os.path.join(self.top, "lock", "file"), "a") as f:
            fcntl.flock(f, self.random.choice((fcntl.LOCK_SH, fcntl.LOCK_EX)) | fcntl.LOCK_NB)

    def do_edit(self):
        fd = os.open(self.path(), os.O_RDWR)
        try:
            text = content(self.random.randrange(10**6)).encode()
            os.ftruncate(fd, 0)
            os.pwrite(fd, text, 0)
            os.fsync(fd)
        finally:
            os.close(fd)

    def do_txn(self):
        number = self.random.randrange(10**6)
        staged = os.path.join(self.top, "txn", "@", "txn", f"t{os.getpid()}-{number}")
        os.mkdir(staged)
        try:
            for i in range(3):
                write_file(os.path.join(staged, f"f{i}"), content(number))
            os.rename(staged, staged + ".commit")
        except OSError:
            run("rm", "-rf", staged)
            raise


# flock of a file that another holds
RACES.add(errno.EAGAIN)


class Orderer(Worker):
    """One writer in the whole cluster, who writes in an order that readers can check."""

    def begin(self):
        self.number = 0

    def p(self, name):
        return os.path.join(self.top, "order", name)

    def step(self):
        self.number += 1
        n = self.number
        self.tick("writes in order")
        write_file(self.p("one"), str(n))
        write_file(self.p("two"), str(n))
        write_file(self.p("size"), "x" * (n * 37 % 5000))
        open(self.p(f"mark{n}"), "w").close()
        write_file(self.p("made"), str(n))
        if n > 1:
            os.unlink(self.p(f"mark{n - 1}"))
            write_file(self.p("gone"), str(n - 1))


class OrderReader(Worker):
    def p(self, name):
        return os.path.join(self.top, "order", name)

    def number(self, name):
        try:
            return int(read_file(self.p(name)) or 0)
        except FileNotFoundError:
            return 0

    def step(self):
        self.tick("reads in order")
        life = self.board.life(self.node)
        try:
            self.look()
        except Wrong:
            # A node that was started anew begins with what its disk has: that may be older. While
            # it is down there are no files. Lives with an odd number are those of a restart.
            if life % 2 == 0 and self.board.life(self.node) == life:
                raise

    def look(self):
        later = self.number("two")
        earlier = self.number("one")
        if later > earlier:
            raise Wrong(f"two is {later}, and one only {earlier}")
        made = self.number("made")  # its mark goes only when there is a newer one
        if made and not os.path.exists(self.p(f"mark{made}")) and self.number("made") == made:
            raise Wrong(f"made says {made}, which is not there")
        gone = self.number("gone")
        if gone and os.path.exists(self.p(f"mark{gone}")):
            raise Wrong(f"gone says {gone}, which is there")
        if gone and f"mark{gone}" in os.listdir(self.p(".")):
            names = sorted(os.listdir(self.p(".")))
            raise Wrong(f"gone says {gone}, which is listed; made {made}, then {names}")
        text = read_file(self.p("size"))
        if text.strip("x"):
            raise Wrong(f"size holds {text[:50]!r}")


class Appender(Worker):
    """Writes lines and steps that are counted in the end; killed at times."""

    def begin(self):
        self.lines = 0

    def step(self):
        self.tick("appends")
        # What is acknowledged is noted outside; what was cut off may be there or not.
        token = f"{self.node.number}-{os.getpid()}-{self.lines}"
        self.lines += 1
        fd = os.open(os.path.join(self.top, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(fd, (token + "\n").encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        self.board.note(f"line {token}")
        self.tick("counts")
        fd = os.open(os.path.join(self.top, "@", "counter"), os.O_WRONLY)
        try:
            os.write(fd, b"+1")
        finally:
            os.close(fd)
        self.board.note("step")
        self.tick("queues")
        fd = os.open(os.path.join(self.top, "jobs", "@", "queue"), os.O_RDWR | os.O_NONBLOCK)
        try:
            os.write(fd, token.encode())
            self.board.note(f"put {token}")
            item = os.read(fd, 100).decode()
            self.board.note(f"took {item}")
        finally:
            os.close(fd)
        time.sleep(0.02)  # the log is one znode: it must stay small


class Watcher(Worker):
    """inotify and @/watch-all, which must never stand in anybody's way."""

    def step(self):
        self.tick("watches")
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.inotify_init1(os.O_NONBLOCK)
        try:
            libc.inotify_add_watch(fd, os.path.join(self.top, "mix").encode(), 0xfff)
            feed = os.open(os.path.join(self.top, "@", "watch-all"), os.O_RDONLY | os.O_NONBLOCK)
            try:
                for _ in range(50):
                    for source in (fd, feed):
                        try:
                            os.read(source, 65536)
                        except BlockingIOError:
                            pass
                    time.sleep(0.02)
            finally:
                os.close(feed)
        finally:
            os.close(fd)


class Board:
    """What each worker is doing since when, for the watchdog; and notes, a file a worker."""
    SLOT = 128

    def __init__(self, slots, directory):
        self.map = mmap.mmap(-1, slots * self.SLOT)
        self.slots = slots
        self.directory = directory
        self.notes = None
        self.lives = mmap.mmap(-1, 16)  # how often each node was started

    def begin(self, slot, what):
        data = struct.pack("d", time.monotonic()) + what.encode()[:100]
        self.map[slot * self.SLOT:(slot + 1) * self.SLOT] = data.ljust(self.SLOT, b"\0")

    def life(self, node):
        return self.lives[node.number]

    def new_life(self, node):
        self.lives[node.number] = (self.lives[node.number] + 1) % 256

    def note(self, text):
        if self.notes is None:
            self.notes = open(os.path.join(self.directory, f"notes{os.getpid()}"), "a", buffering=1)
        self.notes.write(text + "\n")

    def hung(self):
        found = []
        for slot in range(self.slots):
            data = self.map[slot * self.SLOT:(slot + 1) * self.SLOT]
            what = data[8:].rstrip(b"\0").decode()
            since = struct.unpack("d", data[:8])[0]
            if what and time.monotonic() - since > HANG_SECONDS:
                found.append((slot, what))
        return found


class Stress:
    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(seed)
        self.cluster = Cluster(3, extra="znode.container.checkIntervalMs=500\n")
        self.cluster.start()
        self.directory = os.path.join(self.cluster.directory, "notes")
        os.mkdir(self.directory)
        top = self.cluster.nodes[0].path("stress")
        for name in ("", "mix", "order", "lock", "txn", "jobs"):
            os.mkdir(os.path.join(top, name))
        self.cluster.sync_all()
        self.workers = {}  # pid -> (kind, node, slot)
        self.board = Board(64, self.directory)
        self.free_slots = list(range(64))
        self.failures = []

    def start(self, kind, node, until):
        slot = self.free_slots.pop()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError()))
            faulthandler.register(signal.SIGUSR1, chain=False)
            code = 0
            try:
                kind(node, self.random.random(), self.board, slot).live(until)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                code = 1
            os._exit(code)
        self.workers[pid] = (kind, node, slot)

    def reap(self, pid, status):
        kind, node, slot = self.workers.pop(pid)
        self.board.begin(slot, "")
        self.free_slots.append(slot)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, -signal.SIGKILL):
            self.failures.append(f"a {kind.__name__} on node {node.number} ended with {code}")
        return kind, node

    def run(self, seconds):
        until = time.time() + seconds
        for node in self.cluster.nodes:
            for _ in range(WORKERS):
                self.start(Mixer, node, until)
            for kind in (OrderReader, OrderReader, Appender, Watcher):
                self.start(kind, node, until)
        self.start(Orderer, self.cluster.nodes[0], until)
        next_kill = time.time() + 3
        next_restart = time.time() + 12
        shown = time.time()
        while self.workers and not self.failures:
            for pid in list(self.workers):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended == pid:
                    kind, node = self.reap(pid, status)
                    if time.time() < until - 1 and not self.failures:
                        self.start(kind, node, until)
            for node in self.cluster.nodes:
                if node.process.poll() is not None:
                    self.failures.append(f"node {node.number} exited {node.process.returncode}")
            hung = self.board.hung()
            if hung:
                self.failures.append(f"hung for {HANG_SECONDS} s: {hung}")
                for victim in self.workers:
                    os.kill(victim, signal.SIGUSR1)
                time.sleep(1)
            now = time.time()
            if now > next_kill and now < until - 5:
                victims = [p for p, (kind, _, _) in self.workers.items() if kind is not Orderer]
                os.kill(self.random.choice(victims), signal.SIGKILL)
                next_kill = now + self.random.uniform(0.5, 3)
            if now > next_restart and now < until - 15:
                # Not the first one: it has the writer whose order is checked.
                node = self.random.choice(self.cluster.nodes[1:])
                print(f"stress: node {node.number} starts anew", flush=True)
                self.board.new_life(node)
                if self.random.random() < 0.5:
                    node.kill()
                else:
                    node.terminate()
                node.start()
                node.wait_ready(60)
                self.board.new_life(node)
                next_restart = time.time() + self.random.uniform(5, 20)
            if now > shown + 10:
                shown = now
                print(f"stress: {until - now:.0f} s left", flush=True)
            time.sleep(0.05)
        for pid in list(self.workers):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if not self.failures:
            self.check_end()

    def notes(self):
        found = {}
        for name in os.listdir(self.directory):
            for line in read_file(os.path.join(self.directory, name)).splitlines():
                kind, *rest = line.split(" ", 1)
                found.setdefault(kind, []).append(rest[0] if rest else "")
        return found

    def expect(self, holds, what):
        if not holds:
            self.failures.append(what)

    def check_end(self):
        for node in self.cluster.nodes:
            node.wait_ready(60)
        self.cluster.sync_all()
        notes = self.notes()
        top = self.cluster.nodes[0].path("stress")
        lines = read_file(os.path.join(top, "log")).splitlines()
        self.expect(len(lines) == len(set(lines)), "a line was appended twice")
        missing = set(notes.get("line", [])) - set(lines)
        self.expect(not missing, f"acknowledged lines are lost: {sorted(missing)[:5]}")
        steps = len(notes.get("step", []))
        counted = int(read_file(os.path.join(top, "@", "counter")))
        unknown = len([p for p in os.listdir(self.directory)])  # at most one a process
        self.expect(steps <= counted <= steps + unknown, f"{steps} steps acknowledged, {counted} counted")
        taken = notes.get("took", [])
        twice = sorted({item for item in taken if taken.count(item) > 1})
        self.expect(not twice, f"taken twice: {twice[:5]}")
        left = {read_file(os.path.join(top, "jobs", n)) for n in os.listdir(os.path.join(top, "jobs"))}
        lost = set(notes.get("put", [])) - set(taken) - left
        self.expect(len(lost) <= unknown, f"items are lost: {sorted(lost)[:5]}")
        for node in self.cluster.nodes[1:]:
            result = run("diff", "-r", top, node.path("stress"), timeout=300)
            self.expect(result.returncode == 0, f"mounts differ: {result.stdout[:500]}{result.stderr[:500]}")
        print(f"stress: {len(lines)} lines, {steps} steps, {len(taken)} items taken", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"stress: seed {options.seed}, {options.seconds:.0f} s", flush=True)
    stress = Stress(options.seed)
    try:
        stress.run(options.seconds)
        if stress.failures:
            stress.cluster.print_logs()
    finally:
        stress.cluster.stop()
    for failure in stress.failures:
        print(f"FAILED: {failure}")
    return 1 if stress.failures else 0


if __name__ == "__main__":
    sys.exit(main())
