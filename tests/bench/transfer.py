"""How long zabfs import and export take, on three nodes, and how long another node's writes take
meanwhile.

    tests/bench/transfer.py [--files 100000] [--bytes 100] [--scratch /var/tmp]
"""
import argparse
import os
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, ZABFS, run, sh  # noqa: E402


def timed(what, *command, files):
    started = time.monotonic()
    result = run(ZABFS, *command, timeout=900)
    took = time.monotonic() - started
    if result.returncode != 0:
        raise SystemExit(f"{command}: {result.stderr}")
    print(f"{what:44} {took:7.2f} s  {files / took:9.0f} files/s   {result.stderr.strip()}", flush=True)


class Writes(threading.Thread):
    """One small file after the other, with fsync."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.seconds, self.ends = path, [], threading.Event()
        self.start()

    def run(self):
        while not self.ends.is_set():
            started = time.monotonic()
            fd = os.open(self.path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.write(fd, b"x")
            os.fsync(fd)
            os.close(fd)
            self.seconds.append(time.monotonic() - started)
            time.sleep(0.002)

    def tell(self, when):
        self.ends.set()
        self.join()
        ms = sorted(1000 * s for s in self.seconds)
        print(f"  another node's writes, {when}: {len(ms)}, p50 {ms[len(ms) // 2]:.1f} ms, "
              f"p99 {ms[len(ms) * 99 // 100]:.1f} ms, longest {ms[-1]:.1f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--scratch", default="/var/tmp", help="where the other end of each copy is")
    options = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="zabfs-bench-", dir=options.scratch)
    cluster = Cluster(3)
    try:
        cluster.start()
        source = os.path.join(scratch, "source")
        for i in range(options.files):
            directory = os.path.join(source, f"d{i // 1000}")
            if i % 1000 == 0:
                os.makedirs(directory)
            with open(os.path.join(directory, f"f{i}"), "wb") as f:
                f.write(os.urandom(options.bytes))
        tar = os.path.join(scratch, "source.tar")
        sh(f"tar -C {source} -cf {tar} .")
        count = {"files": options.files}
        nodes = ((cluster.leader(), "the leader"), (cluster.followers()[0], "a follower"))
        for node, where in nodes:
            top = node.path(f"at{node.number}")
            os.mkdir(top)
            other = next(n for n in cluster.followers() if n is not node)
            writes = Writes(other.path("beside"))
            time.sleep(2)
            writes.tell("before")
            writes = Writes(other.path("beside"))
            timed(f"import of a tar at {where}", "import", tar, top, **count)
            writes.tell("meanwhile")
            timed("  once more: all is there", "import", tar, top, **count)
            out = os.path.join(scratch, f"out{node.number}")
            timed(f"export as a tar at {where}", "export", top, out + ".tar", **count)
            timed(f"export as a .tar.zst at {where}", "export", top, out + ".tar.zst", **count)
        for node, where in nodes:
            top = node.path(f"directory{node.number}")
            os.mkdir(top)
            timed(f"import of a directory at {where}", "import", source, top, **count)
            out = os.path.join(scratch, f"copy{node.number}")
            timed(f"export as a directory at {where}", "export", top, out, **count)
            sh(f"diff -r {source} {out}", timeout=900)
    finally:
        cluster.stop()
        sh(f"rm -rf {scratch}", timeout=900)


if __name__ == "__main__":
    main()
