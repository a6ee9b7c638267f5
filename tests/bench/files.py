"""What people do with files, on three nodes, beside the same on ext4 in the same run.

    tests/bench/files.py [--entries 100000] [--files 10000]
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import Cluster, sh  # noqa: E402


def timed(call):
    started = time.monotonic()
    call()
    return time.monotonic() - started


def show(what, ours, theirs, rest=""):
    print(f"{what:46} {ours * 1000:9.1f} ms   ext4 {theirs * 1000:9.1f} ms   {ours / theirs:6.1f} x {rest}",
          flush=True)


def run(command, directory):
    return timed(lambda: sh(f"cd {directory} && {command}", timeout=600))


def make_entries(tops, count):
    """A directory as it is on several mounts, by a thread each: a kernel makes one name at a time."""
    def some(n):
        for i in range(n, count, len(tops)):
            os.close(os.open(os.path.join(tops[n], f"entry-{i:06}"), os.O_CREAT | os.O_WRONLY))
    threads = [threading.Thread(target=some, args=(n,)) for n in range(len(tops))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    ext4 = tempfile.mkdtemp(prefix="zabfs-bench-", dir="/var/tmp")
    cluster = Cluster(3)
    try:
        cluster.start()
        leader = cluster.leader()
        other = cluster.followers()[0]
        source = os.path.join(ext4, "source")
        os.mkdir(source)
        numbers = random.Random(1)
        for i in range(options.files):
            if i % 100 == 0:
                os.mkdir(os.path.join(source, f"d{i // 100}"))
            with open(os.path.join(source, f"d{i // 100}", f"f{i}"), "w") as f:
                f.write("some words of a small file\n" * numbers.randrange(1, 40))
        for node, name in ((leader, "at the leader"), (other, "at a follower")):
            copy = node.path(f"copy{node.number}")
            show(f"cp -a of {options.files} files {name}",
                 timed(lambda: sh(f"cp -a {source} {copy}", timeout=900)),
                 timed(lambda: sh(f"cp -a {source} {ext4}/copy{node.number} && sync -f {ext4}")))
        parts = [f"d{i}" for i in range(options.files // 100)]
        target = leader.path("parallel")
        os.mkdir(target)
        took = timed(lambda: sh(f"cd {source} && printf '%s\\n' {' '.join(parts)} | "
                                f"xargs -P 16 -I@ cp -a @ {target}/", timeout=900))
        print(f"cp -a of them by 16 at once: {took * 1000:.1f} ms, {options.files / took:.0f} files/s")
        cluster.sync_all()
        mounted, plain = leader.path(f"copy{leader.number}"), f"{ext4}/copy{leader.number}"
        for command in ("grep -r nothing-there . || true", "find . -type f | wc -l", "ls -lR > /dev/null",
                        "tar cf /dev/null ."):
            run(command, plain)
            cold = run(command, mounted)
            show(f"{command.split('|')[0].strip()}, warm", min(run(command, mounted) for _ in range(2)),
                 min(run(command, plain) for _ in range(2)), f"(first time {cold * 1000:.0f} ms)")
        git = "git init -q . && git add -A && git -c user.name=n -c user.email=e@x commit -qm all"
        small = sorted(os.listdir(plain))[:10]
        for directory in (leader.path("repo"), f"{ext4}/repo"):
            os.mkdir(directory)
            sh(f"cp -a {' '.join(os.path.join(source, d) for d in small)} {directory}/ && cd {directory} && {git}",
               timeout=900)
        show("git status of 1000 files, warm",
             min(run("git status --porcelain", leader.path("repo")) for _ in range(3)),
             min(run("git status --porcelain", f"{ext4}/repo") for _ in range(3)))
        big, flat = leader.path("many"), os.path.join(ext4, "many")
        for directory in (big, flat):
            os.mkdir(directory)
        cluster.sync_all()
        took = timed(lambda: make_entries([n.path("many") for n in cluster.nodes], options.entries))
        make_entries([flat], options.entries)
        cluster.sync_all()
        print(f"creation of {options.entries} entries of one directory, a thread a mount: "
              f"{options.entries / took:.0f}/s")
        for command in ("ls > /dev/null", "ls -l > /dev/null"):
            run(command, flat)
            cold = run(command, big)
            show(f"{command.split('>')[0].strip()} of {options.entries}, warm",
                 min(run(command, big) for _ in range(3)), min(run(command, flat) for _ in range(3)),
                 f"(first time {cold * 1000:.0f} ms)")
    finally:
        cluster.stop()
        sh(f"rm -rf {ext4}")


if __name__ == "__main__":
    main()
