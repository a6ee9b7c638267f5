"""zabfs, the command-line tool, as scripts and operators use it."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import (  # noqa: E402
    Cluster, ClusterTest, OwnClusterTest, ZABFS, die_with_parent, run, sh, wait_for)


def read(path):
    with open(path) as f:
        return f.read()


class Tool(ClusterTest):
    def setUp(self):
        super().setUp()
        self.scratch = tempfile.mkdtemp(dir=self.cluster.directory)
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def start(self, *command, **options):
        process = subprocess.Popen([ZABFS, *command], preexec_fn=die_with_parent, text=True, **options)
        self.processes.append(process)
        return process

    def out(self, name):
        return os.path.join(self.scratch, name)

    def status(self, node):
        return json.loads(run(ZABFS, "status", "--json", "--mount", node.mount).stdout)

    def test_status_as_json(self):
        state = wait_for(lambda: (s := self.status(self.n1))["present"] == 3 and s, 20, "all three")
        self.assertEqual((state["node"], state["quorum"], state["voters"], state["may_lose"]),
                         (1, True, 3, 1))
        self.assertIn(state["role"], ("leader", "follower"))
        version = run(ZABFS, "--version").stdout.split()[1]
        self.assertEqual(state["version"], version)
        self.assertRegex(state["ensemble"], "^0x[0-9a-f]+$")
        self.assertEqual(self.status(self.n2)["ensemble"], state["ensemble"])
        self.assertGreater(state["disk_size"], state["disk_free"])
        self.assertGreaterEqual(state["sessions"], 3)  # the mounts'
        self.assertEqual(state["notes"], [])
        wait_for(lambda: all(m["version"] == version for m in self.status(self.n1)["members"]), 10,
                 "the versions")
        for member in self.status(self.n1)["members"]:
            self.assertEqual((member["state"], member["disk"], member["votes"],
                              member["unreachable"]), ("up", "ok", True, None), member)
            self.assertLess(member["last_contact_ms"], 60_000)
        members = json.loads(run(ZABFS, "members", "--json", "--mount", self.n1.mount).stdout)
        self.assertEqual([m["id"] for m in members], [1, 2, 3])

    def test_status_as_a_table(self):
        wait_for(lambda: self.status(self.n2)["present"] == 3, 20, "all three")
        result = run(ZABFS, "status", "--mount", self.n2.mount)
        first, quorum, clients, disk, head, *rows = result.stdout.splitlines()
        self.assertRegex(first, f"^{self.n2.mount}: node 2, (leader|follower), zxid 0x[0-9a-f]+; "
                                "ensemble 0x[0-9a-f]+$")
        self.assertRegex(quorum, "^quorum: 3 of 3 voters, may lose 1; leader [123], epoch [0-9]+$")
        self.assertRegex(clients, "^clients: [0-9]+ connections to this node, [0-9]+ sessions")
        self.assertRegex(disk, "^disk ok: [0-9.]+ [MG]iB of [0-9.]+ [MG]iB free on this node$")
        self.assertEqual(head.split(), ["ID", "ROLE", "STATE", "ZXID", "BEHIND", "VERSION", "HEARD",
                                        "ADDRESS"])
        self.assertEqual([row[:6].split() for row in rows], [["1"], ["*", "2"], ["3"]])
        self.assertEqual(sorted(row[7:16].strip() for row in rows), ["follower", "follower", "leader"])
        self.assertEqual({row[17:26].strip() for row in rows}, {"up"})
        self.assertEqual(run(ZABFS, "members", "--mount", self.n2.mount).stdout.splitlines()[0], head)

    def test_colours_are_for_terminals(self):
        def on_terminal(**environment):
            ours, theirs = pty.openpty()
            try:
                process = self.start("status", "--mount", self.n1.mount, stdout=theirs,
                                     env={**os.environ, **environment})
                os.close(theirs)
                text = b""
                while True:
                    try:
                        part = os.read(ours, 4096)
                    except OSError:  # its end is closed
                        break
                    text += part
                self.assertEqual(process.wait(10), 0)
                return text.decode()
            finally:
                os.close(ours)
        self.assertIn("\x1b[1m", on_terminal(NO_COLOR=""))  # the leader
        self.assertNotIn("\x1b", on_terminal(NO_COLOR="1"))
        self.assertNotIn("\x1b", run(ZABFS, "status", "--mount", self.n1.mount).stdout)

    def test_status_again_and_again(self):
        watch = self.start("status", "--mount", self.n1.mount, "--watch", "0.1",
                           stdout=subprocess.PIPE)
        for _ in range(3):
            self.assertIn("node 1", watch.stdout.readline())
            for _ in range(7):
                watch.stdout.readline()
        watch.stdout.close()
        self.assertEqual(watch.wait(10), -signal.SIGPIPE)
        self.start("status", "--mount", self.n1.mount, "--watch")  # a number is not needed

    def test_usage(self):
        for command in ((), ("nosuch",), ("lock",), ("run", self.dir(self.n1), "--", "true")):
            result = run(ZABFS, *command)
            self.assertEqual(result.returncode, 2, command)
        for command in ("lock", "watch", "run", "who", "edit", "tree", "export", "import", "status"):
            self.assertEqual(run(ZABFS, command, "--help").returncode, 0)
        for command, code, said in (
                (("watch", "/nosuch"), 1, "/nosuch: No such file or directory"),
                (("watch", "/tmp"), 1, "/tmp is no directory of a zabfs mount"),
                (("lock", "/tmp", "--", "true"), 1, "/tmp is no directory of a zabfs mount"),
                (("who", "/tmp"), 1, "/tmp is no directory of a zabfs mount"),
                (("edit", "/etc/passwd"), 2, "/etc/passwd is in no zabfs mount")):
            result = run(ZABFS, *command)
            self.assertEqual((result.returncode, result.stderr), (code, f"zabfs: {said}\n"))

    def test_watch_prints(self):
        plain = self.start("watch", self.dir(self.n1), stdout=subprocess.PIPE)
        self.assertRegex(plain.stdout.readline(), "^0x[0-9a-f]+$")
        below = self.start("watch", "--all", "--json", self.dir(self.n1), stdout=subprocess.PIPE)
        self.assertEqual(list(json.loads(below.stdout.readline())), ["zxid"])
        sh(f"cd {self.dir(self.n2)} && mkdir d && touch 'd/a b'")
        self.assertRegex(plain.stdout.readline(), "^0x[0-9a-f]+ created d$")
        seen = [json.loads(below.stdout.readline()) for _ in range(2)]
        self.assertEqual([(s["type"], s["name"]) for s in seen],
                         [("created", "d"), ("created", "d/a b")])

    def test_watch_runs_a_command(self):
        log, state = self.out("log"), self.out("state")
        command = f'echo "$ZABFS_CHANGES" | grep -c . >> {log}'

        def runs():
            return read(log).split() if os.path.exists(log) else []

        def watching():
            watcher = self.start("watch", self.dir(self.n1), "--exec", command, "--state", state)
            wait_for(lambda: "watch " + f"/{self.name}/@/watch" in read(self.n1.path("@", "handles")),
                     10, "the watch")
            return watcher
        watcher = watching()
        time.sleep(0.3)
        self.assertEqual(runs(), [])
        sh(f"cd {self.dir(self.n2)} && echo x > f")
        wait_for(lambda: len(runs()) == 1, 10, "the first run")
        sh(f"cd {self.dir(self.n2)} && for i in $(seq 40); do echo $i > f$i; done")
        wait_for(lambda: sum(map(int, runs())) >= 80, 20, "all changes")
        self.assertLess(len(runs()), 40)  # those that come together are one run
        time.sleep(0.3)
        before = len(runs())
        watcher.send_signal(signal.SIGTERM)
        self.assertEqual(watcher.wait(10), 128 + signal.SIGTERM)
        watcher = watching()
        time.sleep(0.5)
        self.assertEqual(len(runs()), before)  # nothing changed
        watcher.terminate()
        watcher.wait(10)
        sh(f"cd {self.dir(self.n2)} && echo y > f")
        watcher = watching()
        wait_for(lambda: len(runs()) == before + 1, 10, "what changed while nobody watched")

    def watch_on_n3(self):
        """Gives the log of its runs."""
        log = self.out("log")
        self.start("watch", self.dir(self.n3), "--exec", f"echo run >> {log}",
                   stderr=subprocess.DEVNULL)
        self.wait_for_watch_on_n3()
        return log

    def wait_for_watch_on_n3(self):
        wait_for(lambda: f"watch /{self.name}/@/watch" in read(self.n3.path("@", "handles")), 30,
                 "the watch", every=0.0005)

    def restart_n3(self):
        self.n3.kill()
        self.n3.start()
        self.n3.wait_ready()
        self.wait_for_watch_on_n3()

    def make_files(self):
        """So many that a watch takes a while to look at them."""
        sh(f"cd {self.dir(self.n1)} && seq 1500 | xargs touch")
        self.cluster.sync_all()

    def test_watch_outlives_the_daemon(self):
        log = self.watch_on_n3()
        self.restart_n3()
        time.sleep(0.5)
        self.assertFalse(os.path.exists(log))
        sh(f"echo x > {self.dir(self.n1, 'f')}")
        wait_for(lambda: os.path.exists(log), 10, "the run")
        time.sleep(0.5)
        self.assertEqual(read(log), "run\n")

    def test_a_daemon_that_dies_while_a_watch_looks_is_no_change(self):
        self.make_files()
        log = self.watch_on_n3()
        self.restart_n3()
        time.sleep(1)
        self.assertFalse(os.path.exists(log))

    def test_a_change_while_a_watch_looks_again_is_one_run(self):
        self.make_files()
        log = self.watch_on_n3()
        time.sleep(2)
        self.restart_n3()
        sh(f"echo x > {self.dir(self.n1, '999')}")  # at which a watch looks last
        wait_for(lambda: os.path.exists(log), 10, "the run")
        time.sleep(1)
        self.assertEqual(read(log), "run\n")

    def test_watch_ends_with_its_directory(self):
        log = self.out("log")
        watcher = self.start("watch", self.dir(self.n1), "--exec", f"echo run >> {log}")
        wait_for(lambda: f"watch /{self.name}/@/watch" in read(self.n1.path("@", "handles")), 10,
                 "the watch")
        os.rmdir(self.dir(self.n2))
        self.assertEqual(watcher.wait(10), 0)

    def test_a_member_is_there_while_its_command_runs(self):
        members = lambda: sorted(os.listdir(self.dir(self.n2)))  # noqa: E731
        process = self.start("run", "--member", self.dir(self.n1), "--name", "web1", "--data",
                             "10.0.0.1:80", "--", "sh", "-c", "sleep 60 & wait; exit 3")
        wait_for(lambda: members() == ["web1"], 10, "the member")
        wait_for(lambda: read(self.dir(self.n2, "web1")) == "10.0.0.1:80", 10, "its data")
        self.assertNotEqual(os.getxattr(self.dir(self.n2, "web1"), "user.zabfs.ephemeralOwner"), b"0")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 128 + signal.SIGTERM)
        wait_for(lambda: members() == [], 10, "its end")
        process = self.start("run", "--member", self.dir(self.n1), "--", "sh", "-c", "exit 3")
        self.assertEqual(process.wait(10), 3)
        process = self.start("run", "--member", self.dir(self.n1), "--name", "killed", "--", "sleep", "30")
        wait_for(lambda: members() == ["killed"], 10, "the member")
        process.kill()
        wait_for(lambda: members() == [], 10, "its end")

    def test_a_member_that_is_ended_at_once_ends_its_command(self):
        """Also while the command is only being started."""
        for _ in range(20):
            process = self.start("run", "--member", self.dir(self.n1), "--name", "brief", "--", "sleep", "60")
            wait_for(lambda: os.path.exists(self.dir(self.n1, "brief")), 10, "the member", every=0.0005)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 128 + signal.SIGTERM)
            self.assertFalse(os.path.exists(self.dir(self.n1, "brief")))

    def test_a_command_does_not_outlive_its_lock(self):
        pid = self.out("pid")
        process = self.start("lock", self.dir(self.n1), "--", "sh", "-c",
                             f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done")
        wait_for(lambda: os.path.exists(pid) and read(pid).strip(), 10, "the command")
        process.kill()
        wait_for(lambda: not os.path.exists(f"/proc/{read(pid).strip()}"), 10, "its end")

    # ---- zabfs lock

    def hold(self, *command, node=None, **options):
        """Starts `zabfs lock` and waits until its command runs: what that printed first."""
        process = self.start("lock", self.dir(node or self.n1), "--", *command,
                             stdout=subprocess.PIPE, **options)
        return process, process.stdout.readline().strip()

    def is_free(self, node=None):
        return run(ZABFS, "lock", "--timeout", "0", self.dir(node or self.n2), "--",
                   "true").returncode == 0

    def is_alive(self, pid):
        try:
            return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def test_a_lock_is_not_free_while_anything_of_its_command_runs(self):
        """zabfs is killed, and with it all below it, also what left its group and session."""
        script = "setsid sleep 61 & echo $! $(sleep 62 >/dev/null 2>&1 & echo $!); sleep 63; true"
        process, pids = self.hold("sh", "-c", script)
        pids = pids.split()
        self.assertTrue(all(map(self.is_alive, pids)))
        process.kill()
        wait_for(self.is_free, 20, "the lock", every=0)
        self.assertFalse(any(map(self.is_alive, pids)))

    def test_a_lock_is_kept_by_what_a_command_leaves_running(self):
        script = "sleep 60 >/dev/null 2>&1 & echo $!; exit 3"
        process, pid = self.hold("sh", "-c", script)
        self.assertEqual(process.wait(10), 3)
        self.assertEqual(process.stdout.read(), "")  # nobody else has it open
        time.sleep(0.5)
        self.assertTrue(self.is_alive(pid))
        self.assertFalse(self.is_free())
        os.kill(int(pid), signal.SIGTERM)
        wait_for(self.is_free, 10, "the lock")

    def test_a_lock_is_free_when_zabfs_has_ended(self):
        for _ in range(10):
            self.assertEqual(run(ZABFS, "lock", "--timeout", "0", self.dir(self.n1), "--", "true").returncode, 0)

    def test_a_lock_that_is_lost_ends_all_below_it(self):
        script = "setsid sh -c 'trap \"\" TERM; sleep 60; sleep 61' & echo $!; sleep 62; true"
        process, pid = self.hold("sh", "-c", script, stderr=subprocess.PIPE)
        (contender,) = self.cluster.children_on_the_wire(f"/{self.name}")
        from kazoo.client import KazooClient
        client = KazooClient(self.cluster.connect_string([self.n2]))
        client.start()
        self.addCleanup(client.stop)
        sh(f"chmod o+rwx {self.dir(self.n2)}")
        client.delete(f"/{self.name}/{contender}")
        self.assertEqual(process.wait(10), 125)
        self.assertIn("was lost; the command was ended", process.stderr.read())
        process.stderr.close()
        self.assertFalse(self.is_alive(pid))

    def test_the_keeper_of_a_lock_is_killed(self):
        process, pid = self.hold("sh", "-c", "setsid sleep 61 & echo $!; sleep 62; true")
        keeper = sh(f"pgrep -P {process.pid}").strip()
        os.kill(int(keeper), signal.SIGKILL)
        self.assertEqual(process.wait(10), 128 + signal.SIGKILL)
        self.assertFalse(self.is_alive(pid))
        wait_for(self.is_free, 10, "the lock")

    def test_who_does_not_get_a_lock_is_told_who_has_it(self):
        process, _ = self.hold("sh", "-c", "echo; exec sleep 60")
        for arguments, code in ((("-n",), 75), (("--timeout", "0"), 75), (("--timeout", "0.3"), 75),
                                (("-n", "-E", "9"), 9)):
            result = run(ZABFS, "lock", *arguments, self.dir(self.n2), "--", "false")
            self.assertEqual(result.returncode, code)
            self.assertEqual(result.stderr, f"zabfs: {self.dir(self.n2)}/@/lock is held by process "
                                            f"{process.pid} (zabfs) of node 1\n")
        self.assertIn("75", run(ZABFS, "lock", "--help").stdout)

    def test_a_command_is_told_the_token(self):
        _, token = self.hold("sh", "-c", "echo $ZABFS_TOKEN; exec sleep 60")
        self.assertRegex(token, "^0x[0-9a-f]+$")
        self.assertEqual(read(self.dir(self.n1, "@", "lock")).splitlines()[1], "token " + token)
        self.n2.barrier()
        self.assertEqual(read(self.dir(self.n2, "@", "lock")).splitlines()[1], "token " + token)

    def test_who(self):
        sub = self.dir(self.n1, "sub")
        sh(f"mkdir {sub} && touch '{sub}/a file' {sub}/b")
        self.cluster.sync_all()
        process, token = self.hold("sh", "-c", "echo $ZABFS_TOKEN; exec sleep 60")
        holder = self.start("run", "--member", self.dir(self.n1), "--name", "no-holder", "--", "flock",
                            self.dir(self.n3, "sub", "a file"), "sleep", "60")
        here = self.dir(self.n2)
        rows = lambda *path: json.loads(run(ZABFS, "who", "--json", *path).stdout)  # noqa: E731
        wait_for(lambda: len(rows(here)) == 2, 10, "both")
        lock, flock = rows(here)
        self.assertEqual((lock["kind"], lock["state"], lock["node"], lock["pid"], lock["program"], lock["token"],
                          lock["path"]), ("lock", "held", "1", str(process.pid), "zabfs", token, here + "/@/lock"))
        self.assertEqual((flock["kind"], flock["node"], flock["program"], flock["path"]),
                         ("flock", "3", "flock", here + "/sub/a file"))
        self.assertEqual(rows(here + "/sub/a file"), [flock])
        self.assertEqual(rows(here + "/sub/b"), [])
        self.assertEqual(json.loads(run(ZABFS, "who", "--json", "a file", cwd=here + "/sub").stdout)[0]["path"],
                         "./a file")
        lines = run(ZABFS, "who", here).stdout.splitlines()
        self.assertEqual([line.split(None, 7)[7] for line in lines], [lock["path"], flock["path"]])
        self.assertEqual(run(ZABFS, "who", here + "/none").returncode, 1)
        holder.terminate()
        holder.wait(10)

    # ---- signals

    def test_signals_go_on_to_the_command(self):
        script = ("import signal, sys\n"
                  "signals = signal.valid_signals() - {signal.SIGCHLD}\n"
                  "signal.pthread_sigmask(signal.SIG_BLOCK, signals)\n"
                  "print(flush=True)\n"
                  "print(signal.sigwait(signals), flush=True)\n"
                  "sys.exit(7)")
        ending = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1,
                  signal.SIGUSR2, signal.SIGVTALRM, signal.SIGPROF, signal.SIGRTMIN + 3, signal.SIGRTMAX]
        for how in (("lock", self.dir(self.n1), "--"),
                    ("run", "--member", self.dir(self.n1), "--name", "web1", "--")):
            for number in ending:
                process = self.start(*how, sys.executable, "-c", script, stdout=subprocess.PIPE)
                process.stdout.readline()
                process.send_signal(number)
                self.assertEqual(process.stdout.readline().strip(), str(int(number)), how)
                self.assertEqual(process.wait(10), 7)

    def test_the_signal_that_ends_a_command_is_in_the_exit_code(self):
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process, _ = self.hold("sh", "-c", "echo; exec sleep 60")
            process.send_signal(number)
            self.assertEqual(process.wait(10), 128 + number)

    def ignored_of(self, pid):
        field = re.search(r"^SigIgn:\s*(\w+)$", read(f"/proc/{pid}/status"), re.M)[1]
        return {number for number in range(1, 65) if int(field, 16) >> number - 1 & 1}

    def test_what_is_ignored_stays_so(self):
        ignored = {signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM}

        def ignore():
            die_with_parent()
            for number in ignored | {signal.SIGCHLD}:  # of this one shells take care themselves
                signal.signal(number, signal.SIG_IGN)

        def start(*command):
            process = subprocess.Popen([ZABFS, *command], preexec_fn=ignore, text=True, stdout=subprocess.PIPE,
                                       restore_signals=False)
            self.processes.append(process)
            return process
        show = ("sh", "-c", "echo $$; exec sleep 60")
        for how in (("lock", "--timeout", "5", self.dir(self.n1), "--", *show),
                    ("run", "--member", self.dir(self.n1), "--name", "web1", "--", *show),
                    ("watch", self.dir(self.n1), "--exec", "echo $$; exec sleep 60")):
            process = start(*how)
            if how[0] == "watch":
                self.have_watch_run_its_command()
            pid = process.stdout.readline().strip()
            self.assertLessEqual(ignored, self.ignored_of(pid), how)
            for number in ignored:
                process.send_signal(number)
            time.sleep(0.3)
            self.assertIsNone(process.poll(), how)
            self.assertTrue(self.is_alive(pid), how)
            process.terminate()  # a watcher, too, while its command runs
            self.assertEqual(process.wait(10), 128 + signal.SIGTERM, how)
            self.assertFalse(self.is_alive(pid), how)

    def have_watch_run_its_command(self):
        wait_for(lambda: f"watch /{self.name}/@/watch" in read(self.n1.path("@", "handles")), 10,
                 "the watch")
        time.sleep(0.3)
        sh(f"touch {self.dir(self.n1, 'f')}")

    def test_what_is_killed_ends_its_command(self):
        """A member's and a watcher's, with all that it started."""
        script = "sleep 61 & echo $!; sleep 62; true"
        for how in (("run", "--member", self.dir(self.n1), "--name", "web1", "--", "sh", "-c", script),
                    ("watch", self.dir(self.n1), "--exec", script)):
            process = self.start(*how, stdout=subprocess.PIPE)
            if how[0] == "watch":
                self.have_watch_run_its_command()
            pid = process.stdout.readline().strip()
            process.kill()
            wait_for(lambda: not self.is_alive(pid), 10, "its end")

    # ---- terminals

    def in_terminal(self, command):
        """An interactive shell in a terminal of its own, with that command typed in."""
        pid, terminal = pty.fork()
        if pid == 0:
            die_with_parent()
            os.environ.update(PS1="READY> ", ENV="", HISTFILE="")
            os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "-i"])
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        seen = [""]

        def expect(text, seconds=15):
            def found():
                while text not in seen[0]:
                    if not select.select([terminal], [], [], 0)[0]:
                        return False
                    seen[0] += os.read(terminal, 4096).decode(errors="replace")
                seen[0] = seen[0].partition(text)[2]
                return True
            try:
                wait_for(found, seconds, repr(text))
            except AssertionError as error:
                raise AssertionError(f"{error}; what there is: {seen[0]!r}")

        def say(text):
            os.write(terminal, text.encode())
        expect("READY> ")
        say(command + "\n")
        return say, expect

    def lock_command(self, script):
        return f"{ZABFS} lock {self.dir(self.n1)} -- sh -c '{script}'"

    def test_ctrl_c(self):
        say, expect = self.in_terminal(self.lock_command("echo on; sleep 60; echo no") + "; echo code=$?")
        expect("on\r\n")
        say("\x03")
        expect("READY> ")
        say("echo $((40 + 2))\n")
        expect("42\r\n")
        wait_for(self.is_free, 10, "the lock")

    def test_ctrl_c_ends_a_script_that_takes_a_lock(self):
        script = self.out("script")
        with open(script, "w") as f:
            f.write(self.lock_command("echo on; exec sleep 60") + "\necho went on\n")
        say, expect = self.in_terminal(f"bash {script}; echo code=$?")
        expect("on\r\n")
        say("\x03")
        with self.assertRaises(AssertionError):
            expect("went on", seconds=1)
        wait_for(self.is_free, 10, "the lock")

    def test_ctrl_z(self):
        say, expect = self.in_terminal(self.lock_command("echo on; read word; echo got $word"))
        expect("on\r\n")
        say("\x1a")
        expect("Stopped")
        expect("READY> ")
        self.assertFalse(self.is_free())
        say("fg\n")
        expect("sh -c")
        say("hello\n")
        expect("got hello\r\n")
        expect("READY> ")

    def test_a_pager_behind_a_lock_has_the_terminal(self):
        pager = "sh -c \"cat; read word < /dev/tty; echo paged \$word\""
        say, expect = self.in_terminal(self.lock_command("echo on; sleep 1; echo off") + f" | {pager}")
        expect("off\r\n")
        say("next\n")
        expect("paged next\r\n")

    def test_in_the_background_it_leaves_the_terminal_alone(self):
        say, expect = self.in_terminal(self.lock_command("echo on; sleep 60") + " &")
        expect("on\r\n")
        say("echo $((40 + 2))\n")
        expect("42\r\n")
        say("kill %1; wait\n")
        expect("READY> ")
        wait_for(self.is_free, 10, "the lock")

    # ----

    def test_a_member_is_there_while_its_check_passes(self):
        members = lambda: os.listdir(self.dir(self.n2))  # noqa: E731
        healthy = self.out("healthy")
        self.start("run", "--member", self.dir(self.n1), "--name", "web1", "--check",
                   f"test -f {healthy}", "--every", "0.2", "--", "sleep", "60",
                   stderr=subprocess.DEVNULL)
        time.sleep(0.6)
        self.assertEqual(members(), [])
        for _ in range(2):
            open(healthy, "w").close()
            wait_for(lambda: members() == ["web1"], 10, "the member")
            os.unlink(healthy)
            wait_for(lambda: members() == [], 10, "its end")

    def test_a_member_registers_again_when_its_node_comes_back(self):
        self.start("run", "--member", self.dir(self.n3), "--name", "web1", "--", "sleep", "60",
                   stderr=subprocess.DEVNULL)
        wait_for(lambda: os.listdir(self.dir(self.n1)) == ["web1"], 10, "the member")
        self.n3.terminate()
        wait_for(lambda: os.listdir(self.dir(self.n1)) == [], 10, "its end")
        self.n3.start()
        self.n3.wait_ready()
        wait_for(lambda: os.listdir(self.dir(self.n1)) == ["web1"], 20, "the member again")

    def edit(self, script):
        editor = self.out("editor")
        with open(editor, "w") as f:
            f.write("#!/bin/sh\n" + script)
        os.chmod(editor, 0o755)
        return run(ZABFS, "edit", self.dir(self.n1, "f"), env={**os.environ, "EDITOR": editor,
                                                               "VISUAL": ""})

    def test_edit(self):
        sh(f"echo one > {self.dir(self.n1, 'f')}")
        result = self.edit('sed -i s/one/two/ "$1"')
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(read(self.dir(self.n1, "f")), "two\n")
        version = os.getxattr(self.dir(self.n1, "f"), "user.zabfs.version")
        self.assertEqual(self.edit("true").stderr, "zabfs: nothing is changed\n")
        self.assertEqual(self.edit('echo x > "$1"; exit 1').returncode, 1)
        self.assertEqual(os.getxattr(self.dir(self.n1, "f"), "user.zabfs.version"), version)

    def test_edit_shows_what_somebody_else_did(self):
        sh(f"echo one > {self.dir(self.n1, 'f')}")
        result = self.edit(f'echo mine > "$1"; echo theirs > {self.dir(self.n2, "f")}; '
                           f'sync {self.dir(self.n1)}')
        self.assertEqual(result.returncode, 1)
        self.assertIn("-theirs\n+mine\n", result.stdout)
        self.assertEqual(read(self.dir(self.n1, "f")), "theirs\n")
        copy = result.stderr.split("your version is in ")[1].strip()
        self.assertEqual(read(copy), "mine\n")
        sh(f"rm -r {os.path.dirname(copy)}")

    def make_tree(self):
        sh(f"cd {self.dir(self.n1)} && mkdir -p a/b empty && echo 1 > a/f && echo 2 > a/b/g && "
           f"ln -s a/f link && echo data > a/@/data && chmod 640 a/f && chown 1000:1000 a/b && "
           f"touch -d '2001-02-03 04:05:06.789' a/f a/b")

    def test_tree(self):
        self.make_tree()
        text = run(ZABFS, "tree", self.dir(self.n1)).stdout.splitlines()[1:]
        self.assertEqual(text, ["├── a/", "│   ├── b/", "│   │   └── g  2 bytes, version 1",
                                "│   └── f  2 bytes, version 1", "├── empty/", "└── link -> a/f"])
        tree = json.loads(run(ZABFS, "tree", "--json", self.dir(self.n1)).stdout)
        a = tree["children"][0]
        self.assertEqual((a["name"], a["kind"], a["children"][1]["mode"]), ("a", "directory", "0640"))
        self.assertEqual(len(run(ZABFS, "tree", "--depth", "1", self.dir(self.n1)).stdout.splitlines()), 4)

    LISTING = "find . -printf '%P %y %m %U %G %T@ %l\\n' | sort; cat a/f a/b/g"

    EXPORTED = (r"exported \d+ entries, \d+ bytes, as of zxid 0x[0-9a-f]+"
                r"(; last change [-0-9]+T[0-9:]+Z)?\n$")

    def exported(self, target, node=None):
        result = run(ZABFS, "export", self.dir(node or self.n2), self.out(target))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, self.EXPORTED)

    def imported(self, source, directory, *options):
        """What the command says that it did: new, changed, the same."""
        result = run(ZABFS, "import", *options, source, directory)
        self.assertEqual(result.returncode, 0, result.stderr)
        said = re.search(r"(\d+) new, (\d+) changed, (\d+) the same already", result.stderr)
        return tuple(int(n) for n in said.groups())

    def test_export_and_import(self):
        self.make_tree()
        self.cluster.sync_all()
        for target in ("copy", "copy.tar", "copy.tar.gz", "copy.tgz", "copy.tar.xz", "copy.tar.zst"):
            self.exported(target)
            back = self.n1.path(f"{self.name}-{target}")
            os.mkdir(back)
            new, changed, same = self.imported(self.out(target), back)
            self.assertGreaterEqual(new, 6)
            self.assertEqual(sh(f"cd {back} && {self.LISTING}").split("\n", 1)[1],
                             sh(f"cd {self.dir(self.n1)} && {self.LISTING}").split("\n", 1)[1])
            self.assertEqual(read(os.path.join(back, "a/@/data")), "data\n")
            # Once more, there is nothing to do.
            self.assertEqual(self.imported(self.out(target), back)[:2], (0, 0))
        for target in ("copy", "copy.tar"):  # what is there stays
            before = os.stat(self.out(target)).st_mtime_ns
            self.assertEqual(run(ZABFS, "export", self.dir(self.n2), self.out(target)).returncode, 1)
            self.assertEqual(os.stat(self.out(target)).st_mtime_ns, before)
        self.assertEqual(run(ZABFS, "import", self.out("copy"), self.scratch).returncode, 2)
        self.assertEqual(os.stat(self.out("copy.tar")).st_mode & 0o7777, 0o600)

    def test_a_tar_through_a_pipe(self):
        self.make_tree()
        self.cluster.sync_all()
        back = self.n1.path(f"{self.name}-back")
        os.mkdir(back)
        sh(f"{ZABFS} export {self.dir(self.n2)} - | gzip | {ZABFS} import - {back}")
        self.assertEqual(sh(f"cd {back} && {self.LISTING}").split("\n", 1)[1],
                         sh(f"cd {self.dir(self.n1)} && {self.LISTING}").split("\n", 1)[1])
        # Any tar knows it, and what any tar made can be imported.
        sh(f"mkdir {self.out('x')} && {ZABFS} export {self.dir(self.n2)} - | tar -xpf - -C {self.out('x')}")
        self.assertEqual(sh(f"cd {self.out('x')} && rm -r a/@ && touch -d '2001-02-03 04:05:06.789' a && {self.LISTING}")
                         .split("\n", 1)[1],
                         sh(f"cd {self.dir(self.n1)} && touch -d '2001-02-03 04:05:06.789' a && {self.LISTING}")
                         .split("\n", 1)[1])
        for option in ("--format=gnu", "--format=ustar", "--format=posix"):
            sh(f"tar {option} -C {self.out('x')} -cf {self.out('y.tar')} a link")
            new = self.n1.path(f"{self.name}{option}")
            os.mkdir(new)
            self.imported(self.out("y.tar"), new)
            self.assertEqual(sh(f"cd {new} && cat a/f a/b/g && readlink link"), "1\n2\na/f\n")

    def acl_of(self, directory):
        """Without the posix entry, which has the time that was set, too."""
        lines = read(os.path.join(directory, "@", "acl")).splitlines()
        self.assertGreater(len(lines), 2)
        return sorted(line for line in lines if "zabfs-posix" not in line)

    def test_acls_and_names_come_back(self):
        here = self.dir(self.n1)
        sh(f"cd {here} && mkdir 'a b' && echo 1 > 'a b/é $x' && mkdir empty && mkfifo pipe")
        with open(os.path.join(here, "a b", "@", "acl"), "a") as f:
            f.write("digest:app:c2VjcmV0:rw\nip:10.0.0.0/8:r\n")
        self.cluster.sync_all()
        for target in ("t.tar", "t"):
            self.exported(target)
            back = self.n1.path(f"{self.name}-{target}")
            os.mkdir(back)
            self.imported(self.out(target), back)
            self.assertEqual(self.acl_of(os.path.join(back, "a b")), self.acl_of(os.path.join(here, "a b")))
            self.assertEqual(sh(f"cd {back} && find . -printf '%P %y %m\n' | sort"),
                             sh(f"cd {here} && find . -printf '%P %y %m\n' | sort"))

    def test_an_import_goes_on_where_one_ended(self):
        source = self.out("source")
        sh(f"mkdir -p {source}/d && cd {source}/d && for i in $(seq 300); do echo $i > f$i; done && chmod 555 .")
        here = self.dir(self.n1)
        sh(f"mkdir {here}/d && cp -p {source}/d/f1 {source}/d/f2 {here}/d/ && echo other > {here}/d/f3")
        self.assertEqual(self.imported(source, here), (297, 2, 3))  # d and f3 have changed
        self.assertEqual(self.imported(source, here), (0, 0, 302))
        self.assertEqual(sh(f"diff -r {source} {here}"), "")
        self.assertEqual(os.stat(os.path.join(here, "d")).st_mode & 0o777, 0o555)

    def test_an_import_can_remove_what_is_not_in_its_source(self):
        source, here = self.out("source"), self.dir(self.n1)
        sh(f"mkdir -p {source}/d && echo 1 > {source}/d/f && echo 2 > {source}/g")
        sh(f"mkdir -p {here}/d/old {here}/x && echo 1 > {here}/d/old/f && echo 3 > {here}/g && cat {here}/x/@/next")
        with open(os.path.join(here, "@", "ephemeral", "alive"), "w"):
            before = sh(f"find {here} | sort")
            result = run(ZABFS, "import", "--delete", "--dry-run", source, here)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(sorted(result.stdout.splitlines()), ["+ d/f", "- d/old", "- x", "~ g"])
            self.assertEqual(sh(f"find {here} | sort"), before)
            self.assertEqual(read(os.path.join(here, "g")), "3\n")
            self.imported(source, here, "--delete")
            self.assertEqual(sh(f"diff -r {source} {here} || true"), f"Only in {here}: alive\n")
            result = run(ZABFS, "import", "--delete", "--dry-run", source, here)
            self.assertEqual(result.stdout, "")

    def as_user(self, *command):
        return run("setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", ZABFS, *command)

    def test_a_user_copies_what_he_may(self):
        here = self.dir(self.n1)
        sh(f"cd {here} && echo 1 > open && echo 2 > secret && chmod 600 secret && mkdir -m 700 closed && "
           f"mkdir -m 777 into && chmod 755 .")
        target = self.out("mine")
        os.mkdir(target)
        os.chown(target, 1001, 1001)
        os.chmod(self.scratch, 0o755)
        os.chmod(self.cluster.directory, 0o755)
        result = self.as_user("export", here, os.path.join(target, "t.tar"))
        self.assertEqual(result.returncode, 1)
        for name in ("secret", "closed"):
            self.assertIn(f"{here}/{name}: you may not read it", result.stderr)
        names = sh(f"tar -tf {target}/t.tar").split()
        self.assertIn("./open", names)
        self.assertNotIn("./secret", names)
        # Root's tar, imported by a user: the files are the user's, and without setuid.
        sh(f"cd {here} && cp /bin/true suid && chmod 6755 suid")
        self.cluster.sync_all()
        self.exported("all.tar", self.n1)
        os.chmod(self.out("all.tar"), 0o644)
        result = self.as_user("import", self.out("all.tar"), os.path.join(here, "into"))
        self.assertEqual(result.returncode, 0, result.stderr)
        st = os.stat(os.path.join(here, "into", "suid"))
        self.assertEqual((st.st_uid, st.st_gid, st.st_mode & 0o7777), (1001, 1001, 0o755))
        result = self.as_user("import", self.out("all.tar"), here)  # not writable
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Permission denied", result.stderr)
        sh(f"cd {here} && mkdir -m 755 into/theirs && chown 0 into/theirs")
        sh(f"mkdir -p {self.out('s')}/theirs && echo x > {self.out('s')}/theirs/f && chmod -R a+rX {self.out('s')}")
        result = self.as_user("import", self.out("s"), os.path.join(here, "into"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("theirs/f: Permission denied", result.stderr)

    def test_hostile_tars(self):
        here = self.dir(self.n1)
        import io
        import tarfile

        def made(name, *entries):
            with tarfile.open(self.out(name), "w") as tar:
                for info, data in entries:
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
            return self.out(name)

        def entry(name, kind=tarfile.REGTYPE, link=""):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            return info
        for name, info in (("up", entry("../evil")), ("absolute", entry("/etc/evil")),
                           ("room", entry("evil/@/lock")), ("hard", entry("evil", tarfile.LNKTYPE, "x")),
                           ("device", entry("evil", tarfile.CHRTYPE)), ("newline", entry("evil\nx")),
                           ("long", entry("evil" * 64))):
            result = run(ZABFS, "import", made(name + ".tar", (info, b"")), here)
            self.assertEqual(result.returncode, 1, name)
            self.assertIn("evil", result.stderr)
        # A symlink, and then something through it.
        tar = made("through.tar", (entry("link", tarfile.SYMTYPE, "/tmp"), b""), (entry("link/evil"), b"x"))
        self.assertEqual(run(ZABFS, "import", tar, here).returncode, 1)
        self.assertFalse(os.path.exists("/tmp/evil"))
        self.assertEqual(os.listdir(here), ["link"])  # what was committed stays
        os.unlink(os.path.join(here, "link"))
        # What was cut off, and what is no tar.
        with open(made("whole.tar", (entry("f"), b"x" * 5_000)), "rb") as f:
            whole = f.read()
        for size in (0, 300, 512, 3_000, 512 * 11):
            with open(self.out("part.tar"), "wb") as f:
                f.write(whole[:size])
            self.assertEqual(run(ZABFS, "import", self.out("part.tar"), here).returncode, 1, size)
        self.assertEqual(os.listdir(here), [])

    def test_an_export_can_be_a_file_of_a_mount(self):
        """Where a file needs a name from the start, and has no second one."""
        sh(f"mkdir {self.dir(self.n1)}/from && echo 1 > {self.dir(self.n1)}/from/f")
        tar = self.dir(self.n1, "t.tar")
        result = run(ZABFS, "export", self.dir(self.n1, "from"), tar)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("./f", sh(f"tar -tf {tar}"))
        self.assertEqual(sorted(os.listdir(self.dir(self.n1))), ["from", "t.tar"])
        self.assertEqual(run(ZABFS, "export", self.dir(self.n1, "from"), tar).returncode, 1)

    def test_a_signal_ends_an_import(self):
        source, here = self.out("source"), self.dir(self.n1)
        sh(f"mkdir {source} && cd {source} && seq 3000 | split -l 1 -a 4")
        os.mkfifo(self.out("pipe"))
        importing = self.start("import", self.out("pipe"), here, stderr=subprocess.PIPE)
        with open(self.out("pipe"), "wb") as pipe:
            tar = subprocess.run(["tar", "-C", source, "-cf", "-", "."], capture_output=True, check=True).stdout
            pipe.write(tar[:len(tar) // 2])
            pipe.flush()
            time.sleep(0.5)
            importing.send_signal(signal.SIGTERM)
            _, said = importing.communicate(timeout=20)
        self.assertEqual(importing.returncode, -signal.SIGTERM)
        self.assertIn("interrupted: what was committed stays", said)
        self.assertEqual(sum(self.imported(source, here)), 3001)
        self.assertEqual(sh(f"diff -r {source} {here}"), "")

    def test_an_export_is_the_tree_at_one_zxid(self):
        count = 30
        sh(f"cd {self.dir(self.n1)} && for i in $(seq -w {count}); do echo 0 > f$i; done")
        stop = threading.Event()

        def change():
            n = 0
            while not stop.is_set():
                n += 1
                for i in range(1, count + 1):  # in order, so that values never rise along the names
                    with open(self.dir(self.n1, f"f{i:02}"), "w") as f:
                        f.write(str(n))
                time.sleep(0.1)
        changer = threading.Thread(target=change)
        changer.start()
        try:
            for i in range(5):
                result = run(ZABFS, "export", self.dir(self.n2), self.out(f"e{i}"))
                self.assertEqual(result.returncode, 0, result.stderr)
                values = [int(read(self.out(f"e{i}/f{j:02}"))) for j in range(1, count + 1)]
                self.assertEqual(values, sorted(values, reverse=True))
                self.assertLessEqual(values[0] - values[-1], 1)
        finally:
            stop.set()
            changer.join()

    def test_an_import_makes_many_files_in_one_commit(self):
        source = self.out("source")
        sh(f"mkdir -p {source}/d && cd {source} && for i in $(seq 50); do echo $i > f$i; echo $i > d/$i; done")
        self.imported(source, self.dir(self.n1))
        zxids = {os.getxattr(self.dir(self.n1, directory, n), "user.zabfs.czxid")
                 for directory in ("", "d") for n in os.listdir(self.dir(self.n1, directory))}
        self.assertEqual(len(zxids), 1)
        # More than a commit takes, and files that are larger than one.
        sh(f"cd {source} && head -c 700000 /dev/urandom > big1; head -c 950000 /dev/urandom > big2; "
           f"head -c 1032191 /dev/urandom > largest; mkdir many; cd many; seq 5000 | split -l 1 -a 4")
        self.imported(source, self.dir(self.n1))
        self.assertEqual(sh(f"diff -r {source} {self.dir(self.n1)}"), "")
        sh(f"head -c 1032192 /dev/zero > {source}/too-large")
        result = run(ZABFS, "import", source, self.dir(self.n1))
        self.assertEqual(result.returncode, 1)
        self.assertIn("/too-large: ", result.stderr)

    def test_imports_beside_other_writers(self):
        source, here = self.out("source"), self.dir(self.n1)
        sh(f"mkdir {source} && cd {source} && seq 4000 | split -l 1 -a 4")
        there = self.dir(self.n2)
        self.cluster.sync_all()
        stop = threading.Event()

        def write():  # the same names, while they are imported
            names = sorted(os.listdir(source))
            while not stop.is_set():
                for name in names[::37]:
                    with open(os.path.join(there, name), "w") as f:
                        f.write("theirs\n")
                    if stop.is_set():
                        break
        writer = threading.Thread(target=write)
        writer.start()
        try:
            time.sleep(0.1)
            self.imported(source, here)
        finally:
            stop.set()
            writer.join()
        self.cluster.sync_all()
        self.assertEqual(len(os.listdir(here)), 4000)
        self.imported(source, here)
        self.assertEqual(sh(f"diff -r {source} {here}"), "")

    def host(self):
        """A directory of root's, and a function that checks that nobody changed it."""
        host = self.out("host")
        os.mkdir(host, 0o700)
        with open(os.path.join(host, "secret"), "w") as f:
            f.write("root's own")
        self.cluster.sync_all()

        def look():
            with open(os.path.join(host, "secret")) as f:
                return sorted(os.listdir(host)), os.stat(host).st_mode, f.read()
        before = look()
        return host, lambda: self.assertEqual(look(), before)

    def test_an_export_follows_no_symlink_that_became_a_directory(self):
        host, is_untouched = self.host()
        here = self.dir(self.n2)
        sh(f"cd {here} && ln -s {host} a && mkdir z && cd z && seq 20000 | split -l 1 -a 4")
        export = self.start("export", here, self.out("copy"), stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.islink(self.out("copy/a")), 20, "the symlink's copy", every=0.0002)
        export.send_signal(signal.SIGSTOP)
        self.assertNotEqual(len(os.listdir(self.out("copy/z")) if os.path.exists(self.out("copy/z")) else []),
                            20000)
        sh(f"cd {here} && rm a && mkdir -m 777 a && echo evil > a/made && echo evil > a/secret && rm -r z")
        # Another one in the place of what was made.
        os.unlink(self.out("copy/a"))
        os.symlink(host, self.out("copy/z2"))
        self.cluster.sync_all()
        export.send_signal(signal.SIGCONT)
        self.assertEqual(export.wait(60), 0)
        is_untouched()
        self.assertEqual(len(os.listdir(self.out("copy/z"))), 20000)  # as it was when it began

    def test_an_export_lets_nobody_into_what_it_is_filling(self):
        here = self.dir(self.n2)
        sh(f"cd {here} && mkdir -m 777 a && chown 1001 a")
        source = self.out("source")
        sh(f"mkdir {source} && cd {source} && seq 20000 | split -l 1 -a 4")
        self.imported(source, os.path.join(here, "a"))
        export = self.start("export", here, self.out("copy"), stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(self.out("copy/a/xaaaa")), 20, "the first copy", every=0.0002)
        export.send_signal(signal.SIGSTOP)
        filling = os.stat(self.out("copy/a"))
        self.assertLess(len(os.listdir(self.out("copy/a"))), 20000)
        export.send_signal(signal.SIGCONT)
        self.assertEqual(export.wait(60), 0)
        self.assertEqual((filling.st_uid, filling.st_mode & 0o777), (os.getuid(), 0o700))
        done = os.stat(self.out("copy/a"))
        self.assertEqual((done.st_uid, done.st_mode & 0o777), (1001, 0o777))

    def test_an_import_follows_no_symlink(self):
        host, is_untouched = self.host()
        source = self.out("source")
        sh(f"mkdir -m 777 -p {source}/d && head -c 950000 /dev/zero > {source}/d/made")
        os.symlink(host, self.dir(self.n1, "d"))
        self.assertEqual(run(ZABFS, "import", source, self.dir(self.n1)).returncode, 1)
        is_untouched()
        os.unlink(self.dir(self.n1, "d"))
        # What a directory's znode holds, as an archive of somebody else's may have it.
        sh(f"mkdir {source}/d/@ && ln -s {host}/secret {source}/d/@/data")
        self.assertEqual(run(ZABFS, "import", source, self.dir(self.n1)).returncode, 1)
        self.assertEqual(os.listdir(self.dir(self.n1)), [])

    def test_a_watch_writes_its_state_to_a_file_of_its_own(self):
        host, is_untouched = self.host()
        state = self.out("state")
        os.symlink(f"{host}/secret", state + ".new")
        self.start("watch", self.dir(self.n1), "--exec", "true", "--state", state)
        wait_for(lambda: os.path.exists(state), 20, "the state")
        is_untouched()
        self.assertFalse(os.path.islink(state))


