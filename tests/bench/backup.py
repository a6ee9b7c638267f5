"""zabfs backup and restore of so many znodes with 100 bytes each: times, memory, and what writes feel.

    tests/bench/backup.py [ZNODES] [NODES]
"""
import multiprocessing
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
import raw  # noqa: E402
from harness import ZABFS, Cluster  # noqa: E402

SUPER = "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"
IN_DIRECTORY, IN_MULTI, UNDER_WAY = 1_000, 500, 8
CREATE_BODY = raw.acl_list(raw.OPEN_ACL) + raw.i32(0)


def super_session(address):
    session = raw.Session(address)
    assert session.auth("digest", "super:test")[2] == 0
    return session


def check(answer):
    """Of a multi of creates."""
    assert answer[2] == 0 and answer[3].i32() == raw.CREATE, answer


def fill(address, count):
    session = super_session(address)
    data, waiting = bytes(range(100)), 0
    names = []
    for number in range(count):
        if number % IN_DIRECTORY == 0:
            names.append(f"/d{number // IN_DIRECTORY}")
        names.append(f"/d{number // IN_DIRECTORY}/n{number}")
    for first in range(0, len(names), IN_MULTI):
        operations = [(raw.CREATE, raw.buf(name) + raw.buf(data) + CREATE_BODY)
                      for name in names[first:first + IN_MULTI]]
        session.post(raw.MULTI, raw.multi(operations))
        waiting += 1
        if waiting == UNDER_WAY:
            check(session.answer())
            waiting -= 1
    for _ in range(waiting):
        check(session.answer())
    session.close()


def latencies(address, stop, into):
    session = super_session(address)
    body = raw.buf("/d0/n0") + raw.buf(b"y" * 100) + raw.i32(-1)
    while not stop.is_set():
        began = time.monotonic()
        assert session.request(raw.SET_DATA, body)[2] == 0
        into.append(time.monotonic() - began)
    session.close()


def while_writing(address, work):
    stop, taken = threading.Event(), []
    thread = threading.Thread(target=latencies, args=(address, stop, taken))
    thread.start()
    try:
        result = work()
    finally:
        stop.set()
        thread.join()
    taken.sort()
    return result, len(taken), [1e3 * taken[min(int(len(taken) * q), len(taken) - 1)] for q in (0.5, 0.99, 1)]


def memory_mb(pid, name):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith(name + ":"))


def timed(*command):
    """Seconds, and the most memory, in MB."""
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.monotonic() - began, usage.ru_maxrss / 1000


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    nodes = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    cluster = Cluster(nodes, tick_ms=2000, extra=SUPER).start()
    try:
        node = cluster.followers()[0] if nodes > 1 else cluster.nodes[0]
        address = "127.0.0.1", node.client_port
        began = time.monotonic()
        # In a process of its own: what a program is told to have used at most is not less than what
        # its parent used when it was started.
        filling = multiprocessing.Process(target=fill, args=(address, count))
        filling.start()
        filling.join()
        assert filling.exitcode == 0
        node.barrier()
        print(f"{count} znodes made in {time.monotonic() - began:.0f} s")
        time.sleep(10)  # snapshots that are due
        _, writes, alone = while_writing(address, lambda: time.sleep(10))
        print("writes without a backup: %d; p50 %.2f ms, p99 %.2f ms, longest %.1f ms" % (writes, *alone))
        before = memory_mb(node.process.pid, "VmRSS")
        file = os.path.join(cluster.directory, "backup")
        for number in range(3):
            target = f"{file}{number}"
            (seconds, most), writes, during = while_writing(
                address, lambda: timed(ZABFS, "backup", target, "--mount", node.mount))
            print("backup in %.1f s, %d MB of memory, %d MB file; writes meanwhile: %d; p50 %.2f ms, p99 %.2f ms, "
                  "longest %.1f ms" % (seconds, most, os.path.getsize(target) / 1e6, writes, *during))
        print("zabfsd: %d MB before, %d MB after, %d MB at most" % (
            before, memory_mb(node.process.pid, "VmRSS"), memory_mb(node.process.pid, "VmHWM")))
        print("inspect in %.1f s, %d MB" % timed(ZABFS, "backup", "inspect", file + "0"))
        print("restore in %.1f s, %d MB" % timed(ZABFS, "restore", file + "0", file + ".restored"))
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
