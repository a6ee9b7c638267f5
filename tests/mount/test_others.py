"""What a user can learn and do through a control room: no more than by the files themselves."""
import errno
import fcntl
import os
import stat
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from test_posix import ALICE, BOB, GROUP, Posix, sh, wait_for  # noqa: E402


def read(path):
    with open(path) as f:
        return f.read()


def read_once(path, flags=os.O_RDONLY):
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def write(path, text, flags=os.O_WRONLY | os.O_CREAT, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


class Others(Posix):
    def setUp(self):
        super().setUp()
        self.mkdir("d", 0o777)

    def room(self, *names):
        return self.p("d", "@", *names)

    def denied(self, number, uid, call, *args, **options):
        self.fails(number, self.by, uid, call, *args, **options)


class Txn(Others):
    def stage(self, name, files=(), links=(), mode=0o755):
        top = self.room("txn", name)
        os.mkdir(top, mode)
        for path, text in dict(files).items():
            os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
            write(os.path.join(top, path), text)
        for path, target in dict(links).items():
            os.symlink(target, os.path.join(top, path))
        return top

    def attempt(self, *args, **options):
        top = self.stage(*args, **options)
        try:
            os.rename(top, top + ".commit")
        finally:
            sh(f"rm -rf {top}")

    def test_a_symlink_is_replaced_by_who_could_remove_it(self):
        os.symlink("/etc/hosts", self.p("d", "link"))
        attempt = lambda: self.attempt("t", links={"link": "/tmp/x"})  # noqa: E731
        for mode, number in ((0o755, errno.EACCES), (0o1777, errno.EPERM)):
            os.chmod(self.p("d"), 0o777)
            staged = self.by(ALICE, lambda: self.stage("a", links={"link": "/tmp/x"}))[1:-1]
            os.chmod(self.p("d"), mode)
            self.denied(errno.EACCES if mode == 0o755 else number, ALICE,
                        os.rename, staged, staged + ".commit")
            self.assertEqual(os.readlink(self.p("d", "link")), "/etc/hosts")
            sh(f"rm -r {staged}")
        os.chmod(self.p("d"), 0o777)
        self.by(ALICE, attempt)
        self.assertEqual(os.readlink(self.p("d", "link")), "/tmp/x")
        os.chmod(self.p("d"), 0o1777)
        self.by(ALICE, lambda: os.symlink("/a", self.p("d", "own")))
        self.by(ALICE, lambda: self.attempt("t", links={"own": "/b"}))
        self.assertEqual(os.readlink(self.p("d", "own")), "/b")

    def test_directories_and_files_on_the_way(self):
        self.mkdir("d/closed", 0o700)
        self.write("d/closed/f", mode=0o666)
        self.mkdir("d/listed", 0o755)
        self.write("d/listed/f", "old", mode=0o666)
        for files, number in (({"closed/f": "x"}, errno.EACCES), ({"listed/g": "x"}, errno.EACCES)):
            self.denied(number, ALICE, lambda: self.attempt("t", files))
        os.chmod(self.p("d/listed/f"), 0o666)
        self.by(ALICE, lambda: self.attempt("t", {"listed/f": "new"}))
        self.assertEqual(self.read("d/listed/f"), "new")
        os.chmod(self.p("d/listed/f"), 0o644)
        self.denied(errno.EACCES, ALICE, lambda: self.attempt("t", {"listed/f": "newer"}))

    def test_groups_count(self):
        self.write("d/f", "old")
        os.chown(self.p("d/f"), 0, GROUP)
        os.chmod(self.p("d/f"), 0o664)
        self.denied(errno.EACCES, ALICE, lambda: self.attempt("t", {"f": "new"}))
        self.by(ALICE, lambda: self.attempt("t", {"f": "new"}), groups=[7, GROUP])
        self.assertEqual(self.read("d/f"), "new")

    def test_a_staging_directory_is_its_makers(self):
        staged = self.by(ALICE, lambda: self.stage("a", {"f": "alice's"}, mode=0o700))[1:-1]
        open_one = self.by(ALICE, lambda: self.stage("b"))[1:-1]
        self.assertTrue(os.stat(self.room("txn")).st_mode & stat.S_ISVTX)
        self.denied(errno.EACCES, BOB, os.listdir, staged)
        for top in (staged, open_one):
            self.denied(errno.EPERM, BOB, os.rename, top, top + ".commit")
            self.denied(errno.EPERM, BOB, os.rmdir, top)
        # The owner of the directory is nobody special there.
        os.chown(self.p("d"), BOB, BOB)
        for top in (staged, open_one):
            self.denied(errno.EPERM, BOB, os.rename, top, top + ".commit")
            self.denied(errno.EPERM, BOB, os.rmdir, top)
        self.assertFalse(os.path.exists(self.p("d/f")))
        self.by(ALICE, os.rename, staged, staged + ".commit")
        self.assertEqual(self.read("d/f"), "alice's")
        os.rmdir(open_one)  # root may

    def test_what_others_have_staged_is_taken_as_far_as_it_may_be_read(self):
        self.write("d/f", "old")
        os.chmod(self.p("d/f"), 0o666)
        top = self.by(ALICE, lambda: self.stage("a"))[1:-1]
        os.chmod(top, 0o777)
        self.by(BOB, lambda: write(os.path.join(top, "f"), "bob's", mode=0o600))
        self.denied(errno.EACCES, ALICE, os.rename, top, top + ".commit")
        self.assertEqual(self.read("d/f"), "old")

    def test_setuid_goes_with_the_data_it_was_set_for(self):
        self.write("d/f", "old")
        os.chmod(self.p("d/f"), 0o4777)
        self.by(ALICE, lambda: self.attempt("t", {"f": "new"}))
        self.assertEqual((os.stat(self.p("d/f")).st_mode & 0o7777, self.read("d/f")), (0o777, "new"))


class Rooms(Others):
    def test_watch_all_tells_of_nothing_below_a_closed_directory(self):
        self.mkdir("d/a", 0o700)
        self.write("d/a/secret")
        self.mkdir("d/open")
        r, w = os.pipe()
        ready_r, ready_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(ALICE)
            os.setuid(ALICE)
            fd = os.open(self.room("watch-all"), os.O_RDONLY | os.O_NONBLOCK)
            os.read(fd, 100)
            os.write(ready_w, b".")
            while True:
                line = b""
                while not line:
                    try:
                        line = os.read(fd, 4096)
                    except BlockingIOError:
                        os.sched_yield()
                os.write(w, line)
                if line.endswith(b" end\n"):
                    os._exit(0)
        os.close(w)
        os.read(ready_r, 1)
        self.write("d/a/secret2")
        self.write("d/a/secret", "changed")
        os.chmod(self.p("d/a/secret"), 0o600)
        os.unlink(self.p("d/a/secret2"))
        self.write("d/open/f", "")
        os.chmod(self.p("d/a"), 0o755)
        os.unlink(self.p("d/a/secret"))
        os.chmod(self.p("d/a"), 0o700)
        self.write("d/a/third", "")
        self.write("d/end", "")
        os.waitpid(pid, 0)
        with os.fdopen(r) as out:
            lines = [line.split(maxsplit=1)[1].strip() for line in out]
        for fd in (ready_r, ready_w):
            os.close(fd)
        self.assertEqual(lines, ["created open/f", "acl a", "deleted a/secret", "acl a",
                                 "created end"])

    def test_an_ephemeral_is_opened_as_by_its_own_name(self):
        fd = os.open(self.room("ephemeral", "e"), os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"root's")
        os.fsync(fd)
        overwrite = lambda: write(self.room("ephemeral", "e"), "mine", os.O_WRONLY)  # noqa: E731
        self.denied(errno.EACCES, ALICE, overwrite)
        self.denied(errno.EACCES, ALICE, lambda: write(self.room("ephemeral", "e"), "mine"))
        self.denied(errno.EACCES, ALICE, lambda: os.open(self.room("ephemeral", "e"),
                                                          os.O_RDONLY | os.O_TRUNC))
        self.assertEqual(self.read("d/e"), "root's")
        self.assertEqual(self.by(ALICE, read_once, self.room("ephemeral", "e")), repr("e\n"))
        os.chmod(self.p("d/e"), 0o600)
        self.denied(errno.EACCES, ALICE, read_once, self.room("ephemeral", "e"))
        overwrite()
        self.assertEqual(self.read("d/e"), "mine")
        # What takes its name is somebody else's.
        os.unlink(self.p("d/e"))
        self.by(BOB, lambda: write(self.p("d/e"), "bob's"))
        os.write(fd, b"late")
        self.fails(errno.ESTALE, os.fsync, fd)
        os.close(fd)
        self.assertEqual(self.read("d/e"), "bob's")

    def test_digests_are_shown_to_who_may_change_the_acl(self):
        os.chown(self.p("d"), BOB, BOB)
        os.chmod(self.p("d"), 0o755)
        write(self.room("acl"), "digest:app:c2VjcmV0:r\n", os.O_WRONLY | os.O_APPEND)
        self.assertIn("digest:app:x:r", self.by(ALICE, read, self.room("acl")))
        self.assertNotIn("c2VjcmV0", self.by(ALICE, read, self.room("acl")))
        for uid in (0, BOB):
            self.assertIn("digest:app:c2VjcmV0:r", self.by(uid, read, self.room("acl")))
        self.by(BOB, lambda: write(self.room("acl"), "ip:1.2.3.4:r\n", os.O_WRONLY | os.O_APPEND))
        self.assertIn("digest:app:c2VjcmV0:r\n", read(self.room("acl")))

    def test_setgid_of_a_foreign_group_is_not_set_through_the_acl(self):
        os.chown(self.p("d"), BOB, GROUP)
        os.chmod(self.p("d"), 0o755)
        wanted = read(self.room("acl")).replace(",751,", ",2751,")
        self.assertNotEqual(wanted, read(self.room("acl")))
        self.denied(errno.EPERM, BOB, lambda: write(self.room("acl"), wanted,
                                                    os.O_WRONLY | os.O_TRUNC))
        self.by(BOB, lambda: write(self.room("acl"), wanted, os.O_WRONLY | os.O_TRUNC), groups=[GROUP])
        self.assertTrue(os.stat(self.p("d")).st_mode & stat.S_ISGID)

    def test_handles_are_shown_to_their_own(self):
        handles = self.n1.path("@", "handles")
        fd = os.open(self.room("lock"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        watch = os.open(self.room("watch"), os.O_RDONLY)
        self.assertIn(f"lock {self.n1_path()}/@/lock {os.getpid()}", read(handles))
        self.assertEqual(self.by(ALICE, read, handles), repr(""))

        def own():
            os.open(self.room("watch"), os.O_RDONLY)
            return [line.split()[:2] for line in read(handles).splitlines()]
        self.assertEqual(self.by(ALICE, own), repr([["watch", f"{self.n1_path()}/@/watch"]]))
        self.assertIn(f"lock {self.n1_path()}/@/lock", read(handles))
        os.close(watch)
        os.close(fd)

    def n1_path(self):
        return os.path.join("/", self.name, "d")

    def test_queues_give_what_the_reader_may_read_and_remove(self):
        def put(text):
            write(self.room("queue"), text, os.O_WRONLY)
        self.by(BOB, put, "private")
        sh(f"chmod 600 {self.p('d')}/qn-*")
        self.denied(errno.EAGAIN, ALICE, read_once, self.room("queue"))
        self.by(BOB, put, "public")
        self.assertEqual(self.by(ALICE, read_once, self.room("queue")), repr("public"))
        self.by(BOB, put, "public")
        os.chmod(self.p("d"), 0o1777)
        self.denied(errno.EAGAIN, ALICE, read_once, self.room("queue"))
        self.assertEqual(self.by(BOB, read_once, self.room("queue")), repr("private"))
        self.assertEqual(read_once(self.room("queue")), "public")

    def test_locks_tell_what_may_be_read_of_their_contenders(self):
        os.close(os.open(self.p("d/x-lock-0000000001"), os.O_WRONLY | os.O_CREAT, 0o600))
        self.write("d/x-lock-0000000001", "the secret text")
        shown = self.by(ALICE, read, self.room("lock"))
        self.assertIn("holder - - x-lock-0000000001", shown)
        self.assertNotIn("secret", shown)
        self.assertIn("holder the secret text", read(self.room("lock")))

    def test_whichever_call_takes_a_lock_needs_the_directorys_w(self):
        def take(how):
            fd = os.open(self.room("lock"), os.O_RDONLY)
            how(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        for how in (fcntl.flock, fcntl.lockf):
            os.chmod(self.p("d"), 0o755)
            self.denied(errno.EACCES, ALICE, take, how)
            os.chmod(self.p("d"), 0o777)
            self.by(ALICE, take, how)

    def test_getlk_tells_of_the_directorys_lock(self):
        def kind():
            fd = os.open(self.room("lock"), os.O_RDWR)
            wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            return struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, wanted))[0]
        self.assertEqual(self.by(ALICE, kind), repr(fcntl.F_UNLCK))
        holder = os.open(self.room("lock"), os.O_RDWR)
        fcntl.lockf(holder, fcntl.LOCK_EX)
        self.assertEqual(self.by(ALICE, kind), repr(fcntl.F_WRLCK))
        os.close(holder)

    def test_what_a_room_makes_has_the_mode_and_the_group_of_any_file(self):
        os.chown(self.p("d"), 0, GROUP)
        os.chmod(self.p("d"), 0o2777)
        write(self.room("queue"), "item", os.O_WRONLY)
        for name in ("seq", "ephemeral"):
            fd = os.open(self.room(name, "x"), os.O_CREAT | os.O_WRONLY, 0o640)
            self.addCleanup(os.close, fd)
        modes = {name[:2]: stat.S_IMODE(os.stat(self.p("d", name)).st_mode)
                 for name in os.listdir(self.p("d"))}
        self.assertEqual(modes, {"qn": 0o644, "x": 0o640, "x0": 0o640})
        for name in os.listdir(self.p("d")):
            self.assertEqual(os.stat(self.p("d", name)).st_gid, GROUP, name)

    def test_a_barrier_removes_no_file_of_others(self):
        os.chmod(self.p("d"), 0o1777)
        self.by(BOB, lambda: write(self.p("d/ready"), "bob's"))

        def enter():
            fd = os.open(self.room("barrier", "1"), os.O_RDONLY)
            text = os.read(fd, 100).decode()
            os.close(fd)
            return text
        self.by(ALICE, enter)
        self.assertEqual(self.read("d/ready"), "bob's")
        os.unlink(self.p("d/ready"))
        self.assertEqual(self.by(ALICE, enter), repr("in 1\n"))  # its own goes with the last
        wait_for(lambda: not os.path.exists(self.p("d/ready")), what="the barrier's end")

    def test_a_semaphore_queues_in_no_directory_of_others(self):
        os.chmod(self.p("d"), 0o1777)
        self.by(BOB, os.mkdir, self.p("d/leases"), 0o700)
        self.denied(errno.EACCES, ALICE, os.open, self.room("semaphore", "1"), os.O_RDONLY)
        os.rmdir(self.p("d/leases"))
        self.by(BOB, lambda: write(self.p("d/locks"), "a file"))
        self.denied(errno.ENOTDIR, ALICE, os.open, self.room("semaphore", "1"), os.O_RDONLY)
        self.assertTrue(stat.S_ISREG(os.stat(self.p("d/locks")).st_mode))

    def test_a_room_ends_with_its_directory(self):
        r, w = os.pipe()

        def outlive():
            os.mkdir(self.p("d/mine"))
            room = os.open(self.p("d/mine/@"), os.O_RDONLY)
            acl = os.open(self.p("d/mine/@/acl"), os.O_WRONLY | os.O_TRUNC)
            data = os.open(self.p("d/mine/@/data"), os.O_WRONLY)
            counter = os.open(self.p("d/mine/@/counter"), os.O_RDWR)
            os.rmdir(self.p("d/mine"))
            os.write(w, b".")
            wait_for(lambda: os.path.exists(self.p("d/mine")), what="the successor")
            errors = []
            for call in (lambda: os.write(acl, b"world:anyone:cdrwa\n") and os.close(acl),
                         lambda: os.write(data, b"x") and os.close(data),
                         lambda: os.write(counter, b"+1"),
                         lambda: os.pread(counter, 10, 0),
                         lambda: os.open("stat", os.O_RDONLY, dir_fd=room)):
                try:
                    call()
                    errors.append("none")
                except OSError as error:
                    errors.append(errno.errorcode[error.errno])
            return errors
        pid = os.fork()
        if pid == 0:  # the successor's maker
            os.close(w)
            os.read(r, 1)
            os.setgroups([])
            os.setgid(BOB)
            os.setuid(BOB)
            os.mkdir(self.p("d/mine"), 0o755)
            os._exit(0)
        errors = self.by(ALICE, outlive)
        os.waitpid(pid, 0)
        os.close(r)
        os.close(w)
        self.assertNotIn("none", errors)
        self.assertEqual(os.stat(self.p("d/mine")).st_mode & 0o777, 0o755)
        self.assertEqual(read(self.p("d/mine/@/data")), "")


if __name__ == "__main__":
    unittest.main()
