"""From the kill -9 of a leader to the next committed write: three nodes, tickTime 2000.

    tests/bench/failover.py [ROUNDS]
"""
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, wait_for  # noqa: E402


def commit_until(path, stop, commits):
    """Commits over and over, one file, and notes when each commit began and was answered."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    i = 0
    while not stop.is_set():
        i += 1
        began = time.monotonic()
        os.pwrite(fd, b"%d" % i, 0)
        os.fsync(fd)
        commits.append((began, time.monotonic()))
    os.close(fd)


def one_round(cluster):
    leader = wait_for(cluster.leader, 20, "a leader")
    stop = threading.Event()
    commits = {node: [] for node in cluster.nodes if node is not leader}
    threads = [threading.Thread(target=commit_until, args=(n.path(f"f{n.number}"), stop, c))
               for n, c in commits.items()]
    for thread in threads:
        thread.start()
    time.sleep(1)
    killed = time.monotonic()
    leader.process.kill()
    time.sleep(3)
    stop.set()
    for thread in threads:
        thread.join()
    leader.process.wait()
    # The first commit anywhere that was under way or began after the kill and needed the new leader.
    answered = sorted(end for done in commits.values() for _, end in done if end > killed)
    gaps = [b - a for a, b in zip([killed] + answered, answered)]
    leader.start()
    leader.wait_ready()
    return max(gaps)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    cluster = Cluster(3, tick_ms=2000)
    try:
        cluster.start()
        gaps = []
        for i in range(rounds):
            gaps.append(one_round(cluster) * 1000)
            print(f"round {i + 1}: {gaps[-1]:.0f} ms", flush=True)
        print(f"from the kill to the next commit: median {statistics.median(gaps):.0f} ms, "
              f"longest {max(gaps):.0f} ms, {rounds} rounds")
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