class WithoutAQuorum(OwnClusterTest):
    """What reads a mount works on what this node knows, and waits for no commit. That would take
    longer here than a command may."""

    def setUp(self):
        self.cluster = Cluster(2, extra="zabfs.commitTimeout=600000\n")
        self.cluster.start()
        self.node, self.other = self.cluster.nodes
        os.mkdir(self.node.path("d"))
        for text in ("one", "two"):
            sh(f"echo {text} > {self.node.path('d', 'f')}")
        self.cluster.sync_all()

    def check(self):
        directory, tar = self.node.path("d"), os.path.join(self.cluster.directory, "t.tar")
        result = run(ZABFS, "export", directory, tar, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{directory}: this node has no quorum with it; what was committed last may not "
                      "be in the export\n", result.stderr)
        self.assertRegex(result.stderr, r"as of zxid 0x[0-9a-f]+; last change [-0-9]+T[0-9:]+Z\n$")
        self.assertEqual(sh(f"tar -xOf {tar} ./f"), "two\n")
        for command in ("log", "blame", "who"):
            result = run(ZABFS, command, os.path.join(directory, "f"), timeout=60)
            self.assertEqual(result.returncode, 0, (command, result.stderr))

    def test_the_node_knows_it(self):
        self.other.kill()
        wait_for(lambda: self.node.cluster_state()["quorum"] == "no", 30, "the loss")
        self.check()

    def test_the_node_is_about_to_learn_it(self):
        """The pipe's reader is kept waiting neither."""
        self.other.signal(signal.SIGSTOP)
        self.assertEqual(self.node.cluster_state()["quorum"], "yes")
        listed = sh(f"{ZABFS} export {self.node.path('d')} - | tar -t", timeout=60)
        self.assertIn("./f", listed)
        self.check()


if __name__ == "__main__":
    unittest.main(verbosity=2)
