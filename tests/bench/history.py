"""What reading the past costs writes: their latency alone, and while the log is scanned all the time.

    tests/bench/history.py [SECONDS] [CHANGES]
"""
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 10
CHANGES = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000


def write_for(node, seconds):
    """The latency of each write with its commit, in ms."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        with open(node.path("written"), "w") as f:
            f.write("x" * 1_000)
        took.append((time.monotonic() - begun) * 1e3)
    return sorted(took)


def fill(node):
    for i in range(100):
        os.makedirs(node.path(f"d{i % 10}"), exist_ok=True)
    def some(part):
        for i in range(CHANGES // 20):
            with open(node.path(f"d{part % 10}", f"f{part}-{i % 500}"), "w") as f:
                f.write("x" * 500)
    threads = [threading.Thread(target=some, args=(part,)) for part in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Scans:
    """One after the other, until it is told to stop."""

    def __init__(self, node):
        self.node, self.stopped, self.took = node, False, []
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def run(self):
        while not self.stopped:
            begun = time.monotonic()
            with open(self.node.path("@", "changes")) as f:
                f.read()
            self.took.append((time.monotonic() - begun) * 1e3)

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()


def line(name, took):
    p99 = took[int(len(took) * 0.99)]
    print(f"{name:<24} {len(took):>7} writes  p50 {statistics.median(took):6.2f} ms  p99 {p99:6.2f} ms  "
          f"longest {took[-1]:7.2f} ms")
    return statistics.median(took), p99


def main():
    cluster = Cluster(3).start()
    try:
        node = cluster.leader()
        fill(node)
        begun = time.monotonic()
        with open(node.path("@", "changes")) as f:
            count = len(f.readlines())
        print(f"a scan of {count} changes takes {(time.monotonic() - begun) * 1e3:.0f} ms")
        begun = time.monotonic()
        os.listdir(node.path("d1", "@", "history"))
        print(f"the versions of a directory take {(time.monotonic() - begun) * 1e3:.0f} ms")
        alone = line("alone", write_for(node, SECONDS))
        with Scans(node) as scans:
            beside = line("while the log is scanned", write_for(node, SECONDS))
        again = line("alone again", write_for(node, SECONDS))
        print(f"{len(scans.took)} scans; ratio p50 {beside[0] / alone[0]:.2f}, p99 {beside[1] / alone[1]:.2f}"
              f" (alone again: {again[0] / alone[0]:.2f}, {again[1] / alone[1]:.2f})")
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
