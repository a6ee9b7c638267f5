"""The filesystem on one node: what a file is, when it is committed, what fails and how."""
import errno
import fcntl
import os
import re
import select
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import JAVA_LEADS, ClusterTest, ZABFS, die_with_parent, run, sh, wait_for  # noqa: E402

MAX_BYTES = 1_048_575 - 16_384


class Files(ClusterTest):
    nodes = 1

    def p(self, *names):
        return self.dir(self.n1, *names)

    def write(self, name, text):
        with open(self.p(name), "w") as f:
            f.write(text)

    def read(self, name):
        with open(self.p(name)) as f:
            return f.read()

    def version(self, name):
        return int(os.getxattr(self.p(name), "user.zabfs.version"))

    def assertErrno(self, number, call, *args):
        with self.assertRaises(OSError) as caught:
            call(*args)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[number])

    def test_redirection_commits_once(self):
        sh(f"echo one > {self.p('f')}")
        self.assertEqual(self.version("f"), 1)  # created empty, then one setData
        sh(f"echo two > {self.p('f')}")
        self.assertEqual((self.read("f"), self.version("f")), ("two\n", 2))

    def test_truncation_alone(self):
        for command in (": > {}", "cp /dev/null {}", "truncate -s 0 {}",
                        "python3 -c \"open('{}', 'w').close()\"", "{{ /bin/true; }} > {}"):
            with self.subTest(command=command):
                self.write("t", "something")
                out = sh(command.format(self.p("t")) + f"; stat -c %s {self.p('t')}")
                self.assertEqual(out, "0\n")

    def test_group_redirection_is_never_empty_in_between(self):
        self.write("g", "old\n")
        reader = subprocess.Popen(
            ["bash", "-c", f"for i in $(seq 400); do cat {self.p('g')}; done | sort -u"],
            stdout=subprocess.PIPE, text=True)
        sh(f"for i in 1 2 3 4 5 6; do (sleep 0.05; echo new) > {self.p('g')}; "
           f"{{ true; echo new; }} > {self.p('g')}; done")
        lines = reader.communicate()[0].splitlines()
        self.assertLessEqual(set(lines), {"old", "new"})

    def test_each_process_exit_commits(self):
        sh(f"{{ echo a; /bin/true; test \"$(cat {self.p('x')})\" = a; echo b; }} > {self.p('x')}")
        self.assertEqual(self.read("x"), "a\nb\n")

    def test_append_and_its_unasked_commit(self):
        sh(f"echo 1 >> {self.p('log')}; echo 2 >> {self.p('log')}")
        with open(self.p("log"), "a") as f:
            f.write("3\n")
            f.flush()
            wait_for(lambda: self.read("log") == "1\n2\n3\n", 20, "the appended line")

    def test_an_appender_reads_its_own_lines(self):
        for flags in (0, os.O_TRUNC):
            fd = os.open(self.p("a"), os.O_RDWR | os.O_CREAT | os.O_APPEND | flags)
            os.write(fd, b"one\n")
            self.assertEqual(os.pread(fd, 100, 0), b"one\n")
            os.fsync(fd)
            os.write(fd, b"two\n")
            self.assertEqual(os.pread(fd, 100, 0), b"one\ntwo\n")
            os.close(fd)
            self.assertEqual(self.read("a"), "one\ntwo\n")

    def test_in_place_edit_conflict(self):
        self.write("c", "aaaa")
        first = os.open(self.p("c"), os.O_RDWR)
        second = os.open(self.p("c"), os.O_WRONLY)
        os.pwrite(first, b"b", 0)
        os.pwrite(second, b"c", 3)
        os.fsync(first)
        self.assertErrno(errno.ESTALE, os.fsync, second)
        self.assertErrno(errno.ESTALE, os.fsync, second)
        os.pwrite(first, b"d", 1)  # the winner's base moved on with its own commit
        os.fsync(first)
        os.close(first)
        self.assertErrno(errno.ESTALE, os.close, second)
        self.assertEqual(self.read("c"), "bdaa")

    def test_a_handle_never_writes_to_a_successor(self):
        self.write("s", "old")
        fd = os.open(self.p("s"), os.O_RDWR)
        os.unlink(self.p("s"))
        self.write("s", "new")
        os.write(fd, b"bad")
        os.fsync(fd)
        self.assertEqual(os.pread(fd, 100, 0), b"bad")
        os.close(fd)
        self.assertEqual(self.read("s"), "new")

    def test_a_handle_follows_a_rename(self):
        self.write("r", "one")
        fd = os.open(self.p("r"), os.O_RDWR)
        os.rename(self.p("r"), self.p("r2"))
        os.pwrite(fd, b"two", 0)
        os.close(fd)
        self.assertEqual(self.read("r2"), "two")

    def test_a_handle_follows_a_rename_of_its_directory(self):
        os.mkdir(self.p("rd"))
        self.write("rd/f", "one")
        self.write("rd/f", "two")
        fd = os.open(self.p("rd/f"), os.O_RDWR)
        lost = os.open(self.p("rd/f"), os.O_RDWR)
        os.rename(self.p("rd"), self.p("re"))
        os.pwrite(fd, b"six", 0)
        os.close(fd)
        self.assertEqual(self.read("re/f"), "six")
        os.pwrite(lost, b"bad", 0)
        with self.assertRaises(OSError) as caught:
            os.close(lost)
        self.assertEqual(caught.exception.errno, errno.ESTALE)

    def test_rename_over_keeps_identity_and_takes_the_rest(self):
        self.write("target", "old")
        czxid = os.getxattr(self.p("target"), "user.zabfs.czxid")
        self.write("source", "new")
        os.chmod(self.p("source"), 0o640)
        os.utime(self.p("source"), ns=(0, 1_234_567_890_123_456_789))
        source = os.stat(self.p("source")).st_ino
        os.rename(self.p("source"), self.p("target"))
        st = os.stat(self.p("target"))
        is_same = os.getxattr(self.p("target"), "user.zabfs.czxid") == czxid
        self.assertEqual(is_same, not JAVA_LEADS)  # DESIGN.md, "Under a leader of Apache ZooKeeper"
        self.assertEqual(stat.S_IMODE(st.st_mode), 0o640)
        self.assertEqual(st.st_mtime_ns, 1_234_567_890_123_456_789)
        self.assertEqual(self.read("target"), "new")
        self.assertEqual(st.st_ino, source)
        self.assertFalse(os.path.exists(self.p("source")))

    def test_sizes(self):
        self.write("big", "x" * MAX_BYTES)
        self.assertEqual(os.stat(self.p("big")).st_size, MAX_BYTES)
        with open(self.p("big"), "ab", buffering=0) as f:
            self.assertErrno(errno.EFBIG, f.write, b"y")
        fd = os.open(self.p("big"), os.O_WRONLY)
        self.assertErrno(errno.EFBIG, os.pwrite, fd, b"y", MAX_BYTES)
        os.close(fd)
        fd = os.open(self.p("small"), os.O_RDWR | os.O_CREAT)
        os.write(fd, b"12345")
        self.assertEqual(os.fstat(fd).st_size, 0)  # the committed size
        self.assertEqual(os.lseek(fd, 0, os.SEEK_END), 5)  # its own
        self.assertEqual(os.pread(fd, 9, 0), b"12345")
        os.close(fd)
        self.assertEqual(os.stat(self.p("small")).st_size, 5)

    def test_a_write_that_is_too_large_leaves_the_file_as_it_was(self):
        for name, flags in (("truncated", os.O_TRUNC), ("edited", 0)):
            self.write(name, "old")
            fd = os.open(self.p(name), os.O_WRONLY | flags)
            os.write(fd, b"some")
            self.assertErrno(errno.EFBIG, os.pwrite, fd, b"y", MAX_BYTES)
            self.assertErrno(errno.EFBIG, os.pwrite, fd, b"y", 0)
            self.assertErrno(errno.EFBIG, os.close, fd)
            self.assertEqual((self.read(name), os.stat(self.p(name)).st_size), ("old", 3))
        fd = os.open(self.p("edited"), os.O_WRONLY | os.O_TRUNC)
        self.assertErrno(errno.EFBIG, os.ftruncate, fd, MAX_BYTES + 1)
        os.close(fd)
        self.assertEqual(self.read("edited"), "old")

    def test_a_bad_line_leaves_the_acl_as_it_was(self):
        before = sh(f"cat {self.p('@/acl')}")
        run("bash", "-c", f"{{ echo world:anyone:cdrwa; echo bad; }} > {self.p('@/acl')}")
        self.assertEqual(sh(f"cat {self.p('@/acl')}"), before)

    def test_attributes(self):
        self.write("a", "x")
        os.chown(self.p("a"), 12, 34)
        os.chmod(self.p("a"), 0o4751)  # after: chown takes the setuid bit away
        st = os.stat(self.p("a"))
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid), (0o4751, 12, 34))
        os.utime(self.p("a"), ns=(5, 5_000_000_007))
        self.assertEqual(os.stat(self.p("a")).st_mtime_ns, 5_000_000_007)
        self.write("a", "y")
        self.assertNotEqual(os.stat(self.p("a")).st_mtime_ns, 5_000_000_007)

    def test_a_copy_commits_what_it_sets_with_the_data(self):
        os.mkdir(self.p("src"))
        for name in "ab":
            self.write(f"src/{name}", name)
            os.chown(self.p("src", name), 12, 34)
            os.chmod(self.p("src", name), 0o4755)
            os.utime(self.p("src", name), (1, 1))
        for command in ("cp -a src out", "mkdir out && tar -C src -c a b | tar -C out -x"):
            with self.subTest(command=command):
                sh(f"cd {self.p()} && {command}")
                made = [int(os.getxattr(self.p("out", name), "user.zabfs.czxid"), 16) for name in "ab"]
                # The creation, and a commit with two txns: ZooKeeper has none of an ACL and data.
                self.assertEqual(abs(made[1] - made[0]), 3)
                for name in "ab":
                    st = os.stat(self.p("out", name))
                    self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime),
                                     (0o4755, 12, 34, 1))
                sh(f"rm -r {self.p('out')}")

    def test_what_is_set_before_the_close_is_shown_at_once(self):
        def committed(name):
            return [int(os.getxattr(self.p(name), f"user.zabfs.{field}")) for field in ("aversion", "version")]

        def shown(fd, name):
            by_name, by_handle = os.stat(self.p(name)), os.fstat(fd)
            self.assertEqual(by_name, by_handle)
            return stat.S_IMODE(by_name.st_mode), by_name.st_uid, by_name.st_gid, by_name.st_mtime

        def opens(uid, name):
            os.seteuid(uid)  # a child would close the handle, and that commits
            try:
                os.close(os.open(self.p(name), os.O_RDONLY))
                return True
            except PermissionError:
                return False
            finally:
                os.seteuid(0)

        fd = os.open(self.p("f"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(fd, b"text")
        self.assertFalse(opens(12, "f"))
        os.utime(fd, (1, 1))
        os.fchown(fd, 12, 34)
        os.fchmod(fd, 0o640)
        self.assertEqual(committed("f"), [0, 0])
        self.assertEqual(shown(fd, "f"), (0o640, 12, 34, 1))
        self.assertTrue(opens(12, "f"))
        os.rename(self.p("f"), self.p("g"))
        self.assertEqual(shown(fd, "g"), (0o640, 12, 34, 1))
        os.chmod(self.p("g"), 0o600)  # takes nothing away: nobody else has seen the 0640
        self.assertEqual(committed("g"), [0, 0])
        os.fsync(fd)
        self.assertEqual((shown(fd, "g"), committed("g")), ((0o600, 12, 34, 1), [1, 1]))
        os.close(fd)
        self.assertEqual(self.read("g"), "text")

        fd = os.open(self.p("h"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(fd, b"secret")
        os.fchmod(fd, 0o600)
        self.assertEqual((shown(fd, "h")[0], committed("h")), (0o600, [1, 0]))
        os.fchmod(fd, 0o604)
        os.unlink(self.p("h"))
        self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0o604)
        os.close(fd)

    def test_cp_a_and_rsync_keep_times_and_skip_equals(self):
        sh(f"mkdir {self.p('src')}; echo a > {self.p('src')}/a; ln -s a {self.p('src')}/l; "
           f"touch -d '2001-02-03 04:05:06.789' {self.p('src')}/a; cp -a {self.p('src')} {self.p('dst')}")
        self.assertEqual(os.stat(self.p("src", "a")).st_mtime_ns, os.stat(self.p("dst", "a")).st_mtime_ns)
        out = sh(f"rsync -ai {self.p('src')}/ {self.p('dst')}/")
        self.assertNotIn(">f", out)

    def test_kinds_and_links(self):
        os.symlink("somewhere", self.p("l"))
        self.assertEqual(os.readlink(self.p("l")), "somewhere")
        self.write("f", "x")
        self.assertErrno(errno.EPERM, os.link, self.p("f"), self.p("hard"))
        self.assertErrno(errno.ENOTDIR, os.listdir, self.p("f"))
        self.assertErrno(errno.EINVAL, os.mkdir, self.p("bad\x01name"))
        self.assertErrno(errno.ENAMETOOLONG, os.mkdir, self.p("n" * 256))
        os.mkdir(self.p("n" * 255))

    def test_directories(self):
        os.mkdir(self.p("d"))
        self.write("d/f", "x")
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, self.p("d"))
        os.rename(self.p("d"), self.p("e"))
        self.assertEqual(self.read("e/f"), "x")
        self.assertEqual(os.listdir(self.p()), ["e"])
        os.unlink(self.p("e/f"))
        os.rmdir(self.p("e"))
        self.assertEqual(os.listdir(self.p()), [])

    def test_a_directory_too_large_to_rename(self):
        os.mkdir(self.p("big"))
        for i in range(3):
            self.write(f"big/{i}", "x" * 500_000)
        self.assertErrno(errno.EXDEV, os.rename, self.p("big"), self.p("moved"))
        sh(f"mv {self.p('big')} {self.p('moved')}")
        self.assertEqual(sorted(os.listdir(self.p("moved"))), ["0", "1", "2"])

    def test_rename_flags(self):
        self.write("a", "a")
        self.write("b", "b")
        result = run("mv", "-n", self.p("a"), self.p("b"))
        self.assertEqual((self.read("a"), self.read("b")), ("a", "b"), result.stderr)

    def test_data_of_a_directory(self):
        sh(f"mkdir {self.p('d')}; touch {self.p('d')}/child; echo config > {self.p('d')}/@/data")
        self.assertEqual(self.read("d/@/data"), "config\n")
        os.unlink(self.p("d/child"))
        self.assertTrue(os.path.isdir(self.p("d")))

    def test_control_room_is_hidden(self):
        self.assertEqual(os.listdir(self.p()), [])
        self.assertIn("lock", os.listdir(self.p("@")))
        self.assertIn("watch", self.read("@/help"))
        self.assertRegex(self.read("@/stat"), r"(?m)^czxid 0x[0-9a-f]+$")
        self.assertEqual(sh(f"grep -r x {self.p()} || true"), "")

    def test_hidden_state_goes_with_its_directory(self):
        os.mkdir(self.p("d"))
        sh(f"cat {self.p('d')}/@/next; flock {self.p('d')}/@/lock true; touch {self.p('d')}/f; "
           f"flock {self.p('d')}/f true; rm {self.p('d')}/f")
        self.assertEqual(os.listdir(self.p("d")), [])
        os.rmdir(self.p("d"))
        os.mkdir(self.p("d"))
        self.assertEqual(self.read("d/@/next"), "1\n")

    def test_next(self):
        self.assertEqual([self.read("@/next") for _ in range(3)], ["1\n", "2\n", "3\n"])

    def test_seq(self):
        fd = os.open(self.p("@/seq/job-"), os.O_RDWR | os.O_CREAT)
        name = os.read(fd, 100).decode().strip()
        os.write(fd, b"data")
        os.close(fd)
        self.assertRegex(name, r"^job-\d{10}$")
        self.assertEqual(self.read(name), "data")

    def test_ephemeral(self):
        fd = os.open(self.p("@/ephemeral/me"), os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"here")
        os.fsync(fd)
        self.assertEqual(self.read("me"), "here")
        self.assertErrno(errno.EEXIST, os.open, self.p("@/ephemeral/me"),
                         os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.close(fd)
        wait_for(lambda: not os.path.exists(self.p("me")), 20, "the end of the ephemeral")

    def test_locks(self):
        a = os.open(self.p("@/lock"), os.O_RDWR)
        b = os.open(self.p("@/lock"), os.O_RDWR)
        fcntl.flock(a, fcntl.LOCK_EX)
        self.assertErrno(errno.EWOULDBLOCK, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who was refused is in the queue no more.
        self.assertRegex(self.read("@/lock"), r"^state held\ntoken 0x[0-9a-f]+\nholder 1 \d+ \S+\n$")
        os.close(a)
        fcntl.flock(b, fcntl.LOCK_EX)
        os.close(b)
        wait_for(lambda: self.read("@/lock") == "state free\n", 20, "a free lock")

    def test_file_locks(self):
        self.write("f", "")
        fds = [os.open(self.p("f"), os.O_RDWR) for _ in range(3)]
        fcntl.flock(fds[0], fcntl.LOCK_SH)
        fcntl.flock(fds[1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.assertErrno(errno.EWOULDBLOCK, fcntl.flock, fds[2], fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fds[0], fcntl.LOCK_UN)
        os.close(fds[1])
        fcntl.flock(fds[2], fcntl.LOCK_EX)
        for fd in (fds[0], fds[2]):
            os.close(fd)
        with open(self.p("f"), "r+") as f:
            fcntl.lockf(f, fcntl.LOCK_EX)
            fcntl.lockf(f, fcntl.LOCK_UN)
            self.assertErrno(errno.ENOLCK, fcntl.lockf, f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)

    def test_locks_of_files_that_are_opened_and_closed_all_the_time(self):
        """The kernel gives the owner of a closed handle's lock to the next one, before RELEASE."""
        self.write("f", "")
        script = """
import fcntl, os, sys, time
end, turns = time.monotonic() + 8, 0
while time.monotonic() < end:
    turns += 1
    fd = os.open(sys.argv[1], os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (fcntl.LOCK_NB if turns % 3 else 0))
        os.close(os.open(sys.argv[1] + ".held", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.unlink(sys.argv[1] + ".held")
    except BlockingIOError:
        pass
    os.close(fd)
"""
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                 preexec_fn=die_with_parent) for _ in range(2 * os.cpu_count())]
        lockers = [subprocess.Popen([sys.executable, "-c", script, self.p("f")],
                                    stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
                   for _ in range(10)]
        try:
            for locker in lockers:
                self.assertEqual(locker.communicate(timeout=60)[1], "")
        finally:
            for process in busy + lockers:
                process.kill()
                process.wait()

    def test_a_rename_brings_no_handle_up_to_date(self):
        self.write("f", "base")
        os.rename(self.p("f"), self.p("g"))  # the versions of g begin anew
        fd = os.open(self.p("g"), os.O_RDWR)
        with open(self.p("g"), "a") as f:
            f.write(" and more")
        os.rename(self.p("g"), self.p("h"))
        os.write(fd, b"lost")
        with self.assertRaises(OSError) as caught:
            os.fsync(fd)
        self.assertEqual(caught.exception.errno, errno.ESTALE)
        with self.assertRaises(OSError):
            os.close(fd)
        self.assertEqual(self.read("h"), "base and more")

    def test_what_was_appended_and_is_not_committed_yet(self):
        def switch(fd, append):
            flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND
            fcntl.fcntl(fd, fcntl.F_SETFL, flags | (os.O_APPEND if append else 0))

        with self.subTest("a size that is set after it"):
            self.write("f", "base")
            fd = os.open(self.p("f"), os.O_WRONLY | os.O_APPEND)
            self.write("f", "another one's")
            os.write(fd, b"+a")
            os.ftruncate(fd, 14)
            os.fsync(fd)
            os.close(fd)
            self.assertEqual(self.read("f"), "another one's+")

        with self.subTest("a write that is too large after it"):
            fd = os.open(self.p("f"), os.O_WRONLY | os.O_APPEND)
            os.write(fd, b"+b")
            switch(fd, False)
            self.assertErrno(errno.EFBIG, os.pwrite, fd, b"x", MAX_BYTES + 16_384)
            self.assertErrno(errno.EFBIG, os.fsync, fd)  # "+b" is dropped
            self.assertErrno(errno.EFBIG, os.close, fd)
            self.assertEqual(self.read("f"), "another one's+")

        with self.subTest("a time that was set, and a size after it"):
            fd = os.open(self.p("f"), os.O_WRONLY)
            os.write(fd, b"A")
            os.utime(fd, (1, 1))
            os.ftruncate(fd, 5)
            os.close(fd)
            self.assertGreater(os.stat(self.p("f")).st_mtime, 1_000_000)

    def test_a_writer_of_a_removed_file_reads_no_successor(self):
        self.write("f", "old")
        for flags in (os.O_RDWR, os.O_RDWR | os.O_APPEND):
            self.write("f", "old")
            fd = os.open(self.p("f"), flags)
            os.unlink(self.p("f"))
            self.write("f", "successor")
            self.assertEqual(os.pread(fd, 100, 0), b"old")
            os.close(fd)

    def test_a_waiter_can_be_interrupted_and_killed(self):
        holder = os.open(self.p("@/lock"), os.O_RDWR)
        fcntl.flock(holder, fcntl.LOCK_EX)
        self.assertEqual(run("flock", "-w", "0.3", self.p("@/lock"), "true").returncode, 1)
        waiter = subprocess.Popen(["flock", self.p("@/lock"), "true"])
        wait_for(lambda: "waiter" in self.read("@/lock"), 20, "a waiter")
        waiter.kill()
        waiter.wait()
        wait_for(lambda: "waiter" not in self.read("@/lock"), 20, "its end")
        os.close(holder)
        self.assertEqual(run("flock", "-w", "30", self.p("@/lock"), "true").returncode, 0)

    def test_watch(self):
        watch = subprocess.Popen(["bash", "-c", f"while read -r zxid type name; do echo $type $name; "
                                  f"test \"$name\" = end && break; done < {self.p('@/watch')}"],
                                 stdout=subprocess.PIPE, text=True)
        wait_for(lambda: "watch" in sh(f"cat {self.n1.path('@/handles')}"), 20, "the watch")
        sh(f"cd {self.p()}; : > f; echo x > f; chmod 600 f; rm f; : > end")
        lines = watch.communicate(timeout=20)[0].splitlines()[1:]
        self.assertEqual(lines, ["created f", "changed f", "acl f", "deleted f", "created end"])

    def test_watch_without_waiting_and_by_poll(self):
        fd = os.open(self.p("@/watch"), os.O_RDONLY | os.O_NONBLOCK)
        self.assertRegex(os.read(fd, 100), rb"^0x[0-9a-f]+\n$")
        self.assertErrno(errno.EAGAIN, os.read, fd, 100)
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        self.assertEqual(poller.poll(50), [])
        self.write("f", "x")
        self.assertTrue(poller.poll(5000))
        self.assertIn(b"created f", os.read(fd, 100))
        os.close(fd)

    def test_a_pass_over_a_file_sees_one_version(self):
        self.write("f", "99")
        fd = os.open(self.p("f"), os.O_RDONLY)
        self.assertEqual(os.pread(fd, 100, 0), b"99")
        self.write("f", "100")
        self.assertEqual(os.pread(fd, 100, 2), b"")  # the end of what this pass reads
        self.assertEqual(os.pread(fd, 100, 2), b"0")  # past it, as tail -f goes on
        self.assertEqual(os.pread(fd, 100, 0), b"100")
        os.close(fd)

    def test_an_unlinked_file_stays_readable(self):
        self.write("f", "still here")
        fd = os.open(self.p("f"), os.O_RDONLY)
        os.unlink(self.p("f"))
        self.assertEqual(os.read(fd, 100), b"still here")
        os.close(fd)

    def test_many_entries(self):
        names = [f"entry-{i:05}" for i in range(2000)]
        for name in names:
            os.close(os.open(self.p(name), os.O_CREAT | os.O_WRONLY))
        self.assertEqual(sorted(os.listdir(self.p())), names)
        self.assertEqual(len([e for e in os.scandir(self.p()) if e.is_file()]), 2000)
        sh(f"rm -r {self.p()}/*")
        self.assertEqual(os.listdir(self.p()), [])

    def test_umask_and_other_users(self):
        sh(f"umask 077; echo secret > {self.p('secret')}; chmod 755 {self.p()}")
        result = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat",
                     self.p("secret"))
        self.assertIn("Permission denied", result.stderr)
        acl = sh(f"ls -l {self.p('secret')}")
        self.assertTrue(acl.startswith("-rw-------"), acl)

    def test_zabfs_tool(self):
        self.assertEqual(run(ZABFS, "status", "--mount", self.n1.mount).returncode, 0)
        result = run(ZABFS, "lock", self.p(), "--", "sh", "-c", "exit 7")
        self.assertEqual(result.returncode, 7, result.stderr)
        holder = os.open(self.p("@/lock"), os.O_RDWR)
        fcntl.flock(holder, fcntl.LOCK_EX)
        self.assertEqual(run(ZABFS, "lock", self.p(), "--timeout", "0.3", "--", "true").returncode, 75)
        os.close(holder)

    def test_in_place_tools(self):
        self.write("f", "one\ntwo\n")
        sh(f"sed -i s/one/ONE/ {self.p('f')}; sort -r -o {self.p('f')} {self.p('f')}; "
           f"printf X | dd of={self.p('f')} conv=notrunc bs=1 seek=1 status=none")
        self.assertEqual(self.read("f"), "tXo\nONE\n")

    def test_tar_and_programs(self):
        sh(f"mkdir -p {self.p('src')}/d; cp /bin/true {self.p('src')}/prog; echo x > {self.p('src')}/d/f; "
           f"touch -d '2002-02-02 02:02:02' {self.p('src')}/d/f {self.p('src')}/d; "
           f"tar -C {self.p()} -cf {self.p('t.tar')} src; mkdir {self.p('out')}; "
           f"tar -C {self.p('out')} -xf {self.p('t.tar')}; {self.p('out')}/src/prog; "
           f"diff -r {self.p('src')} {self.p('out')}/src")
        for name in ("d/f", "d"):
            self.assertEqual(os.stat(self.p("src", name)).st_mtime,
                             os.stat(self.p("out", "src", name)).st_mtime)

    def test_another_user_owns_what_it_makes(self):
        user = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "bash", "-c"]
        os.mkdir(self.p("shared"))
        os.chmod(self.p("shared"), 0o1777)
        result = run(*user, f"cd {self.p('shared')} && echo mine > f && mkdir d && chmod 700 d && "
                     "flock f true && cat @/next && flock @/lock true")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        st = os.stat(self.p("shared/f"))
        self.assertEqual((st.st_uid, st.st_gid), (1234, 1234))
        other = ["setpriv", "--reuid=999", "--regid=999", "--clear-groups", "bash", "-c"]
        for command in ("rm -f f", "echo x > f", "mv f g", "ls d", "chown 999 f", "chmod 777 f"):
            result = run(*other, f"cd {self.p('shared')} && {command}")
            self.assertNotEqual(result.returncode, 0, command)
        os.chmod(self.p("shared"), 0o755)
        for command in ("flock -n @/lock true", "cat @/next", "echo > @/seq/x", "echo > @/data"):
            result = run(*other, f"cd {self.p('shared')} && {command}")
            self.assertIn("Permission denied", result.stderr, command)

    def test_a_setgid_directory_hands_down_its_group(self):
        os.mkdir(self.p("g"))
        os.chown(self.p("g"), 0, 55)
        os.chmod(self.p("g"), 0o2775)
        sh(f"mkdir {self.p('g')}/d; touch {self.p('g')}/f")
        self.assertEqual((os.stat(self.p("g/f")).st_gid, os.stat(self.p("g/d")).st_gid), (55, 55))
        self.assertTrue(os.stat(self.p("g/d")).st_mode & stat.S_ISGID)

    def test_vim(self):
        self.write("v", "before\n")
        sh(f"vim -Nu NONE -es -c '%s/before/after/' -c wq {self.p('v')} </dev/null || "
           f"vim.tiny -es -c '%s/before/after/' -c wq {self.p('v')} </dev/null")
        self.assertEqual(self.read("v"), "after\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
