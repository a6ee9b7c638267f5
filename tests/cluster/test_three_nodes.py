"""One tree on three mounts, with the tools people use."""
import fcntl
import os
import random
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from harness import ClusterTest, run, sh, wait_for  # noqa: E402

MAX_FILE = 900 * 1024


class ThreeNodes(ClusterTest):
    def test_a_tree_of_real_files(self):
        """cp -a of /etc, /usr/share/doc and /usr/include without Boost on node 1, diff -r on 2, 3."""
        source = os.path.join(self.cluster.directory, "source")
        os.makedirs(source)
        sh(f"cp -a /etc {source}/etc; cp -a /usr/share/doc /usr/include {source}/; "
           f"rm -rf {source}/include/boost; "
           f"find {source} -type f -size +{MAX_FILE // 1024}k -delete; "
           f"find {source} ! -type f ! -type d ! -type l -delete; "
           f"find {source} -type l -lname '*[^ -~]*' -delete", timeout=300)
        # Hard links become files, as everywhere that has none.
        sh(f"cp -a --no-preserve=links {source} {self.dir(self.n1, 'copy')}", timeout=900)
        self.cluster.sync_all()
        listing = "find . -printf '%P %y %m %U %G %s %T@ %l\\n' | sed 's/ d \\([0-7]* [0-9]* [0-9]*\\) [0-9]* / d \\1 /' | sort"
        expected = sh(f"cd {source} && {listing}")
        for node in (self.n2, self.n3):
            copy = self.dir(node, "copy")
            result = run("diff", "-r", "--no-dereference", source, copy, timeout=600)
            self.assertEqual((result.returncode, result.stdout[:2000]), (0, ""))
            self.assertEqual(sh(f"cd {copy} && {listing}", timeout=300), expected)
        print(f"{expected.count(chr(10))} files and directories, equal on three nodes")

    def test_git(self):
        repo = self.dir(self.n1, "repo")
        sh(f"git init -q {repo} && cd {repo} && git config user.email a@b && git config user.name n && "
           f"for i in 1 2 3; do echo $i > f$i; git add -A; git commit -qm c$i; done; git fsck --strict")
        self.cluster.sync_all()
        for node in (self.n2, self.n3):
            other = self.dir(node, "repo")
            self.assertEqual(sh(f"cd {other} && git -c safe.directory='*' log --format=%s"),
                             "c3\nc2\nc1\n")
            sh(f"cd {other} && git -c safe.directory='*' fsck --strict")
        sh(f"cd {self.dir(self.n2, 'repo')} && git -c safe.directory='*' commit -q --allow-empty -m c4")
        self.cluster.sync_all()
        self.assertEqual(sh(f"cd {repo} && git status --porcelain && git log -1 --format=%s"), "c4\n")

    def test_edits(self):
        sh(f"echo hello > {self.dir(self.n1, 'f')}; sed -i s/hello/bye/ {self.dir(self.n1, 'f')}")
        self.cluster.sync_all()
        sh(f"vim -Nu NONE -es -c '%s/bye/vim/' -c wq {self.dir(self.n2, 'f')} </dev/null || "
           f"vim.tiny -es -c '%s/bye/vim/' -c wq {self.dir(self.n2, 'f')} </dev/null")
        self.cluster.sync_all()
        self.assertEqual(sh(f"cat {self.dir(self.n3, 'f')}"), "vim\n")

    def test_concurrent_appends(self):
        count = 150
        writers = [subprocess.Popen(["bash", "-c", f"for i in $(seq {count}); do "
                                     f"echo node{n.number}-$i >> {self.dir(n, 'log')}; done"])
                   for n in self.cluster.nodes]
        for w in writers:
            self.assertEqual(w.wait(120), 0)
        self.cluster.sync_all()
        expected = sorted(f"node{n}-{i}" for n in (1, 2, 3) for i in range(1, count + 1))
        for node in self.cluster.nodes:
            self.assertEqual(sorted(sh(f"cat {self.dir(node, 'log')}").splitlines()), expected)

    def test_never_empty_for_a_reader_elsewhere(self):
        sh(f"echo v0 > {self.dir(self.n1, 'f')}")
        self.cluster.sync_all()
        stop = threading.Event()
        bad = []

        def reader(node):
            while not stop.is_set():
                with open(self.dir(node, "f")) as f:
                    text = f.read()
                if not (text.startswith("v") and text.endswith("\n")):
                    bad.append(text)

        threads = [threading.Thread(target=reader, args=(n,)) for n in (self.n2, self.n3)]
        for t in threads:
            t.start()
        sh(f"for i in $(seq 200); do echo v$i > {self.dir(self.n1, 'f')}; done")
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])

    def test_order_under_caches(self):
        """f1 then f2 is written; who reads f2 first must not find an older f1: contents, sizes,
        absence and listings."""
        os.mkdir(self.dir(self.n1, "d"))
        for name in ("f1", "f2"):
            sh(f"echo 0 > {self.dir(self.n1, name)}")
        self.cluster.sync_all()
        stop = threading.Event()
        bad = []

        def check(node):
            while not stop.is_set():
                f2 = int(open_read(self.dir(node, "f2")) or 0)
                f1 = int(open_read(self.dir(node, "f1")) or 0)
                size = os.stat(self.dir(node, "sized")).st_size if f2 else 0
                there = os.path.exists(self.dir(node, "d", str(f2))) if f2 else True
                gone = not os.path.exists(self.dir(node, "d", str(f2 - 2))) if f2 > 2 else True
                listed = str(f2) in os.listdir(self.dir(node, "d")) if f2 else True
                # A newer one may have replaced what was looked for meanwhile.
                now = int(open_read(self.dir(node, "f2")) or 0)
                if f1 < f2 or size < f2 or not gone or (now == f2 and not (there and listed)):
                    bad.append((node.number, f2, f1, size, there, gone, listed))

        threads = [threading.Thread(target=check, args=(n,)) for n in (self.n2, self.n3)]
        sh(f"printf '' > {self.dir(self.n1, 'sized')}")
        self.cluster.sync_all()
        for t in threads:
            t.start()
        for i in range(1, 200):
            with open(self.dir(self.n1, "sized"), "a") as f:
                f.write("x")
            write(self.dir(self.n1, "d", str(i)), "")
            if i > 2:
                os.unlink(self.dir(self.n1, "d", str(i - 2)))
            write(self.dir(self.n1, "f1"), str(i))
            write(self.dir(self.n1, "f2"), str(i))
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(bad, [])

    def count_under(self, lock, processes, rounds):
        sh(f"echo 0 > {self.dir(self.n1, 'count')}; : > {self.dir(self.n1, 'guard')}")
        self.cluster.sync_all()
        script = ("for i in $(seq {rounds}); do flock {lock} sh -c "
                  "'n=$(cat {count}); echo $((n + 1)) > {count}'; done")
        running = []
        for node in self.cluster.nodes:
            for _ in range(processes):
                running.append(subprocess.Popen(
                    ["bash", "-c", script.format(rounds=rounds, lock=self.dir(node, lock),
                                                 count=self.dir(node, "count"))]))
        for process in running:
            self.assertEqual(process.wait(180), 0)
        self.cluster.sync_all()
        self.assertEqual(int(open_read(self.dir(self.n2, "count"))), 3 * processes * rounds)

    def test_counting_under_a_file_lock(self):
        self.count_under("guard", 4, 12)

    def test_counting_under_the_directory_lock(self):
        self.count_under("@/lock", 4, 12)

    def count_in_place(self, lock, unlock):
        """One handle is opened, locked, read, written, and unlocked or closed."""
        sh(f"echo 0 > {self.dir(self.n1, 'count')}")
        self.cluster.sync_all()
        rounds, processes = 10, 3
        script = f"""
import fcntl, sys
for _ in range({rounds}):
    with open(sys.argv[1], "r+") as f:
        {lock}
        n = int(f.read())
        f.seek(0)
        f.write(str(n + 1) + "\\n")
        {unlock}
"""
        running = [subprocess.Popen([sys.executable, "-c", script, self.dir(node, "count")])
                   for node in self.cluster.nodes for _ in range(processes)]
        for process in running:
            self.assertEqual(process.wait(180), 0)
        self.cluster.sync_all()
        self.assertEqual(int(open_read(self.dir(self.n2, "count"))), 3 * processes * rounds)

    def test_counting_in_a_file_that_is_locked_itself(self):
        for lock, unlock in (("fcntl.flock(f, fcntl.LOCK_EX)", ""),
                             ("fcntl.flock(f, fcntl.LOCK_EX)",
                              "f.flush(); fcntl.flock(f, fcntl.LOCK_UN)"),
                             ("fcntl.lockf(f, fcntl.LOCK_EX)", ""),
                             ("fcntl.lockf(f, fcntl.LOCK_EX)",
                              "f.flush(); fcntl.lockf(f, fcntl.LOCK_UN)")):
            with self.subTest(lock=lock, unlock=unlock):
                self.count_in_place(lock, unlock)

    def test_a_killed_holder_gives_the_lock_away(self):
        holder = subprocess.Popen(["flock", self.dir(self.n1, "@/lock"), "sleep", "60"])
        wait_for(lambda: "held" in open_read(self.dir(self.n2, "@/lock")), 10, "the holder")
        children = run("pgrep", "-P", str(holder.pid)).stdout.split()
        holder.kill()
        holder.wait()
        for child in children:
            os.kill(int(child), 9)
        self.assertEqual(run("flock", "-w", "30", self.dir(self.n2, "@/lock"), "true").returncode, 0)

    def test_next_and_seq_are_unique(self):
        count = 60
        script = "for i in $(seq {n}); do cat {d}/@/next; done"
        processes = [subprocess.Popen(["bash", "-c", script.format(n=count, d=self.dir(node))],
                                      stdout=subprocess.PIPE, text=True)
                     for node in self.cluster.nodes for _ in range(2)]
        numbers = []
        for process in processes:
            mine = [int(x) for x in process.communicate(timeout=120)[0].split()]
            self.assertEqual(mine, sorted(mine))
            numbers += mine
        self.assertEqual(len(set(numbers)), 6 * count)
        makers = [subprocess.Popen(["bash", "-c", f"for i in $(seq 30); do echo {node.number} > "
                                    f"{self.dir(node)}/@/seq/s-; done"]) for node in self.cluster.nodes]
        for maker in makers:
            self.assertEqual(maker.wait(60), 0)
        self.cluster.sync_all()
        made = [n for n in os.listdir(self.dir(self.n3)) if n.startswith("s-")]
        self.assertEqual(len(made), 90)
        self.assertEqual(sorted(open_read(self.dir(self.n3, n)).strip() for n in made),
                         sorted(["1", "2", "3"] * 30))

    def test_ephemerals_end_with_their_process(self):
        holder = subprocess.Popen(["bash", "-c", f"exec 9> {self.dir(self.n1)}/@/ephemeral/e; "
                                   "exec sleep 60"])
        wait_for(lambda: os.path.exists(self.dir(self.n2, "e")), 10, "the ephemeral elsewhere")
        holder.kill()
        holder.wait()
        wait_for(lambda: not os.path.exists(self.dir(self.n2, "e")), 20, "its end")

    def test_a_watch_misses_nothing(self):
        watch = subprocess.Popen(
            ["bash", "-c", f"while read -r zxid type name; do echo $zxid $type $name; "
             f"test \"$name\" = end && break; done < {self.dir(self.n2)}/@/watch"],
            stdout=subprocess.PIPE, text=True)
        first = watch.stdout.readline()
        self.assertRegex(first, r"^0x[0-9a-f]+ *\n$")
        expected = []
        for i in range(150):
            node = random.choice(self.cluster.nodes)
            write(self.dir(node, f"w{i}"), "x")
            expected += [f"created w{i}", f"changed w{i}"]
        write(self.dir(self.n1, "end"), "")
        lines = watch.communicate(timeout=60)[0].splitlines()
        self.assertEqual([" ".join(line.split()[1:]) for line in lines], expected + ["created end"])
        zxids = [int(line.split()[0], 16) for line in lines]
        self.assertEqual(zxids, sorted(zxids))

    def test_in_place_conflict_between_nodes(self):
        write(self.dir(self.n1, "f"), "aaaa")
        self.cluster.sync_all()
        a = os.open(self.dir(self.n1, "f"), os.O_RDWR)
        b = os.open(self.dir(self.n2, "f"), os.O_RDWR)
        os.pwrite(a, b"1", 0)
        os.pwrite(b, b"2", 3)
        os.close(a)
        with self.assertRaises(OSError):
            os.close(b)
        self.cluster.sync_all()
        self.assertEqual(open_read(self.dir(self.n3, "f")), "1aaa")

    def test_same_numbers_everywhere(self):
        sh(f"mkdir {self.dir(self.n1, 'd')}; echo x > {self.dir(self.n1, 'd/f')}")
        self.cluster.sync_all()
        listings = {sh(f"cd {self.dir(n)} && find . -printf '%i %p %T@\\n' | sort")
                    for n in self.cluster.nodes}
        self.assertEqual(len(listings), 1)

    def test_a_read_behind_a_barrier_is_fresh(self):
        for i in range(100):
            write(self.dir(self.n1, "f"), str(i))
            node = random.choice([self.n2, self.n3])
            sh(f"sync {self.dir(node)}") if i % 10 == 0 else node.barrier()
            self.assertEqual(open_read(self.dir(node, "f")), str(i))
            self.assertEqual(os.stat(self.dir(node, "f")).st_size, len(str(i)))

    def test_cluster_file(self):
        for node in self.cluster.nodes:
            text = open_read(node.path("@/cluster"))
            self.assertIn(f"node {node.number}\n", text)
            self.assertEqual(text.count("\nmember "), 3)
            wait_for(lambda: open_read(node.path("@/cluster")).count(" follower zxid") == 2, 20,
                     "two followers")
        roles = [n.cluster_state()["role"] for n in self.cluster.nodes]
        self.assertEqual(sorted(roles), ["follower", "follower", "leader"])


def open_read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
