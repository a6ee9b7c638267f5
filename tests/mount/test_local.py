"""What ordinary programs do to files and expect of a local filesystem, on two nodes."""
import errno
import fcntl
import mmap
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, die_with_parent, sh, wait_for  # noqa: E402


class Local(ClusterTest):
    nodes = 2

    def setUp(self):
        super().setUp()
        self.here, self.there = self.n1, self.n2

    def p(self, *names):
        return self.dir(self.here, *names)

    def q(self, *names):
        return self.dir(self.there, *names)

    def write(self, path, text):
        with open(path, "w") as f:
            f.write(text)

    def read(self, path):
        self.cluster.sync_all()
        with open(path) as f:
            return f.read()

    def start(self, *command, **options):
        process = subprocess.Popen(command, preexec_fn=die_with_parent, text=True, **options)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        return process

    # ---- writes

    def test_a_copy_that_does_not_fit_changes_nothing(self):
        with open("/dev/urandom", "rb") as noise:
            data = noise.read(2_000_000)
        large = os.path.join(self.cluster.directory, "large")
        with open(large, "wb") as f:
            f.write(data)
        for name, before in (("old", "old\n"), ("new", "")):
            if before:
                self.write(self.p(name), before)
            self.assertNotEqual(subprocess.run(["cp", large, self.p(name)],
                                               stderr=subprocess.DEVNULL).returncode, 0)
            self.assertEqual(self.read(self.q(name)), before)
            with self.assertRaises(OSError), open(self.p(name), "wb") as f:
                f.write(data)
            self.assertEqual(self.read(self.q(name)), before)

    def test_loggers_that_truncate_when_they_begin(self):
        self.write(self.p("log"), "old\n")
        one = os.open(self.p("log"), os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
        two = os.open(self.q("log"), os.O_WRONLY | os.O_APPEND)
        try:
            self.assertEqual(self.read(self.q("log")), "")
            for number in range(20):
                os.write(one, b"one %d\n" % number)
                os.write(two, b"two %d\n" % number)
                time.sleep(0.05)
            lines = [f"{name} {number}" for name in ("one", "two") for number in range(20)]
            wait_for(lambda: sorted(self.read(self.p("log")).split("\n")[:-1]) == sorted(lines), 20)
            os.ftruncate(one, 0)
            self.assertEqual(self.read(self.q("log")), "")
            os.write(two, b"last\n")
            wait_for(lambda: self.read(self.p("log")) == "last\n", 20)
        finally:
            os.close(one)
            os.close(two)

    def test_a_pidfile_is_there_while_it_is_held(self):
        self.write(self.p("pid"), "999999\n")
        with open(self.p("pid"), "a+") as pidfile:
            fcntl.flock(pidfile, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pidfile.seek(0)
            pidfile.truncate()
            pidfile.write("1234\n")
            pidfile.flush()
            wait_for(lambda: self.read(self.q("pid")) == "1234\n", 20)

    def test_copytruncate_of_a_busy_log(self):
        self.write(self.p("log"), "")
        count = 400
        writers = [self.start("bash", "-c", f"for i in $(seq {count}); do echo {name} $i; "
                              f"[ $((i % 20)) = 0 ] && sleep 0.1; done >> {path}")
                   for name, path in (("one", self.p("log")), ("two", self.q("log")))]
        rotations = 0
        while any(writer.poll() is None for writer in writers):
            # As logrotate does it.
            copy = os.open(self.p("log"), os.O_RDWR)
            with open(self.p(f"log.{rotations}"), "wb") as kept:
                kept.write(os.read(copy, 1 << 20))
            os.ftruncate(copy, 0)
            os.close(copy)
            rotations += 1
            time.sleep(0.3)
        self.assertGreater(rotations, 2)
        names = ["log"] + [f"log.{number}" for number in range(rotations)]
        lines = "".join(self.read(self.q(name)) for name in names).split("\n")[:-1]
        self.assertEqual(len(set(lines)), len(lines), "lines are there twice")
        # What is appended between copy and truncation is lost, as on any filesystem: of the 800 lines
        # few, on a busy machine more.
        self.assertGreater(len(lines), count // 2)

    def test_progress_of_a_job_shows_in_its_new_output_file(self):
        job = "for i in 1 2 3; do echo $i; read -r _; done"
        for name in ("status", "status.append"):
            redirection = ">>" if name.endswith("append") else ">"
            process = self.start("bash", "-c", f"{{ {job}; }} {redirection} {self.p(name)}",
                                 stdin=subprocess.PIPE)
            for number in (1, 2, 3):
                expected = "".join(f"{i}\n" for i in range(1, number + 1))
                wait_for(lambda: self.read(self.q(name)) == expected, 20, expected)
                process.stdin.write("\n")
                process.stdin.flush()
            self.assertEqual(process.wait(), 0)
        # A replacement shows nothing before it is whole.
        process = self.start("bash", "-c", f"{{ {job}; }} > {self.p('status')}",
                             stdin=subprocess.PIPE)
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(2.5)
        self.assertEqual(self.read(self.q("status")), "1\n2\n3\n")
        process.communicate("\n\n")
        self.assertEqual(self.read(self.q("status")), "1\n2\n3\n")

    # ---- files without a name

    def test_a_temporary_file_has_no_name_and_is_written_and_read(self):
        with tempfile.TemporaryFile(dir=self.p()) as f:
            f.write(b"first\n" * 100)
            f.flush()
            f.seek(0)
            self.assertEqual(f.read(), b"first\n" * 100)
            f.truncate(6)
            f.seek(0, os.SEEK_END)
            f.write(b"second\n")
            f.flush()
            self.assertEqual(os.fstat(f.fileno()).st_size, 13)
            with open(f"/dev/fd/{f.fileno()}", "rb") as again:
                self.assertEqual(again.read(), b"first\nsecond\n")
            os.fsync(f.fileno())
            os.fchmod(f.fileno(), 0o640)
            os.utime(f.fileno(), (1, 1))
            st = os.fstat(f.fileno())
            self.assertEqual((st.st_mode & 0o777, st.st_mtime, st.st_nlink), (0o640, 1, 0))
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(f, fcntl.LOCK_UN)
        self.assertEqual(os.listdir(self.p()), [])
        self.assertEqual(sh(f"perl -e 'open(my $f, \"+>\", undef) or die; print $f \"x\"; "
                            f"seek($f, 0, 0); print <$f>'", env={**os.environ, "TMPDIR": self.p()}), "x")

    def test_a_large_here_document(self):
        for shell in ("bash", "dash"):
            text = "".join(f"line {number}\n" for number in range(20_000))
            script = os.path.join(self.cluster.directory, "script")
            with open(script, "w") as f:
                f.write(f"cat <<EOF\n{text}EOF\n")
            self.assertEqual(sh(f"{shell} {script}", env={**os.environ, "TMPDIR": self.p()}), text)

    def test_a_removed_file_never_touches_its_successor(self):
        for mode in ("r+", "a", "w"):
            self.write(self.p("f"), "old\n")
            with open(self.p("f"), mode) as f:
                f.write("mine\n")
                os.unlink(self.q("f"))
                self.write(self.q("f"), "successor\n")
                self.cluster.sync_all()
                f.flush()
                f.write("more\n")
            self.assertEqual(self.read(self.p("f")), "successor\n")

    def test_opens_that_race_with_removals(self):
        end = time.monotonic() + 4
        remover = self.start("bash", "-c", f"while :; do rm -f {self.q('f')}; done")
        holder = self.start("bash", "-c", f"while :; do exec 9> {self.p('@/ephemeral/e')}; "
                            "exec 9>&-; done")
        opens, errors = 0, []
        while time.monotonic() < end:
            for path in (self.p("f"), self.p("@/ephemeral/e")):
                try:
                    os.close(os.open(path, os.O_RDWR | os.O_CREAT))
                except OSError as error:
                    errors.append(str(error))
                opens += 1
        for process in (remover, holder):
            self.assertIsNone(process.poll())
        self.assertGreater(opens, 100)
        # The kernel looks twice, and no more.
        self.assertLess(len(errors), opens / 500, errors[:5])

    # ---- files that are replaced

    def test_a_replaced_file_stays_whole_for_those_who_have_it(self):
        for number, replace in enumerate((self.p, self.q)):
            name = f"f{number}"
            old = b"o" * 100_000
            with open(self.p(name), "wb") as f:
                f.write(old)
            for calm in (0, 1.5):  # through the page cache, then
                time.sleep(calm)
                fd = os.open(self.p(name), os.O_RDONLY)
                mapped = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
                before = os.fstat(fd)
                content = os.pread(fd, 200_000, 0)
                with open(replace("new"), "wb") as f:
                    f.write(b"n" * 50_000)
                source = os.stat(replace("new")).st_ino
                os.rename(replace("new"), replace(name))
                self.cluster.sync_all()
                after = os.stat(self.p(name))
                self.assertEqual((after.st_size, after.st_ino), (50_000, source))
                self.assertNotEqual(before.st_ino, after.st_ino)
                self.assertEqual(os.pread(fd, 200_000, 0), content)
                self.assertEqual(mapped[:], content)
                still = os.fstat(fd)
                self.assertEqual((still.st_ino, still.st_size, still.st_nlink),
                                 (before.st_ino, len(content), 0))
                mapped.close()
                os.close(fd)

    def test_tail_follows_a_log_that_is_rotated_by_rename(self):
        self.write(self.p("log"), "first\n")
        out = os.path.join(self.cluster.directory, "tail")
        with open(out, "w") as f:
            self.start("tail", "-n", "+1", "-F", "-s", "0.2", self.p("log"), stdout=f,
                       stderr=subprocess.DEVNULL)
        wait_for(lambda: open(out).read() == "first\n", 10)
        for number in range(3):
            text = f"{number} " + "much longer than before\n" * (number + 1)
            self.write(self.q("log.new"), text)
            os.rename(self.q("log.new"), self.q("log"))
            wait_for(lambda: open(out).read().endswith(text), 10, text)

    def test_git_here_while_another_node_commits(self):
        git = "git -c user.name=x -c user.email=x@y -c core.fsync=none -c gc.auto=0"
        os.mkdir(self.p("repo"))
        sh(f"cd {self.p('repo')} && git init -q . && for i in $(seq 1200); do echo $i > "
           f"file-with-a-long-name-$i; done && {git} add . && {git} commit -qm first")
        self.cluster.sync_all()
        end = time.monotonic() + 12
        commits = self.start(
            "bash", "-c", f"cd {self.p('repo')}; n=0; while [ $SECONDS -lt 12 ]; do n=$((n+1)); "
            f"echo change $n > file-with-a-long-name-1; {git} commit -qam $n || exit 1; done")
        while time.monotonic() < end:
            for command in ("status --short", "ls-files", "show --stat HEAD"):
                done = subprocess.run(f"cd {self.q('repo')} && {git} --no-optional-locks {command}",
                                      shell=True, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(commits.wait(), 0)

    # ---- tools

    def test_mounts_and_working_directories_survive_what_is_made_here(self):
        os.mkdir(self.p("inside"))
        sh(f"mount -t tmpfs tmpfs {self.p('inside')}")
        self.addCleanup(lambda: sh(f"umount {self.p('inside')}"))
        self.write(self.p("inside", "hidden"), "not on the mount")
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.mkdir(self.p("here"))
        os.chdir(self.p("here"))
        for i in range(50):
            for name in f"file{i}", f"directory{i}", f"link{i}", f"old{i}":
                for _ in range(3):  # the kernel keeps that there is none
                    self.assertFalse(os.path.lexists(self.p(name)))
            self.write(self.p(f"file{i}"), "x")
            os.mkdir(self.p(f"directory{i}"))
            os.symlink("x", self.p(f"link{i}"))
            os.rename(self.p(f"file{i}"), self.p(f"old{i}"))
            os.unlink(self.p(f"old{i}"))
            self.assertTrue(os.path.isdir(self.p(f"directory{i}")))
            self.assertTrue(os.path.ismount(self.p("inside")), i)
            self.assertEqual(os.path.basename(os.getcwd()), "here")

    def test_mounts_and_working_directories_survive_what_others_do(self):
        """Another node makes, removes and moves names beside them which were looked up here."""
        os.mkdir(self.p("inside"))
        os.mkdir(self.p("here"))
        sh(f"mount -t tmpfs tmpfs {self.p('inside')}")
        self.addCleanup(lambda: sh(f"umount {self.p('inside')}"))
        self.write(self.p("inside", "hidden"), "not on the mount")
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.p("here"))
        for i in range(50):
            for name in f"file{i}", "directory", f"old{i}":
                for _ in range(3):  # the kernel keeps that there is none
                    self.assertFalse(os.path.lexists(self.p(name)))
            self.write(self.q(f"file{i}"), "x")
            os.mkdir(self.q("directory"))
            self.cluster.sync_all()
            self.assertEqual(self.read(self.p(f"file{i}")), "x")
            self.assertTrue(os.path.isdir(self.p("directory")))
            os.rename(self.q(f"file{i}"), self.q(f"old{i}"))
            os.rmdir(self.q("directory"))
            if i > 0:
                os.rename(self.q(f"old{i}"), self.q("old0"))  # over a file
            self.cluster.sync_all()
            self.assertFalse(os.path.lexists(self.p(f"file{i}")))
            self.assertEqual(os.path.lexists(self.p(f"old{i}")), i == 0)
            self.assertTrue(os.path.ismount(self.p("inside")), i)
            self.assertEqual(os.path.basename(os.getcwd()), "here")

    def test_mounts_and_working_directories_survive_where_all_work_in_one_directory(self):
        """Programs of both nodes make and remove the same names, and move directories."""
        os.makedirs(self.p("app", "inside"))
        os.mkdir(self.p("app", "here"))
        os.mkdir(self.p("locks"))
        for at in self.p, self.q:  # both kernels know that others work in it
            os.mkdir(at("locks", "first"))
            self.cluster.sync_all()
            os.rmdir(at("locks", "first"))
        self.cluster.sync_all()
        sh(f"mount -t tmpfs tmpfs {self.p('app', 'inside')}")
        self.addCleanup(lambda: sh(f"umount {self.p('app', 'inside')}"))
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.p("app", "here"))
        end = time.monotonic() + 3
        taken = [0, 0]

        def work(number, at):
            while time.monotonic() < end:
                for call in (lambda: os.mkdir(at("locks", "lock")),
                             lambda: os.rename(at("locks", "lock"), at("locks", "taken")),
                             lambda: os.lstat(at("locks", "free")),
                             lambda: os.rmdir(at("locks", "taken"))):
                    try:
                        call()
                        taken[number] += 1
                    except OSError:
                        pass

        workers = [threading.Thread(target=work, args=each) for each in enumerate((self.p, self.q))]
        for worker in workers:
            worker.start()
        while time.monotonic() < end:
            os.stat(self.p("app", "here"))
            self.assertTrue(os.path.ismount(self.p("app", "inside")), taken)
            self.assertEqual(os.path.basename(os.getcwd()), "here")
            time.sleep(0.002)
        for worker in workers:
            worker.join()
        self.assertGreater(min(taken), 0)

    def test_times_of_directories(self):
        """As make, find -newer, tar -g and cp -a rely on."""
        os.mkdir(self.p("d"))
        os.mkdir(self.p("other"))
        self.write(self.p("other", "g"), "x")

        def moves(change, *clocks):
            before = os.stat(self.p("d"))
            time.sleep(0.01)
            change()
            after = os.stat(self.p("d"))
            moved = [name for name in ("st_mtime_ns", "st_ctime_ns")
                     if getattr(after, name) >= getattr(before, name) + 5_000_000]
            self.assertEqual(moved, [f"st_{clock}_ns" for clock in clocks])
        moves(lambda: self.write(self.p("d", "f"), "x"), "mtime", "ctime")
        moves(lambda: self.write(self.p("d", "f"), "y"))  # nothing of the directory's
        moves(lambda: os.rename(self.p("d", "f"), self.p("d", "g")), "mtime", "ctime")
        moves(lambda: os.rename(self.p("other", "g"), self.p("d", "h")), "mtime", "ctime")
        moves(lambda: os.chmod(self.p("d"), 0o700), "ctime")
        moves(lambda: os.unlink(self.p("d", "g")), "mtime", "ctime")
        moves(lambda: os.mkdir(self.p("d", "sub")), "mtime", "ctime")
        moves(lambda: os.rmdir(self.p("d", "sub")), "mtime", "ctime")
        os.utime(self.p("d"), (1, 1))
        self.assertEqual(os.stat(self.p("d")).st_mtime, 1)
        os.chmod(self.p("d"), 0o755)
        self.assertEqual(os.stat(self.p("d")).st_mtime, 1)
        sh(f"cp -a {self.p('d')} {self.p('copy')}; mv {self.p('copy')} {self.p('moved')}")
        self.assertEqual(os.stat(self.p("moved")).st_mtime, 1)
        moves(lambda: self.write(self.q("d", "f"), "x") or self.cluster.sync_all(),
              "mtime", "ctime")
        sh(f"cd {self.p()}; touch stamp; sleep 0.1; test stamp -nt d; : > d/i; test d -nt stamp")

        def times(path):
            return [(os.stat(os.path.join(path, name)).st_mtime_ns,
                     os.stat(os.path.join(path, name)).st_ctime_ns) for name in ("", "d", "moved")]
        before = times(self.p())
        self.cluster.sync_all()
        self.assertEqual(times(self.q()), before)
        self.there.kill()
        self.there.start()
        self.there.wait_ready()
        self.cluster.sync_all()
        self.assertEqual(times(self.q()), before)

    def test_fifos_and_sockets(self):
        os.mkfifo(self.p("fifo"), 0o640)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        at = os.open(self.p(), os.O_PATH)
        self.addCleanup(os.close, at)
        listener.bind(f"/proc/self/fd/{at}/socket")  # whose name may have 107 bytes
        listener.listen()
        self.assertEqual(stat.filemode(os.stat(self.p("fifo")).st_mode), "prw-r-----")
        self.assertTrue(stat.S_ISSOCK(os.stat(self.p("socket")).st_mode))
        self.cluster.sync_all()
        kinds = {entry.name: stat.S_IFMT(entry.stat().st_mode) for entry in os.scandir(self.q())}
        self.assertEqual(kinds, {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK})
        # The kernel joins who has them open.
        self.assertEqual(sh(f"echo hello > {self.p('fifo')} & timeout 10 cat {self.p('fifo')}"), "hello\n")
        caller = socket.socket(socket.AF_UNIX)
        self.addCleanup(caller.close)
        caller.connect(f"/proc/self/fd/{at}/socket")
        caller.send(b"hello")
        self.assertEqual(listener.accept()[0].recv(10), b"hello")
        # On the other node nobody listens.
        with self.assertRaises(ConnectionRefusedError):
            there = os.open(self.q(), os.O_PATH)
            self.addCleanup(os.close, there)
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(f"/proc/self/fd/{there}/socket")
        sh(f"cd {self.q()} && mkdir d && mv fifo d/ && cp -a d copy && tar -cf - copy | tar -tvf - > /dev/null")
        self.cluster.sync_all()
        self.assertEqual(stat.filemode(os.stat(self.p("copy", "fifo")).st_mode), "prw-r-----")
        self.write(self.p("file"), "text")
        os.rename(self.p("file"), self.p("d", "fifo"))
        self.assertEqual(self.read(self.q("d", "fifo")), "text")
        os.unlink(self.p("socket"))
        sh(f"rm -r {self.p('d')} {self.p('copy')}")
        self.cluster.sync_all()
        self.assertEqual(os.listdir(self.q()), [])
        for kind in stat.S_IFCHR, stat.S_IFBLK:
            with self.assertRaises(PermissionError):
                os.mknod(self.p("device"), kind | 0o600, os.makedev(1, 3))

    def test_the_control_room_is_read_by_sendfile(self):
        before = int(self.read(self.p("@/next")))
        self.assertEqual(int(sh(f"busybox cat {self.p('@/next')}")), before + 1)
        copy = os.path.join(self.cluster.directory, "copy")
        shutil.copy(self.p("@/next"), copy)
        self.assertEqual(int(open(copy).read()), before + 2)
        sh(f"cp {self.p('@/next')} {copy}")
        self.assertEqual(int(open(copy).read()), before + 3)
        self.assertIn("lock", sh(f"busybox cat {self.p('@/help')}"))
        for _ in range(120):
            before = int(sh(f"busybox cat {self.p('@/next')}"))
        self.assertGreater(before, 100)

    def test_attributes_that_cannot_be_copied_are_not_listed(self):
        self.write(self.p("f"), "text")
        self.assertEqual(os.listxattr(self.p("f")), [])
        self.assertEqual(os.getxattr(self.p("f"), "user.zabfs.version"), b"1")
        target = os.path.join(self.cluster.directory, "target")
        sh(f"rsync -aX {self.p('')}/ {target}/ && rsync -aX {target}/ {self.p('')}/")
        self.assertNotEqual(subprocess.run(["setfattr", "-n", "user.x", "-v", "1", self.p("f")],
                                           stderr=subprocess.DEVNULL).returncode, 0)


class Quotas(ClusterTest):
    nodes = 2
    options = {"extra": "enforceQuota=true\n"}

    def limit(self, limits):
        from kazoo.client import KazooClient
        client = KazooClient(self.cluster.connect_string([self.n1]))
        client.start()
        quota = f"/zookeeper/quota/{self.name}"
        for name, data in (("", b""), ("/zookeeper_limits", limits.encode()),
                           ("/zookeeper_stats", b"count=0,bytes=0")):
            client.create(quota + name, data)
        client.stop()
        self.cluster.sync_all()

    def over(self, call, *arguments):
        with self.assertRaises(OSError) as raised:
            call(*arguments)
        self.assertEqual(raised.exception.errno, errno.EDQUOT)

    def write(self, path, text, mode="w"):
        with open(path, mode) as f:
            f.write(text)

    def test_bytes(self):
        here, there = self.dir(self.n1), self.dir(self.n2)
        self.limit("count=-1,bytes=-1=;byteHardLimit=1000;countHardLimit=-1")
        self.write(f"{there}/a", "x" * 900)
        self.cluster.sync_all()
        self.over(self.write, f"{here}/b", "x" * 101)
        self.over(self.write, f"{here}/a", "x" * 1001)
        self.over(self.write, f"{here}/a", "x" * 101, "a")
        answer = subprocess.run(["sh", "-c", f"head -c 200 /dev/zero > {here}/c"],
                                capture_output=True, text=True)
        self.assertEqual(os.path.getsize(f"{here}/c"), 0)
        outside = self.n1.path("outside")
        self.write(outside, "x" * 2000)
        self.over(os.rename, outside, f"{here}/outside")
        self.over(os.rename, outside, f"{here}/a")
        self.assertEqual(os.path.getsize(f"{here}/a"), 900)
        self.assertEqual(os.path.getsize(outside), 2000)
        self.write(f"{here}/a", "y", "a")
        self.write(f"{here}/a", "x" * 10)
        self.cluster.sync_all()
        self.write(f"{here}/b", "x" * 900)
        os.truncate(f"{here}/b", 0)
        os.unlink(outside)

    def test_counts(self):
        here = self.dir(self.n1)
        self.limit("count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3")
        self.write(f"{here}/a", "")
        os.mkdir(f"{here}/b")
        self.cluster.sync_all()
        self.over(self.write, f"{here}/c", "")
        self.over(os.mkdir, f"{here}/c")
        self.over(os.symlink, "x", f"{here}/c")
        os.rename(f"{here}/a", f"{here}/b/a")
        os.unlink(f"{here}/b/a")
        self.cluster.sync_all()
        self.write(f"{here}/c", "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
