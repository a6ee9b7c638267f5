"""Every recipe of the control room, on three mounts, as scripts use them."""
import calendar
import collections
import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, die_with_parent, run, sh, wait_for  # noqa: E402

NOBODY = 65534


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    """One write, as `echo` makes it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def fields(text):
    return [line.split() for line in text.splitlines()]


class Recipes(ClusterTest):
    options = {"extra": "znode.container.checkIntervalMs=500\n"}

    def setUp(self):
        super().setUp()
        self.open_fds = []

    def tearDown(self):
        for fd in self.open_fds:
            try:
                os.close(fd)
            except OSError:
                pass

    def room(self, node, *names):
        return self.dir(node, "@", *names)

    def open(self, path, flags=os.O_RDWR):
        fd = os.open(path, flags)
        self.open_fds.append(fd)
        return fd

    def contenders(self, name="locks"):
        """Names in a directory, which a mount does not list."""
        children = self.cluster.children_on_the_wire(f"/{self.name}/{name}".rstrip("/"))
        return [child for child in children if child != "@"]

    def close(self, fd):
        self.open_fds.remove(fd)
        os.close(fd)

    def later(self, call):
        """Runs it in a thread; gives a function that says what came of it."""
        result = []

        def body():
            try:
                result.append(call())
            except OSError as error:
                result.append(error)
        thread = threading.Thread(target=body, daemon=True)
        thread.start()

        def outcome(seconds=20):
            thread.join(seconds)
            self.assertTrue(result, "no answer")
            if isinstance(result[0], OSError):
                raise result[0]
            return result[0]
        outcome.is_waiting = lambda: not result
        return outcome

    def assertErrno(self, number, call, *args):
        with self.assertRaises(OSError) as caught:
            call(*args)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[number])

    def become_nobody(self, call):
        """What `call` comes to in a process of another user: 0 or an errno."""
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                call()
            except OSError as error:
                code = error.errno
            os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def token(self, path):
        return next(int(line[1], 16) for line in fields(read(path)) if line[0] == "token")

    # ---- rooms

    def test_rooms_list_and_explain_themselves(self):
        names = set(os.listdir(self.room(self.n1)))
        expected = {"acl", "at", "barrier", "changes", "counter", "data", "ephemeral", "export", "help", "history", "holders",
                    "import", "leader", "lock", "next", "once", "pick", "queue", "ring", "rwlock", "semaphore", "seq", "stat", "txn", "watch",
                    "watch-all", "work"}
        self.assertEqual(names, expected)
        root = set(os.listdir(self.n1.path("@")))
        self.assertEqual(root, expected | {"cluster", "health", "log-level", "members", "metrics", "snapshot", "handles"})
        text = read(self.room(self.n1, "help"))
        for name in expected - {"help"}:
            self.assertIn(name, text)

    def test_health_and_metrics(self):
        health = dict(fields(read(self.n1.path("@", "health"))))
        self.assertEqual((health["state"], health["quorum"], health["writable"]), ("ok", "yes", "yes"))
        metrics = read(self.n1.path("@", "metrics"))
        for line in metrics.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [-+.e\d]+)$")
        self.assertIn("\nzabfs_quorum 1\n", metrics)

    # ---- acl

    def test_acl(self):
        acl = self.room(self.n1, "acl")
        lines = read(acl).splitlines()
        self.assertIn("world:anyone:r", lines)
        sh(f"echo world:anyone:cdrwa > {acl}")
        self.assertEqual(os.stat(self.dir(self.n1)).st_mode & 0o7777, 0o757)
        self.assertIn("world:anyone:cdrwa", read(acl).splitlines())
        sh(f"echo ip:10.0.0.1:r >> {acl}")
        self.cluster.sync_all()
        self.assertIn("ip:10.0.0.1:r", read(self.room(self.n2, "acl")).splitlines())
        before = read(acl)
        for bad in ("nonsense", "world:anyone:xyz", "world:someone:r", "ip:1.2.3.4.5:r"):
            self.assertErrno(errno.EINVAL, write, acl, bad + "\n")
            result = run("bash", "-c", f"echo '{bad}' >> {acl}")
            self.assertNotEqual(result.returncode, 0, bad)
        self.assertEqual(read(acl), before)
        os.chmod(self.dir(self.n1), 0o777)
        self.assertEqual(self.become_nobody(lambda: read(acl) and None), 0)
        self.assertEqual(self.become_nobody(lambda: write(acl, "world:anyone:r\n")), errno.EACCES)

    def test_acl_edited_in_place(self):
        acl = self.room(self.n1, "acl")
        sh(f"cp {acl} {self.cluster.directory}/acl && sed -i s/world:anyone:r/world:anyone:rw/ "
           f"{self.cluster.directory}/acl && cat {self.cluster.directory}/acl > {acl}")
        self.assertIn("world:anyone:rw", read(acl))
        self.assertEqual(os.stat(self.dir(self.n1)).st_uid, 0)

    # ---- locks

    def test_holders(self):
        """Any node tells of all nodes, and of what is below."""
        sub = self.dir(self.n1, "sub")
        os.mkdir(sub)
        write(self.dir(self.n1, "sub", "f"), "x")
        self.cluster.sync_all()
        lock, leader = self.open(self.room(self.n1, "lock")), self.open(self.dir(self.n2, "sub", "@", "leader"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.read(leader, 100)
        file = self.open(self.dir(self.n3, "sub", "f"))
        fcntl.flock(file, fcntl.LOCK_SH)
        self.open(self.dir(self.n3, "sub", "@", "semaphore", "1"))
        late = self.open(self.room(self.n2, "lock"))
        self.later(lambda: fcntl.flock(late, fcntl.LOCK_EX))
        wait_for(lambda: "waiter" in read(self.room(self.n1, "lock")), 10, "the waiter")
        self.cluster.sync_all()
        texts = [read(self.room(node, "holders")) for node in self.cluster.nodes]
        self.assertEqual(len(set(texts)), 1)
        lines = [line.split() for line in texts[0].splitlines()]
        pid = str(os.getpid())
        waiting = lines[1][3]  # a thread's
        self.assertEqual([line[:4] + line[7:] for line in lines],
                         [["lock", "held", "1", pid, "@/lock"], ["lock", "waiting", "2", waiting, "@/lock"],
                          ["leader", "held", "2", pid, "sub/@/leader"],
                          ["semaphore", "held", "3", pid, "sub/@/semaphore"],
                          ["flock-shared", "held", "3", pid, "sub/f"]])
        self.assertEqual(int(lines[0][6], 16), self.token(self.room(self.n3, "lock")))
        for line in lines:
            since = calendar.timegm(time.strptime(line[5], "%Y-%m-%dT%H:%M:%SZ"))
            self.assertLess(abs(time.time() - since), 60)
        self.assertEqual(read(self.dir(self.n3, "sub", "@", "holders")).splitlines()[0].split()[7], "@/leader")
        # Only what the reader may list.
        os.chmod(sub, 0o700)
        room = self.room(self.n1, "holders")
        os.chmod(self.dir(self.n1), 0o755)

        def look():
            if any("sub/" in line for line in read(room).splitlines()):
                raise OSError(errno.EPERM, "too much is told")
            if len(read(room).splitlines()) != 2:
                raise OSError(errno.EIO, "too little is told")
        self.assertEqual(self.become_nobody(look), 0)
        fcntl.flock(lock, fcntl.LOCK_UN)

    def test_rwlock(self):
        path = lambda node: self.room(node, "rwlock")  # noqa: E731
        self.assertEqual(read(path(self.n1)), "state free\n")
        one, two, three = (self.open(path(n)) for n in (self.n1, self.n2, self.n3))
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(two, fcntl.LOCK_SH)
        self.assertErrno(errno.EAGAIN, fcntl.flock, three, fcntl.LOCK_EX | fcntl.LOCK_NB)
        wait_for(lambda: "waiter" not in read(path(self.n1)), 10, "the end of that one in the queue")
        writer = self.later(lambda: fcntl.flock(three, fcntl.LOCK_EX))
        wait_for(lambda: "waiter" in read(path(self.n1)), 10, "the writer in the queue")
        lines = fields(read(path(self.n1)))
        self.assertEqual([line[0] for line in lines],
                         ["state", "token", "holder", "holder", "waiter"])
        self.assertEqual([line[1] for line in lines[2:]], ["1", "2", "3"])
        self.assertRegex(lines[1][1], "^0x[0-9a-f]+$")
        self.assertEqual(sorted(name[40:49] for name in self.contenders("")), ["__READ__0"] * 2 + ["__WRIT__0"])
        late = self.open(path(self.n1))
        self.assertErrno(errno.EAGAIN, fcntl.flock, late, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        self.assertTrue(writer.is_waiting())
        fcntl.flock(two, fcntl.LOCK_UN)
        writer()
        token = self.token(path(self.n3))
        fcntl.flock(three, fcntl.LOCK_UN)
        fcntl.flock(late, fcntl.LOCK_SH)
        self.assertGreater(self.token(path(self.n1)), token)

    def test_contenders_are_not_removed_by_hand(self):
        fd = self.open(self.room(self.n1, "lock"))
        fcntl.flock(fd, fcntl.LOCK_EX)
        (name,) = self.contenders("")
        self.assertErrno(errno.EBUSY, os.unlink, self.dir(self.n2, name))
        self.assertErrno(errno.EBUSY, os.rename, self.dir(self.n2, name), self.dir(self.n2, "x"))
        self.assertEqual(os.stat(self.dir(self.n2, name)).st_mode & 0o4, 0o4)

    def test_contenders_are_not_listed(self):
        here, there = self.dir(self.n1), self.dir(self.n2)
        feed = self.open(self.room(self.n2, "watch"), os.O_RDONLY)
        os.read(feed, 100)
        lock, latch = self.open(self.room(self.n1, "lock")), self.open(self.room(self.n1, "leader"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.read(latch, 100)
        late = self.open(self.room(self.n2, "lock"))
        self.later(lambda: fcntl.flock(late, fcntl.LOCK_EX))
        wait_for(lambda: len(self.contenders("")) == 3, 10, "all to queue")
        self.cluster.sync_all()
        for directory in here, there:
            self.assertEqual(os.listdir(directory), [])
            self.assertErrno(errno.EBUSY, os.rmdir, directory)
        write(self.dir(self.n1, "f"), "x")
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, here)
        self.cluster.sync_all()
        self.assertEqual(os.listdir(there), ["f"])
        sh(f"cp -r {there} {there}-copy && rm -r {there}-copy")
        self.assertRegex(os.read(feed, 1000).decode(), "^0x[0-9a-f]+ created f\n$")
        for node in self.n1, self.n2:
            self.assertRegex(node.log_text(), f"rmdir /{self.name} is refused: 3 contenders .* in it, one of "
                                              "them .*(lock|latch)-[0-9]+ .node, process and program: [12] ")
        self.assertEqual(len(read(self.room(self.n2, "holders")).splitlines()), 3)
        fcntl.flock(lock, fcntl.LOCK_UN)

    # ---- semaphore

    def test_semaphore(self):
        path = lambda node, n=2: self.room(node, "semaphore", str(n))  # noqa: E731
        one, two = self.open(path(self.n1)), self.open(path(self.n2))
        self.cluster.sync_all()
        self.assertEqual(len(self.contenders("leases")), 2)
        self.assertErrno(errno.EAGAIN, self.open, path(self.n3), os.O_RDWR | os.O_NONBLOCK)
        third = self.later(lambda: self.open(path(self.n3)))
        fourth = self.later(lambda: self.open(path(self.n1)))
        time.sleep(0.2)
        self.assertTrue(third.is_waiting() and fourth.is_waiting())
        self.close(one)
        wait_for(lambda: third.is_waiting() + fourth.is_waiting() == 1, 10, "the next one")
        self.close(two)
        third(), fourth()
        self.assertTrue(read(self.n1.path("@", "handles")).count("semaphore "))
        for name in ("0", "-1", "x", "1x"):
            self.assertErrno(errno.ENOENT, os.open, self.room(self.n1, "semaphore", name), os.O_RDWR)

    def test_semaphore_waiters_that_are_killed_leave_the_queue(self):
        path = self.room(self.n2, "semaphore", "1")
        held = self.open(self.room(self.n1, "semaphore", "1"))
        waiters = [subprocess.Popen(["bash", "-c", f"exec 9<>{path}"], preexec_fn=die_with_parent)
                   for _ in range(2)]
        wait_for(lambda: len(self.contenders()) == 2, 10, "both to queue")
        for waiter in waiters:
            waiter.kill()
            waiter.wait()
        wait_for(lambda: not self.contenders(), 10, "both to be gone")
        self.close(held)
        self.close(self.open(path))
        result = run("timeout", "0.5", "bash", "-c", f"exec 9<>{path}; exec 8<>{path}")
        self.assertEqual(result.returncode, 124)

    def test_semaphore_from_a_shell(self):
        out = sh("for i in 1 2 3 4 5 6; do (exec 9> $P; echo + ; sleep 0.1; echo -) & done; wait",
                 env={**os.environ, "P": self.room(self.n1, "semaphore", "2")})
        inside = highest = 0
        for sign in out.split():
            inside += 1 if sign == "+" else -1
            highest = max(highest, inside)
        self.assertEqual((highest, inside), (2, 0))

    # ---- leader

    def test_leader(self):
        path = lambda node: self.room(node, "leader")  # noqa: E731
        one = self.open(path(self.n1))
        text = os.read(one, 200).decode()
        self.assertRegex(text, r"^leader 1 \d+ \S+\ntoken 0x[0-9a-f]+\n$")
        two = self.open(path(self.n2), os.O_RDWR | os.O_NONBLOCK)
        self.assertErrno(errno.EAGAIN, os.read, two, 200)
        three = self.open(path(self.n3))
        elected = self.later(lambda: os.read(three, 200))
        poller = select.poll()
        poller.register(two, select.POLLIN)
        self.assertEqual(poller.poll(100), [])
        self.close(one)
        self.assertEqual(poller.poll(10_000), [(two, select.POLLIN)])
        self.assertTrue(os.read(two, 200).startswith(b"leader 2 "))
        self.assertTrue(elected.is_waiting())
        self.close(two)
        self.assertTrue(elected().startswith(b"leader 3 "))
        self.assertTrue(all("-latch-" in name for name in self.contenders("")))

    def test_a_leader_that_is_killed_is_followed_at_once(self):
        path = self.room(self.n1, "leader")
        script = 'exec 9<>"$0"; read -r line <&9; echo "$line"; sleep 60'
        first = subprocess.Popen(["bash", "-c", script, path], stdout=subprocess.PIPE, text=True,
                                 preexec_fn=die_with_parent, start_new_session=True)
        self.assertTrue(first.stdout.readline().startswith("leader 1"))
        second = subprocess.Popen(["bash", "-c", script, self.room(self.n2, "leader")],
                                  stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent,
                                  start_new_session=True)
        wait_for(lambda: len(self.contenders("")) == 2, 10, "the second to join")
        os.killpg(first.pid, signal.SIGKILL)
        self.assertTrue(second.stdout.readline().startswith("leader 2"))
        os.killpg(second.pid, signal.SIGKILL)
        for process in (first, second):
            process.wait()
            process.stdout.close()

    # ---- barrier

    def test_barrier(self):
        path = lambda node: self.room(node, "barrier", "3")  # noqa: E731
        one, two = self.open(path(self.n1)), self.open(path(self.n2))
        first = self.later(lambda: os.read(one, 100))
        os.set_blocking(two, False)
        self.assertErrno(errno.EAGAIN, os.read, two, 100)
        self.assertTrue(first.is_waiting())
        three = self.open(path(self.n3))
        self.assertEqual(os.read(three, 100), b"in 3\n")
        self.assertEqual(first(), b"in 3\n")
        wait_for(lambda: select.select([two], [], [], 0)[0], 10, "the second to be in")
        self.assertEqual(os.read(two, 100), b"in 3\n")
        self.cluster.sync_all()
        self.assertEqual(os.listdir(self.dir(self.n1)), ["ready"])
        self.assertEqual(len(self.contenders("")), 4)
        for fd in (one, two, three):
            self.close(fd)
        wait_for(lambda: not self.contenders(""), 10, "all to leave")
        again = self.open(path(self.n1), os.O_RDWR | os.O_NONBLOCK)
        self.assertErrno(errno.EAGAIN, os.read, again, 100)

    # ---- queue

    def test_queue(self):
        queue = lambda node: self.room(node, "queue")  # noqa: E731
        sh(f"echo one > {queue(self.n1)}; /usr/bin/printf 'two\\nlines' > {queue(self.n2)}; "
           f"echo three > {queue(self.n3)}")
        self.cluster.sync_all()
        names = sorted(os.listdir(self.dir(self.n2)))
        self.assertEqual(names, [f"qn-{i:010d}" for i in range(3)])
        self.assertEqual(sh(f"cat {queue(self.n3)}"), "one\n")
        self.cluster.sync_all()
        fd = self.open(queue(self.n1), os.O_RDONLY | os.O_NONBLOCK)
        self.assertEqual(os.read(fd, 3), b"two")
        self.assertEqual(os.read(fd, 100), b"\nlines")
        self.assertEqual(os.read(fd, 100), b"")
        self.assertEqual(os.pread(fd, 100, 0), b"three\n")
        self.assertErrno(errno.EAGAIN, os.pread, fd, 100, 0)
        self.assertEqual(os.listdir(self.dir(self.n1)), [])

    def test_queue_serves_waiters_in_order_and_each_item_once(self):
        queue = lambda node: self.room(node, "queue")  # noqa: E731
        waiting = []
        for _ in range(4):
            fd = self.open(queue(self.n1), os.O_RDONLY)
            waiting.append(self.later(lambda fd=fd: os.read(fd, 100)))
            time.sleep(0.2)  # it is the daemon that the order of their coming is known to
        for i in range(4):
            write(queue(self.n2), str(i))
        self.assertEqual([w() for w in waiting], [b"0", b"1", b"2", b"3"])
        items, taken, lock = 120, [], threading.Lock()

        def consume(node):
            while True:
                item = read(queue(node))
                if item == "end":
                    return
                with lock:
                    taken.append(item)
        consumers = [self.later(lambda n=n: consume(n)) for n in self.cluster.nodes for _ in (1, 2)]
        producers = [self.later(lambda n=n: [write(queue(n), f"{n.number}-{i}") for i in range(items)])
                     for n in self.cluster.nodes]
        for producer in producers:
            producer(60)
        for _ in consumers:
            write(queue(self.n1), "end")
        for consumer in consumers:
            consumer(60)
        self.assertEqual(sorted(taken), sorted(f"{n}-{i}" for n in (1, 2, 3) for i in range(items)))

    # ---- work

    def test_work_is_given_again_unless_it_is_acknowledged(self):
        work = lambda node: self.room(node, "work")  # noqa: E731
        sh(f"echo one > {work(self.n1)}; echo two > {work(self.n2)}")
        self.cluster.sync_all()
        one, two = self.open(work(self.n1)), self.open(work(self.n3), os.O_RDWR | os.O_NONBLOCK)
        self.assertEqual(os.read(one, 100), b"one\n")
        self.assertEqual(os.pread(one, 100, 0), b"one\n")  # it has it
        self.assertEqual(os.read(two, 100), b"two\n")
        late = self.open(work(self.n2), os.O_RDWR | os.O_NONBLOCK)
        self.assertErrno(errno.EAGAIN, os.read, late, 100)
        lines = [line.split() for line in read(self.room(self.n2, "holders")).splitlines()]
        self.assertEqual([line[:4] + line[7:] for line in lines],
                         [["work", "held", node, str(os.getpid()), "@/work"] for node in "13"])
        self.assertErrno(errno.EINVAL, os.write, two, b"something else")
        os.write(two, b"ack\n")
        self.assertErrno(errno.EAGAIN, os.read, two, 100)
        waiting = self.later(lambda: read(work(self.n2)))
        time.sleep(0.2)
        self.assertTrue(waiting.is_waiting())
        self.close(one)
        self.assertEqual(waiting(), "one\n")
        again = self.open(work(self.n1))
        self.assertEqual(os.read(again, 100), b"one\n")
        os.write(again, b"ack")
        self.close(again)
        self.cluster.sync_all()
        self.assertErrno(errno.EAGAIN, os.read, late, 100)
        self.assertEqual(self.cluster.children_on_the_wire(f"/{self.name}/@/work"), [])

    def test_no_work_is_lost_with_its_readers(self):
        script = ('while read -r item <&9; do sleep 0.0$((RANDOM % 5)); echo "$item" >> "$1"; '
                  '[ $((RANDOM % 3)) = 0 ] && kill -9 $$; echo ack >&9; done 9<> "$0"')
        done = os.path.join(self.cluster.directory, "done")
        write(done, "")
        items = {f"item{i}" for i in range(30)}
        readers = []

        def start(node):
            readers.append((node, subprocess.Popen(["bash", "-c", script, self.room(node, "work"), done],
                                                   preexec_fn=die_with_parent)))
        for node in self.cluster.nodes:
            start(node)
        for item in sorted(items):
            write(self.room(self.n1, "work"), item + "\n")

        def is_done():
            for node, reader in list(readers):
                if reader.poll() is not None:
                    readers.remove((node, reader))
                    start(node)
            return not self.cluster.children_on_the_wire(f"/{self.name}/@/work")
        try:
            wait_for(is_done, 60, "all work to be acknowledged", every=0.2)
        finally:
            for _, reader in readers:
                reader.kill()
                reader.wait()
        self.assertEqual(set(read(done).split()), items)

    def test_work_of_a_node_that_dies_is_given_to_another(self):
        sh(f"echo job > {self.room(self.n1, 'work')}")
        reader = subprocess.Popen(["bash", "-c", 'read -r item <&9; echo "$item"; sleep 60', ],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                  preexec_fn=lambda: (die_with_parent(), os.dup2(
                                      os.open(self.room(self.n3, "work"), os.O_RDWR), 9)), close_fds=False)
        self.assertEqual(reader.stdout.readline(), "job\n")
        other = self.later(lambda: read(self.room(self.n1, "work")))
        self.n3.kill()
        self.assertEqual(other(), "job\n")
        reader.kill()
        reader.communicate()
        self.n3.unmount()
        self.n3.start()
        self.n3.wait_ready()
        self.cluster.sync_all()

    # ---- once

    def test_once_in_a_period(self):
        once = lambda node, period="12h", name="backup": self.room(node, "once", name, period)  # noqa: E731
        tries = [self.later(lambda n=n: self.open(once(n), os.O_RDONLY)) for n in self.cluster.nodes * 3]
        won = []
        for attempt in tries:
            try:
                won.append(attempt())
            except OSError as error:
                self.assertEqual(error.errno, errno.EBUSY)
        self.assertEqual(len(won), 1)
        self.assertRegex(os.read(won[0], 100).decode(), r"^once [123] \d+ \S+\ntoken 0x[0-9a-f]+\n$")
        self.close(won[0])
        self.assertErrno(errno.EBUSY, os.open, once(self.n2), os.O_RDONLY)  # the period goes on
        self.close(self.open(once(self.n2, name="another")))
        write_only = 'exec 9> "$0" 2> /dev/null || exit 3; echo ran'
        runs = [run("bash", "-c", write_only, once(node, "2s", "short")) for node in self.cluster.nodes]
        self.assertEqual([r.stdout for r in runs], ["ran\n", "", ""])
        time.sleep(2)
        runs = [run("bash", "-c", write_only, once(node, "2s", "short")) for node in self.cluster.nodes]
        self.assertEqual([r.stdout for r in runs], ["ran\n", "", ""])
        for period in ("0s", "1", "s", "-1h", "1w", "5000d", "1.5h", "1hh"):
            self.assertErrno(errno.ENOENT, os.open, once(self.n1, period), os.O_RDONLY)
        os.chmod(self.dir(self.n1), 0o755)
        self.assertNotEqual(self.become_nobody(lambda: os.open(once(self.n1, name="nobodys"), os.O_RDONLY)), 0)

    def test_queue_waiters_wake_by_poll_and_end_by_signals(self):
        fd = self.open(self.room(self.n1, "queue"), os.O_RDONLY | os.O_NONBLOCK)
        poller = select.epoll()
        poller.register(fd, select.EPOLLIN)
        self.assertEqual(poller.poll(0.1), [])
        write(self.room(self.n2, "queue"), "x")
        self.assertEqual(poller.poll(10), [(fd, select.EPOLLIN)])
        self.assertEqual(os.read(fd, 10), b"x")
        poller.close()
        waiter = subprocess.Popen(["cat", self.room(self.n1, "queue")], preexec_fn=die_with_parent)
        time.sleep(0.2)
        waiter.kill()
        self.assertEqual(waiter.wait(10), -signal.SIGKILL)
        write(self.room(self.n1, "queue"), "not for a ghost")
        self.assertEqual(read(self.room(self.n1, "queue")), "not for a ghost")

    def test_queue_waiters_end_with_their_directory(self):
        for name in ("queue", "work"):
            os.mkdir(self.dir(self.n1, name))
            waiter = subprocess.Popen(["cat", self.dir(self.n1, name, "@", name)], stderr=subprocess.PIPE,
                                      preexec_fn=die_with_parent, env={**os.environ, "LC_ALL": "C"})
            fd = self.open(self.dir(self.n1, name, "@", name), os.O_RDONLY | os.O_NONBLOCK)
            poller = select.epoll()
            poller.register(fd, select.EPOLLIN)
            self.assertEqual(poller.poll(0.2), [])
            os.rmdir(self.dir(self.n1, name))
            self.assertIn("Stale file handle", waiter.communicate(timeout=20)[1].decode())
            self.assertEqual(waiter.returncode, 1)
            self.assertEqual([polled for polled, _ in poller.poll(20)], [fd])
            self.assertErrno(errno.ESTALE, os.read, fd, 10)
            poller.close()

    # ---- numbers

    def test_counter(self):
        counter = lambda node: self.room(node, "counter")  # noqa: E731
        self.assertEqual(read(counter(self.n1)), "0\n")
        sh(f"echo +5 > {counter(self.n1)}; echo -7 > {counter(self.n1)}")
        self.assertEqual(read(counter(self.n1)), "-2\n")
        self.cluster.sync_all()
        self.assertEqual(read(counter(self.n3)), "-2\n")
        write(counter(self.n1), f"={2**63 - 1}")
        self.assertErrno(errno.ERANGE, write, counter(self.n1), "+1")
        for bad in ("5", "+", "++1", "+1 2", "=x", "=9223372036854775808", "+-1", "\n"):
            self.assertErrno(errno.EINVAL, write, counter(self.n1), bad)
        self.assertEqual(read(counter(self.n1)), f"{2**63 - 1}\n")
        write(counter(self.n1), "=-3\n")
        self.assertEqual(read(counter(self.n1)), "-3\n")

    def test_one_handle_writes_and_reads(self):
        counter, queue = (self.open(self.room(self.n1, name)) for name in ("counter", "queue"))
        for i in range(1, 4):
            os.write(counter, b"+10\n")
            self.assertEqual(os.read(counter, 100), f"{10 * i}\n".encode())
            self.assertEqual(os.read(counter, 100), b"")
            os.write(queue, f"item {i}".encode())
            self.assertEqual(os.read(queue, 4), b"item")
            self.assertEqual(os.read(queue, 100), f" {i}".encode())
            self.assertEqual(os.read(queue, 100), b"")

    def test_counter_counts_everything(self):
        times = 60
        writers = [subprocess.Popen(["bash", "-c", f"for i in $(seq {times}); do echo +1 > $0; done",
                                     self.room(node, "counter")]) for node in self.cluster.nodes * 2]
        for writer in writers:
            self.assertEqual(writer.wait(120), 0)
        self.cluster.sync_all()
        self.assertEqual(read(self.room(self.n2, "counter")), f"{6 * times}\n")

    # ---- choosing

    def test_ring(self):
        members = 10
        for i in range(members):
            write(self.dir(self.n1, f"server{i}"), "")
        self.cluster.sync_all()
        keys = [f"key-{i}" for i in range(1000)]

        def choices(node):
            return {key: read(self.room(node, "ring", key)).strip() for key in keys}
        before = choices(self.n1)
        self.assertEqual(before, choices(self.n2))
        counts = collections.Counter(before.values())
        self.assertEqual(len(counts), members)
        self.assertTrue(all(60 <= n <= 145 for n in counts.values()), counts)
        os.unlink(self.dir(self.n1, "server3"))
        after = choices(self.n1)
        self.assertTrue(all(before[k] == after[k] for k in keys if before[k] != "server3"))
        write(self.dir(self.n1, "new"), "")
        added = choices(self.n1)
        moved = {k for k in keys if added[k] != after[k]}
        self.assertEqual({added[k] for k in moved}, {"new"})
        self.assertTrue(60 <= len(moved) <= 145, len(moved))
        write(self.dir(self.n1, "new"), "3\n")  # three shares of twelve
        heavy = collections.Counter(choices(self.n1).values())["new"]
        self.assertTrue(180 <= heavy <= 320, heavy)
        print(f"ring: {counts.most_common()[0][1]} to {counts.most_common()[-1][1]} of 1000 keys for "
              f"each of 10, {len(moved)} moved to an 11th, {heavy} at weight 3")

    def test_ring_and_pick_of_nothing(self):
        self.assertErrno(errno.ENOENT, read, self.room(self.n1, "ring", "key"))
        self.assertErrno(errno.ENOENT, read, self.room(self.n1, "pick"))
        fd = self.open(self.room(self.n1, "lock"))
        fcntl.flock(fd, fcntl.LOCK_EX)  # its contender is no child to choose
        self.assertErrno(errno.ENOENT, read, self.room(self.n1, "pick"))

    def test_pick(self):
        for name in "abc":
            write(self.dir(self.n1, name), "")
        picks = [read(self.room(self.n1, "pick")).strip() for _ in range(30)]
        self.assertEqual(collections.Counter(picks), {"a": 10, "b": 10, "c": 10})
        self.assertEqual([sorted(picks[i:i + 3]) for i in range(0, 30, 3)], [["a", "b", "c"]] * 10)
        write(self.dir(self.n1, "a"), "2")
        write(self.dir(self.n1, "c"), "0")
        counts = collections.Counter(read(self.room(self.n1, "pick")).strip() for _ in range(30))
        self.assertEqual(counts, {"a": 20, "b": 10})

    # ---- txn

    def stage(self, node, name, files):
        top = self.room(node, "txn", name)
        os.mkdir(top)
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
            with open(os.path.join(top, path), "w") as f:
                f.write(text)
        return top

    def test_txn(self):
        write(self.dir(self.n1, "old"), "old\n")
        czxid = os.getxattr(self.dir(self.n1, "old"), "user.zabfs.czxid")
        staged = self.stage(self.n1, "change", {"old": "new\n", "sub/deep/file": "deep\n", "b": "b"})
        self.assertEqual(os.listdir(self.room(self.n1, "txn")), ["change"])
        self.assertEqual(sorted(os.listdir(self.dir(self.n1))), ["old"])
        self.assertEqual(read(self.dir(self.n1, "old")), "old\n")
        os.rename(staged, staged + ".commit")
        self.assertEqual(os.listdir(self.room(self.n1, "txn")), [])
        self.assertFalse(os.path.exists(staged))
        self.assertFalse(os.path.exists(staged + ".commit"))
        self.cluster.sync_all()
        for node in self.cluster.nodes:
            self.assertEqual(sh(f"cd {self.dir(node)} && grep -r . | sort"),
                             "b:b\nold:new\nsub/deep/file:deep\n")
        mzxids = {os.getxattr(self.dir(self.n1, name), "user.zabfs.mzxid")
                  for name in ("old", "b", "sub/deep/file")}
        self.assertEqual(len(mzxids), 1)
        self.assertEqual(os.getxattr(self.dir(self.n1, "old"), "user.zabfs.czxid"), czxid)

    def test_txn_conflict(self):
        write(self.dir(self.n1, "f"), "0")
        first = self.stage(self.n1, "first", {"f": "1", "g": "1"})
        second = self.stage(self.n2, "second", {"f": "2", "h": "2"})
        os.rename(first, first + ".commit")
        self.cluster.sync_all()
        self.assertErrno(errno.ESTALE, os.rename, second, second + ".commit")
        self.assertEqual(sorted(os.listdir(second)), ["f", "h"])
        self.assertEqual(read(os.path.join(second, "f")), "2")
        self.assertEqual(sorted(os.listdir(self.dir(self.n2))), ["f", "g"])
        self.assertEqual(read(self.dir(self.n2, "f")), "1")
        sh(f"rm -r {second}")
        self.assertEqual(os.listdir(self.room(self.n2, "txn")), [])

    def test_txn_is_seen_as_a_whole(self):
        count, rounds = 5, 20
        for i in range(count):
            write(self.dir(self.n1, f"f{i}"), "0")
        self.cluster.sync_all()
        torn, stop = [], threading.Event()

        def look(node):
            while not stop.is_set():
                # Each file is read after the one before it, so values only rise along the way.
                values = [int(read(self.dir(node, f"f{i}"))) for i in range(count)]
                if values != sorted(values):
                    torn.append(values)
        lookers = [self.later(lambda n=n: look(n)) for n in self.cluster.nodes]
        for i in range(1, rounds + 1):
            staged = self.stage(self.n1, f"t{i}", {f"f{j}": str(i) for j in range(count)})
            os.rename(staged, staged + ".commit")
        stop.set()
        for looker in lookers:
            looker()
        self.assertEqual(torn, [])

    def test_txn_permissions(self):
        os.chmod(self.dir(self.n1), 0o777)
        write(self.dir(self.n1, "mine"), "root's")
        os.chmod(self.dir(self.n1, "mine"), 0o600)
        os.mkdir(self.dir(self.n1, "closed"), 0o755)

        def attempt(files):
            staged = self.stage(self.n1, "t", files)
            try:
                os.rename(staged, staged + ".commit")
            finally:
                sh(f"rm -rf {staged}")
        self.assertEqual(self.become_nobody(lambda: attempt({"mine": "x", "ok": "y"})), errno.EACCES)
        self.assertEqual(self.become_nobody(lambda: attempt({"closed/x": "x", "ok": "y"})), errno.EACCES)
        self.assertFalse(os.path.exists(self.dir(self.n1, "ok")))
        self.assertEqual(read(self.dir(self.n1, "mine")), "root's")
        self.assertEqual(self.become_nobody(lambda: attempt({"ok": "y"})), 0)
        self.assertEqual(os.stat(self.dir(self.n1, "ok")).st_uid, NOBODY)

    def test_txn_mistakes(self):
        os.mkdir(self.dir(self.n1, "d"))
        write(self.dir(self.n1, "f"), "")
        for files, number in (({"d": "file over directory"}, errno.EISDIR),
                              ({"f/x": "directory over file"}, errno.ENOTDIR)):
            staged = self.stage(self.n1, "t", files)
            self.assertErrno(number, os.rename, staged, staged + ".commit")
            sh(f"rm -r {staged}")
        big = {f"f{i}": "x" * 300_000 for i in range(4)}
        staged = self.stage(self.n1, "big", big)
        self.assertErrno(errno.EFBIG, os.rename, staged, staged + ".commit")
        self.assertErrno(errno.EINVAL, os.mkdir, self.room(self.n1, "txn", "x.commit"))
        self.assertErrno(errno.EPERM, os.rename, staged, staged + "2")
        self.assertEqual(sorted(os.listdir(self.dir(self.n1))), ["d", "f"])
        staged = self.stage(self.n1, "empty", {})
        os.rename(staged, staged + ".commit")

    # ---- watches

    def test_watch_all(self):
        os.makedirs(self.dir(self.n1, "a", "b"))
        self.cluster.sync_all()
        fd = self.open(self.room(self.n2, "watch-all"), os.O_RDONLY)
        self.assertRegex(os.read(fd, 100).decode(), "^0x[0-9a-f]+\n$")
        write(self.dir(self.n1, "a", "b", "f"), "x")
        os.rename(self.dir(self.n1, "a", "b", "f"), self.dir(self.n1, "g"))
        read(self.room(self.n1, "next"))  # hidden state is none of its
        os.chmod(self.dir(self.n1, "g"), 0o600)
        os.rmdir(self.dir(self.n1, "a", "b"))
        seen = [os.read(fd, 200).decode().split()[1:] for _ in range(6)]
        self.assertEqual(seen[:2], [["created", "a/b/f"], ["changed", "a/b/f"]])
        self.assertEqual(sorted(seen[2:4]), [["created", "g"], ["deleted", "a/b/f"]])
        self.assertEqual(seen[4:], [["acl", "g"], ["deleted", "a/b"]])

    # ---- loss

    def test_what_is_held_is_lost_in_time(self):
        """A node that is cut off knows before the others give away what it held."""
        node = self.cluster.followers()[0]
        others = [n for n in self.cluster.nodes if n is not node]
        held = [self.open(self.room(node, *name)) for name in
                (("leader",), ("semaphore", "1"), ("barrier", "2"))]
        lock = self.open(self.room(node, "rwlock"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.assertTrue(os.read(held[0], 100))
        for other in others:
            other.signal(signal.SIGSTOP)
        try:
            def is_lost(fd):
                try:
                    os.pread(fd, 1, 0)
                    return False
                except OSError as error:
                    return error.errno == errno.ESTALE
            for fd in [held[0], held[1], lock]:
                wait_for(lambda: is_lost(fd), 30, "the loss")
            poller = select.poll()
            poller.register(held[2], select.POLLIN)
            self.assertTrue(poller.poll(10_000)[0][1] & select.POLLERR)
            self.assertErrno(errno.ESTALE, os.read, held[2], 10)
        finally:
            for other in others:
                other.signal(signal.SIGCONT)
        for n in self.cluster.nodes:
            n.wait_ready(60)
        # What was lost is free once its session is closed: this waits for that.
        self.assertTrue(os.read(self.open(self.room(others[0], "leader")), 100))
        self.close(self.open(self.room(others[0], "semaphore", "1")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
