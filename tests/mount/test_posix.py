"""POSIX on the mount, by system call. What is refused is listed in Refused, each with its reason.

As root and as two other users; every call does what POSIX says or fails with the right errno.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
from harness import ClusterTest, sh, wait_for  # noqa: E402

ALICE, BOB, GROUP = 1001, 1002, 2000
MAX_BYTES = 1_048_575 - 16_384
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(source, target, flags):
    if _libc.renameat2(AT_FDCWD, source.encode(), AT_FDCWD, target.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


class Posix(ClusterTest):
    nodes = 1

    def setUp(self):
        super().setUp()
        os.chmod(self.p(), 0o777)
        self.umask = os.umask(0o022)

    def tearDown(self):
        os.umask(self.umask)

    def p(self, *names):
        return self.dir(self.n1, *names)

    def write(self, name, text="x", mode=0o644):
        fd = os.open(self.p(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        os.write(fd, text.encode())
        os.close(fd)
        return self.p(name)

    def read(self, name):
        with open(self.p(name), "rb") as f:
            return f.read().decode()

    def mkdir(self, name, mode=0o755, owner=None):
        os.mkdir(self.p(name))
        os.chmod(self.p(name), mode)
        if owner is not None:
            os.chown(self.p(name), owner, owner)
        return self.p(name)

    def fails(self, number, call, *args, **options):
        with self.assertRaises(OSError) as caught:
            call(*args, **options)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[number])

    def by(self, uid, call, *args, groups=(), gid=None):
        """The call as another user; what it gives, or its OSError."""
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                os.setgroups(list(groups))
                os.setgid(uid if gid is None else gid)
                os.setuid(uid)
                result = call(*args)
                os.write(w, repr(result).encode()[:4000])
            except OSError as error:
                code = error.errno
            os._exit(code)
        os.close(w)
        with os.fdopen(r) as out:
            text = out.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            raise OSError(code, os.strerror(code))
        return text


class Open(Posix):
    def test_creates_with_mode_and_umask(self):
        os.umask(0o027)
        os.close(os.open(self.p("f"), os.O_CREAT | os.O_WRONLY, 0o666))
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o640)
        os.umask(0)
        for mode in (0o000, 0o400, 0o755, 0o777, 0o604, 0o1644):
            os.close(os.open(self.p(f"m{mode}"), os.O_CREAT | os.O_WRONLY, mode))
            self.assertEqual(stat.S_IMODE(os.stat(self.p(f"m{mode}")).st_mode), mode, oct(mode))

    def test_excl(self):
        self.write("f")
        os.symlink("nowhere", self.p("l"))
        os.mkdir(self.p("d"))
        for name in "fld":
            self.fails(errno.EEXIST, os.open, self.p(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY)

    def test_one_of_many_wins_excl(self):
        won = []

        def attempt():
            try:
                os.close(os.open(self.p("race"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                won.append(1)
            except FileExistsError:
                pass
        threads = [threading.Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(won), 1)

    def test_kinds(self):
        self.write("f")
        os.mkdir(self.p("d"))
        os.symlink("f", self.p("l"))
        os.symlink("loop", self.p("loop"))
        self.fails(errno.EISDIR, os.open, self.p("d"), os.O_WRONLY)
        self.fails(errno.EISDIR, os.open, self.p("d"), os.O_CREAT | os.O_WRONLY)
        self.fails(errno.ENOTDIR, os.open, self.p("f"), os.O_RDONLY | os.O_DIRECTORY)
        self.fails(errno.ENOTDIR, os.open, self.p("f", "x"), os.O_RDONLY)
        self.fails(errno.ELOOP, os.open, self.p("l"), os.O_RDONLY | os.O_NOFOLLOW)
        self.fails(errno.ELOOP, os.open, self.p("loop"), os.O_RDONLY)
        self.fails(errno.ENOENT, os.open, self.p("none"), os.O_RDONLY)
        self.fails(errno.ENOENT, os.open, self.p("none", "x"), os.O_CREAT | os.O_WRONLY)
        os.symlink("made", self.p("dangling"))
        os.close(os.open(self.p("dangling"), os.O_CREAT | os.O_WRONLY))
        self.assertTrue(os.path.exists(self.p("made")))

    def test_access_modes(self):
        path = self.write("f", "abc")
        fd = os.open(path, os.O_RDONLY)
        self.fails(errno.EBADF, os.write, fd, b"x")
        self.fails(errno.EINVAL, os.ftruncate, fd, 0)
        os.close(fd)
        fd = os.open(path, os.O_WRONLY)
        self.fails(errno.EBADF, os.read, fd, 1)
        os.close(fd)
        self.assertEqual(self.read("f"), "abc")

    def test_permissions(self):
        self.write("f", mode=0o640)
        os.chown(self.p("f"), ALICE, GROUP)
        self.by(ALICE, os.open, self.p("f"), os.O_RDWR)
        self.by(BOB, os.open, self.p("f"), os.O_RDONLY, groups=[GROUP])
        for uid, flags, groups in ((BOB, os.O_WRONLY, [GROUP]), (BOB, os.O_RDONLY, [])):
            with self.assertRaises(PermissionError):
                self.by(uid, os.open, self.p("f"), flags, groups=groups)
        os.chmod(self.p("f"), 0o004)  # the first class that fits decides
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.open, self.p("f"), os.O_RDONLY)
        self.by(BOB, os.open, self.p("f"), os.O_RDONLY)
        self.mkdir("closed", 0o700)
        self.write("closed/f", mode=0o666)
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.open, self.p("closed/f"), os.O_RDONLY)
        self.mkdir("noadd", 0o755)
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.open, self.p("noadd/f"), os.O_CREAT | os.O_WRONLY)

    def test_trunc(self):
        self.write("f", "something")
        os.close(os.open(self.p("f"), os.O_WRONLY | os.O_TRUNC))
        self.assertEqual(os.stat(self.p("f")).st_size, 0)
        self.write("g", "something", 0o444)
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.open, self.p("g"), os.O_WRONLY | os.O_TRUNC)
        self.assertEqual(self.read("g"), "something")

    def test_append(self):
        self.write("f", "ab")
        fd = os.open(self.p("f"), os.O_RDWR | os.O_APPEND)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"cd")
        self.assertEqual(os.pread(fd, 10, 0), b"abcd")
        os.close(fd)
        self.assertEqual(self.read("f"), "abcd")

    def test_sync(self):
        for flag in (os.O_SYNC, os.O_DSYNC):
            fd = os.open(self.p("f"), os.O_WRONLY | os.O_CREAT | flag)
            os.write(fd, b"now")
            self.assertEqual(self.read("f"), "now")
            os.close(fd)

    def test_names(self):
        for name in ("n" * 255, "é" * 127, "日本語", "with space", "-rf", "a\\b", "#", "~", "..."):
            self.write(name, name)
            self.assertEqual(self.read(name), name)
            self.assertIn(name, os.listdir(self.p()))
            os.unlink(self.p(name))
        self.fails(errno.ENAMETOOLONG, os.open, self.p("n" * 256), os.O_CREAT | os.O_WRONLY)
        self.fails(errno.ENAMETOOLONG, os.mkdir, self.p("n" * 256))
        self.fails(errno.ENAMETOOLONG, os.stat, self.p("n" * 256))


class ReadAndWrite(Posix):
    def test_offsets_and_holes(self):
        fd = os.open(self.p("f"), os.O_RDWR | os.O_CREAT)
        os.pwrite(fd, b"end", 100_000)
        os.pwrite(fd, b"begin", 0)
        self.assertEqual(os.lseek(fd, 0, os.SEEK_END), 100_003)
        self.assertEqual(os.pread(fd, 10, 0), b"begin" + b"\0" * 5)
        self.assertEqual(os.pread(fd, 10, 100_000), b"end")
        self.assertEqual(os.pread(fd, 10, 200_000), b"")
        os.close(fd)
        with open(self.p("f"), "rb") as f:
            self.assertEqual(f.read(), b"begin" + b"\0" * 99_995 + b"end")

    def test_two_handles(self):
        self.write("f", "0123456789")
        one, two = (os.open(self.p("f"), os.O_RDWR) for _ in range(2))
        os.pwrite(one, b"A", 0)
        os.fsync(one)
        self.fails(errno.ESTALE, lambda: (os.pwrite(two, b"B", 9), os.fsync(two)))
        os.close(one)
        self.fails(errno.ESTALE, os.close, two)
        self.assertEqual(self.read("f"), "A123456789")

    def test_dup_and_fork_share_the_offset(self):
        fd = os.open(self.p("f"), os.O_RDWR | os.O_CREAT)
        other = os.dup(fd)
        os.write(fd, b"one ")
        os.write(other, b"two ")
        pid = os.fork()
        if pid == 0:
            os.write(fd, b"three")
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(fd)
        os.close(other)
        self.assertEqual(self.read("f"), "one two three")

    def test_vectors(self):
        fd = os.open(self.p("f"), os.O_RDWR | os.O_CREAT)
        self.assertEqual(os.writev(fd, [b"ab", b"", b"cde"]), 5)
        parts = [bytearray(2), bytearray(3)]
        self.assertEqual(os.preadv(fd, parts, 0), 5)
        self.assertEqual(parts, [b"ab", b"cde"])
        os.close(fd)

    def test_largest_file(self):
        data = os.urandom(MAX_BYTES)
        with open(self.p("f"), "wb") as f:
            f.write(data)
        with open(self.p("f"), "rb") as f:
            self.assertEqual(f.read(), data)
        fd = os.open(self.p("f"), os.O_WRONLY | os.O_APPEND)
        self.fails(errno.EFBIG, os.write, fd, b"x")
        os.close(fd)
        fd = os.open(self.p("g"), os.O_WRONLY | os.O_CREAT)
        self.fails(errno.EFBIG, os.pwrite, fd, b"x", MAX_BYTES)
        os.close(fd)
        self.assertEqual(os.stat(self.p("g")).st_size, 0)

    def test_copy_file_range_and_sendfile(self):
        self.write("a", "0123456789")
        source = os.open(self.p("a"), os.O_RDONLY)
        target = os.open(self.p("b"), os.O_RDWR | os.O_CREAT)
        self.assertEqual(os.sendfile(target, source, 2, 4), 4)
        os.close(target)
        self.assertEqual(self.read("b"), "2345")
        os.close(source)

    def test_seek(self):
        self.write("f", "0123456789")
        fd = os.open(self.p("f"), os.O_RDONLY)
        self.assertEqual(os.lseek(fd, -3, os.SEEK_END), 7)
        self.assertEqual(os.read(fd, 10), b"789")
        self.assertEqual(os.lseek(fd, 2, os.SEEK_SET), 2)
        self.assertEqual(os.lseek(fd, 3, os.SEEK_CUR), 5)
        self.fails(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
        os.close(fd)

    def test_private_mapping(self):
        self.write("f", "mapped")
        with open(self.p("f"), "rb") as f:
            view = mmap.mmap(f.fileno(), 6, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            self.assertEqual(view[:], b"mapped")
            view[0:1] = b"M"
            view.close()
        self.assertEqual(self.read("f"), "mapped")

    def test_execution(self):
        path = self.write("script", "#!/bin/sh\necho ran $1\n", 0o755)
        self.assertEqual(sh(f"{path} it"), "ran it\n")
        os.chmod(path, 0o644)
        self.fails(errno.EACCES, os.execv, path, [path])


class Truncate(Posix):
    def test_shorter_and_longer(self):
        self.write("f", "0123456789")
        os.truncate(self.p("f"), 4)
        self.assertEqual(self.read("f"), "0123")
        os.truncate(self.p("f"), 6)
        self.assertEqual(self.read("f"), "0123\0\0")
        fd = os.open(self.p("f"), os.O_RDWR)
        os.ftruncate(fd, 2)
        self.assertEqual(os.pread(fd, 10, 0), b"01")
        os.close(fd)
        self.assertEqual(self.read("f"), "01")

    def test_errors(self):
        self.write("f", mode=0o644)
        os.mkdir(self.p("d"))
        self.fails(errno.EISDIR, os.truncate, self.p("d"), 0)
        self.fails(errno.ENOENT, os.truncate, self.p("none"), 0)
        self.fails(errno.EFBIG, os.truncate, self.p("f"), MAX_BYTES + 1)
        self.fails(errno.EINVAL, os.truncate, self.p("f"), -1)
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.truncate, self.p("f"), 0)
        self.assertEqual(self.read("f"), "x")

    def test_takes_setuid_away(self):
        self.write("f", "abc")
        os.chown(self.p("f"), ALICE, ALICE)
        os.chmod(self.p("f"), 0o6777)
        self.by(BOB, os.truncate, self.p("f"), 1)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o777)
        self.assertEqual(self.read("f"), "a")

    def test_times(self):
        self.write("f", "abc")
        os.utime(self.p("f"), (1, 1))
        os.truncate(self.p("f"), 1)
        self.assertGreater(os.stat(self.p("f")).st_mtime, 1)


class Stat(Posix):
    def test_fields(self):
        self.write("f", "12345")
        st = os.stat(self.p("f"))
        self.assertEqual((st.st_size, st.st_nlink, st.st_uid, st.st_gid), (5, 1, 0, 0))
        self.assertTrue(stat.S_ISREG(st.st_mode))
        self.assertAlmostEqual(st.st_mtime, time.time(), delta=30)
        os.symlink("target", self.p("l"))
        self.assertEqual(os.lstat(self.p("l")).st_size, 6)
        self.assertTrue(stat.S_ISLNK(os.lstat(self.p("l")).st_mode))
        self.assertNotEqual(os.lstat(self.p("l")).st_ino, st.st_ino)

    def test_times_move_with_what_they_stand_for(self):
        self.write("f")
        before = os.stat(self.p("f"))
        time.sleep(0.01)
        os.chmod(self.p("f"), 0o600)
        after = os.stat(self.p("f"))
        self.assertEqual(after.st_mtime_ns, before.st_mtime_ns)
        self.assertGreater(after.st_ctime_ns, before.st_ctime_ns)
        time.sleep(0.01)
        self.write("f", "y")
        self.assertGreater(os.stat(self.p("f")).st_mtime_ns, after.st_mtime_ns)
        directory = os.stat(self.p()).st_mtime_ns
        self.write("new")
        self.assertGreater(os.stat(self.p()).st_mtime_ns, directory)

    def test_statfs(self):
        st = os.statvfs(self.p())
        data = os.statvfs(self.n1.data)
        self.assertEqual((st.f_namemax, st.f_frsize, st.f_blocks), (255, data.f_frsize, data.f_blocks))
        self.assertGreater(st.f_files, 1)
        self.assertTrue(st.f_flag & os.ST_NOSUID and st.f_flag & os.ST_NODEV)
        self.assertIn("zabfs", sh(f"df {self.p()}"))

    def test_access(self):
        self.write("f", mode=0o640)
        self.assertTrue(os.access(self.p("f"), os.R_OK | os.W_OK))
        self.assertFalse(os.access(self.p("f"), os.X_OK))
        self.assertEqual(self.by(ALICE, os.access, self.p("f"), os.R_OK), "False")
        os.chmod(self.p("f"), 0o644)
        self.assertEqual(self.by(ALICE, os.access, self.p("f"), os.R_OK), "True")


class Chmod(Posix):
    def test_all_bits(self):
        self.write("f")
        os.mkdir(self.p("d"))
        for mode in (0, 0o777, 0o1777, 0o2755, 0o4755, 0o6711, 0o421, 0o124, 0o602, 0o206):
            for name in "fd":
                os.chmod(self.p(name), mode)
                self.assertEqual(stat.S_IMODE(os.stat(self.p(name)).st_mode), mode, oct(mode))

    def test_who_may(self):
        self.write("f")
        os.chown(self.p("f"), ALICE, GROUP)
        self.by(ALICE, os.chmod, self.p("f"), 0o600)
        with self.assertRaises(PermissionError) as caught:
            self.by(BOB, os.chmod, self.p("f"), 0o666)
        self.assertEqual(caught.exception.errno, errno.EPERM)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o600)

    def test_setgid_of_a_group_that_one_is_not_in(self):
        self.write("f")
        os.chown(self.p("f"), ALICE, GROUP)
        self.by(ALICE, os.chmod, self.p("f"), 0o2755)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o755)
        self.by(ALICE, os.chmod, self.p("f"), 0o2755, groups=[GROUP])
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o2755)

    def test_fchmod(self):
        self.write("f")
        fd = os.open(self.p("f"), os.O_RDONLY)
        os.fchmod(fd, 0o606)
        self.assertEqual(stat.S_IMODE(os.fstat(fd).st_mode), 0o606)
        os.close(fd)

    def test_a_write_clears_setuid(self):
        self.write("f", mode=0o777)
        os.chown(self.p("f"), ALICE, ALICE)
        os.chmod(self.p("f"), 0o6777)

        def edit():
            fd = os.open(self.p("f"), os.O_WRONLY)
            os.write(fd, b"changed")
            os.close(fd)
        self.by(BOB, edit)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o777)


class Chown(Posix):
    def test_root(self):
        self.write("f")
        os.symlink("f", self.p("l"))
        os.chown(self.p("f"), ALICE, GROUP)
        self.assertEqual((os.stat(self.p("f")).st_uid, os.stat(self.p("f")).st_gid), (ALICE, GROUP))
        os.chown(self.p("f"), -1, 77)
        self.assertEqual((os.stat(self.p("f")).st_uid, os.stat(self.p("f")).st_gid), (ALICE, 77))
        os.lchown(self.p("l"), BOB, BOB)
        self.assertEqual(os.lstat(self.p("l")).st_uid, BOB)
        self.assertEqual(os.stat(self.p("l")).st_uid, ALICE)

    def test_others(self):
        self.write("f")
        os.chown(self.p("f"), ALICE, ALICE)
        self.by(ALICE, os.chown, self.p("f"), -1, GROUP, groups=[GROUP])
        self.assertEqual(os.stat(self.p("f")).st_gid, GROUP)
        for uid, gid in ((BOB, -1), (-1, 77)):
            with self.assertRaises(PermissionError):
                self.by(ALICE, os.chown, self.p("f"), uid, gid, groups=[GROUP])
        with self.assertRaises(PermissionError):
            self.by(BOB, os.chown, self.p("f"), -1, BOB)

    def test_clears_setuid(self):
        self.write("f", mode=0o777)
        os.chown(self.p("f"), ALICE, GROUP)
        os.chmod(self.p("f"), 0o6755)
        self.by(ALICE, os.chown, self.p("f"), -1, ALICE)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("f")).st_mode), 0o755)


class Utimens(Posix):
    def test_times(self):
        self.write("f")
        for ns in (0, 1, 1_234_567_890_123_456_789, 4_000_000_000_000_000_001):
            os.utime(self.p("f"), ns=(ns, ns))
            self.assertEqual(os.stat(self.p("f")).st_mtime_ns, ns)
        os.utime(self.p("f"))
        self.assertAlmostEqual(os.stat(self.p("f")).st_mtime, time.time(), delta=30)
        os.symlink("f", self.p("l"))
        os.utime(self.p("l"), (5, 5), follow_symlinks=False)
        self.assertEqual(os.lstat(self.p("l")).st_mtime, 5)
        os.mkdir(self.p("d"))
        os.utime(self.p("d"), (7, 7))
        self.assertEqual(os.stat(self.p("d")).st_mtime, 7)

    def test_before_1970(self):
        self.write("f")
        os.utime(self.p("f"), (-100, -100))
        self.assertEqual(os.stat(self.p("f")).st_mtime, -100)

    def test_who_may(self):
        self.write("f")
        os.chown(self.p("f"), ALICE, ALICE)
        os.chmod(self.p("f"), 0o646)
        self.by(ALICE, os.utime, self.p("f"), (1, 1))
        self.by(BOB, os.utime, self.p("f"))  # now: who may write may
        with self.assertRaises(PermissionError) as caught:
            self.by(BOB, os.utime, self.p("f"), (1, 1))
        self.assertEqual(caught.exception.errno, errno.EPERM)
        os.chmod(self.p("f"), 0o644)
        with self.assertRaises(PermissionError) as caught:
            self.by(BOB, os.utime, self.p("f"))
        self.assertEqual(caught.exception.errno, errno.EACCES)


class Mkdir(Posix):
    def test_mode_and_errors(self):
        os.umask(0o077)
        os.mkdir(self.p("d"), 0o1777)
        self.assertEqual(stat.S_IMODE(os.stat(self.p("d")).st_mode), 0o1700)
        self.write("f")
        for name in "df":
            self.fails(errno.EEXIST, os.mkdir, self.p(name))
        self.fails(errno.ENOTDIR, os.mkdir, self.p("f", "x"))
        self.fails(errno.ENOENT, os.mkdir, self.p("none", "x"))
        self.mkdir("noadd", 0o755)
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.mkdir, self.p("noadd/x"))

    def test_setgid_is_inherited(self):
        self.mkdir("g", 0o2777)
        os.chown(self.p("g"), 0, GROUP)
        os.chmod(self.p("g"), 0o2777)
        self.by(ALICE, os.mkdir, self.p("g/d"))
        self.by(ALICE, lambda: os.close(os.open(self.p("g/f"), os.O_CREAT | os.O_WRONLY)))
        self.by(ALICE, os.symlink, "x", self.p("g/l"))
        self.assertEqual([os.lstat(self.p("g", n)).st_gid for n in "dfl"], [GROUP] * 3)
        self.assertTrue(os.stat(self.p("g/d")).st_mode & stat.S_ISGID)
        self.assertFalse(os.stat(self.p("g/f")).st_mode & stat.S_ISGID)

    def test_deep(self):
        path = self.p()
        while len(path) + 60 < len(self.n1.mount) + 4_000:
            path = os.path.join(path, "d" * 50)
            os.mkdir(path)
        sh(f"rm -r {self.p('d' * 50)}")


class Rmdir(Posix):
    def test_errors(self):
        self.write("f")
        os.mkdir(self.p("d"))
        self.write("d/f")
        self.fails(errno.ENOTDIR, os.rmdir, self.p("f"))
        self.fails(errno.ENOTEMPTY, os.rmdir, self.p("d"))
        self.fails(errno.ENOENT, os.rmdir, self.p("none"))
        self.fails(errno.EINVAL, os.rmdir, self.p("d", "."))
        os.symlink("d", self.p("l"))
        self.fails(errno.ENOTDIR, os.rmdir, self.p("l"))
        with self.assertRaises(OSError) as caught:
            os.rmdir(self.n1.mount)
        # The kernel first asks whether the directory under the mount is immutable.
        self.assertIn(caught.exception.errno, (errno.EPERM, errno.EBUSY))
        os.unlink(self.p("d/f"))
        os.rmdir(self.p("d"))

    def test_a_directory_that_somebody_is_in(self):
        self.mkdir("d")
        fd = os.open(self.p("d"), os.O_RDONLY)
        os.rmdir(self.p("d"))
        self.assertEqual((os.listdir(fd), os.fstat(fd).st_nlink), ([], 0))
        self.fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        os.close(fd)


class Unlink(Posix):
    def test_errors(self):
        os.mkdir(self.p("d"))
        self.fails(errno.EISDIR, os.unlink, self.p("d"))
        self.fails(errno.ENOENT, os.unlink, self.p("none"))
        self.write("f")
        self.fails(errno.ENOTDIR, os.unlink, self.p("f", "x"))

    def test_open_files_stay_readable(self):
        self.write("f", "still here")
        fd = os.open(self.p("f"), os.O_RDONLY)
        os.unlink(self.p("f"))
        self.assertEqual(os.read(fd, 100), b"still here")
        st = os.fstat(fd)
        self.assertEqual((st.st_nlink, st.st_size), (0, 10))
        self.write("f", "another")
        self.assertEqual(os.pread(fd, 100, 0), b"still here")
        os.close(fd)
        self.assertEqual(self.read("f"), "another")

    def test_a_writer_of_an_unlinked_file_never_writes_to_its_successor(self):
        self.write("f", "old")
        fd = os.open(self.p("f"), os.O_WRONLY)
        os.unlink(self.p("f"))
        self.write("f", "new")
        os.write(fd, b"x")
        os.fsync(fd)
        os.close(fd)
        self.assertEqual(self.read("f"), "new")

    def test_sticky(self):
        self.mkdir("t", 0o1777)

        def make(name):
            os.close(os.open(self.p("t", name), os.O_CREAT | os.O_WRONLY, 0o666))
        self.by(ALICE, make, "a")
        for call in (lambda: os.unlink(self.p("t/a")), lambda: os.rename(self.p("t/a"), self.p("t/b"))):
            with self.assertRaises(PermissionError):
                self.by(BOB, call)
        self.by(ALICE, os.unlink, self.p("t/a"))


class Rename(Posix):
    def test_kinds(self):
        def fresh():
            sh(f"cd {self.p()} && rm -rf * && mkdir dir empty && echo x > dir/x && echo f > file && "
               f"ln -s file link")
        for source, target, number in (
                ("file", "new", 0), ("dir", "new", 0), ("link", "new", 0), ("file", "link", 0),
                ("link", "file", 0), ("dir", "empty", 0), ("empty", "dir", errno.ENOTEMPTY),
                ("file", "dir", errno.EISDIR), ("dir", "file", errno.ENOTDIR),
                ("dir", "dir/below", errno.EINVAL), ("none", "new", errno.ENOENT),
                ("file", "none/new", errno.ENOENT), ("file", "file", 0), ("dir", "dir", 0),
                ("dir/x", "dir", errno.ENOTEMPTY)):
            fresh()
            with self.subTest(source=source, target=target):
                if number:
                    with self.assertRaises(OSError) as caught:
                        os.rename(self.p(source), self.p(target))
                    accepted = {number, errno.EEXIST if number == errno.ENOTEMPTY else number,
                                errno.EISDIR if source == "dir/x" else number}
                    self.assertIn(caught.exception.errno, accepted)
                else:
                    before = os.lstat(self.p(source))
                    os.rename(self.p(source), self.p(target))
                    self.assertEqual(os.path.lexists(self.p(source)), source == target)
                    self.assertEqual(stat.S_IFMT(os.lstat(self.p(target)).st_mode),
                                     stat.S_IFMT(before.st_mode))

    def test_flags(self):
        self.write("a", "A")
        self.write("b", "B")
        self.fails(errno.EEXIST, renameat2, self.p("a"), self.p("b"), RENAME_NOREPLACE)
        renameat2(self.p("a"), self.p("c"), RENAME_NOREPLACE)
        renameat2(self.p("b"), self.p("c"), RENAME_EXCHANGE)
        self.assertEqual((self.read("b"), self.read("c")), ("A", "B"))
        self.fails(errno.ENOENT, renameat2, self.p("b"), self.p("none"), RENAME_EXCHANGE)
        self.fails(errno.EINVAL, renameat2, self.p("b"), self.p("c"), RENAME_WHITEOUT)
        self.fails(errno.EINVAL, renameat2, self.p("b"), self.p("c"), RENAME_NOREPLACE | RENAME_EXCHANGE)
        self.mkdir("d")
        self.write("d/x")
        renameat2(self.p("d"), self.p("b"), RENAME_EXCHANGE)
        self.assertEqual(os.listdir(self.p("b")), ["x"])
        self.assertEqual(self.read("d"), "A")

    def test_permissions(self):
        self.mkdir("closed", 0o755)
        self.mkdir("open", 0o777)
        self.write("closed/f")
        self.by(ALICE, lambda: os.close(os.open(self.p("open/g"), os.O_CREAT | os.O_WRONLY)))
        for source, target in (("closed/f", "open/f"), ("open/g", "closed/g")):
            with self.assertRaises(PermissionError):
                self.by(ALICE, os.rename, self.p(source), self.p(target))

    def test_open_handles_follow(self):
        self.write("f", "one")
        fd = os.open(self.p("f"), os.O_RDWR)
        os.rename(self.p("f"), self.p("g"))
        os.pwrite(fd, b"two", 0)
        os.close(fd)
        self.assertEqual(self.read("g"), "two")
        self.assertFalse(os.path.exists(self.p("f")))

    def test_directories_move_with_what_is_in_them(self):
        sh(f"cd {self.p()} && mkdir -p a/b/c && echo deep > a/b/c/f && mkdir other")
        fd = os.open(self.p("a/b"), os.O_RDONLY)
        os.rename(self.p("a"), self.p("other/a"))
        self.assertEqual(self.read("other/a/b/c/f"), "deep\n")
        self.assertEqual(os.stat("c/f", dir_fd=fd).st_size, 5)
        os.close(fd)
        os.rename(self.p("other/a/b"), self.p("b"))
        self.assertEqual(self.read("b/c/f"), "deep\n")

    def test_races(self):
        """Many rename and remove the same names: no error but those that say who was faster."""
        wrong = []

        def churn(seed):
            names = [self.p(f"r{i}") for i in range(4)]
            for i in range(60):
                a, b = names[(i * seed) % 4], names[(i + seed) % 4]
                try:
                    if i % 3 == 0:
                        with open(a, "w") as f:
                            f.write("x")
                    elif i % 3 == 1:
                        os.rename(a, b)
                    else:
                        os.unlink(a)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno != errno.ESTALE:
                        wrong.append(error)
        threads = [threading.Thread(target=churn, args=(s,)) for s in (1, 3, 5, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Symlink(Posix):
    def test_targets(self):
        for target in ("x", "a/b/c", "/absolute", "t" * 4000, "with space"):
            os.symlink(target, self.p("l"))
            self.assertEqual(os.readlink(self.p("l")), target)
            os.unlink(self.p("l"))

    def test_errors(self):
        self.write("f")
        self.fails(errno.EEXIST, os.symlink, "x", self.p("f"))
        self.fails(errno.EINVAL, os.readlink, self.p("f"))
        self.fails(errno.ENOENT, os.readlink, self.p("none"))
        os.symlink("f", self.p("l"))
        self.assertEqual(self.read("l"), "x")
        os.unlink(self.p("l"))
        self.assertEqual(self.read("f"), "x")


class Directories(Posix):
    def test_a_listing_that_changes(self):
        for i in range(300):
            os.close(os.open(self.p(f"f{i:03}"), os.O_CREAT | os.O_WRONLY))
        seen = []
        with os.scandir(self.p()) as entries:
            for n, entry in enumerate(entries):
                seen.append(entry.name)
                if n < 100:
                    os.unlink(self.p(entry.name))
                    self.write(f"new{n}")
        self.assertEqual(len(seen), len(set(seen)))
        self.assertLessEqual({f"f{i:03}" for i in range(300)}, set(seen))

    def test_seekdir_and_telldir(self):
        names = {f"n{i}" for i in range(200)}
        for name in names:
            os.mkdir(self.p(name))
        _libc.opendir.restype = ctypes.c_void_p
        _libc.readdir.restype = ctypes.c_void_p
        _libc.telldir.restype = ctypes.c_long
        directory = ctypes.c_void_p(_libc.opendir(self.p().encode()))

        def next_name():
            entry = _libc.readdir(directory)
            return ctypes.string_at(entry + 19).decode() if entry else None
        order, places = [], []
        while True:
            places.append(_libc.telldir(directory))
            name = next_name()
            if name is None:
                break
            order.append(name)
        self.assertEqual(set(order) - {".", ".."}, names)
        for i in (150, 3, 99, 0, 201):
            _libc.seekdir(directory, ctypes.c_long(places[i]))
            self.assertEqual(next_name(), order[i])
        _libc.rewinddir(directory)
        self.assertEqual(next_name(), order[0])
        _libc.closedir(directory)

    def test_dot_and_dot_dot(self):
        self.mkdir("d")
        self.assertEqual(os.stat(self.p("d", "..")).st_ino, os.stat(self.p()).st_ino)
        self.assertEqual(sh(f"ls -a {self.p('d')}").split(), [".", ".."])

    def test_entry_types(self):
        self.write("f")
        os.mkdir(self.p("d"))
        os.symlink("x", self.p("l"))
        kinds = {e.name: (e.is_file(follow_symlinks=False), e.is_dir(follow_symlinks=False), e.is_symlink())
                 for e in os.scandir(self.p())}
        self.assertEqual(kinds, {"f": (True, False, False), "d": (False, True, False),
                                 "l": (False, False, True)})
        self.assertEqual({e.name: e.inode() for e in os.scandir(self.p())},
                         {n: os.lstat(self.p(n)).st_ino for n in "fdl"})

    def test_permissions(self):
        self.mkdir("d", 0o711)
        self.write("d/f")
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.listdir, self.p("d"))
        self.by(ALICE, os.stat, self.p("d/f"))
        self.mkdir("e", 0o744)
        self.write("e/f")
        self.by(ALICE, os.listdir, self.p("e"))
        with self.assertRaises(PermissionError):
            self.by(ALICE, os.stat, self.p("e/f"))


class FirstLock(Posix):
    def test_through_a_handle_that_is_older(self):
        self.write("f")

        def read_lock():
            fcntl.lockf(os.open(self.p("f"), os.O_RDONLY), fcntl.LOCK_SH)

        def is_free():
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
        self.by(0, read_lock)
        fd = os.open(self.p("f"), os.O_RDWR)
        self.addCleanup(os.close, fd)
        wait_for(is_free, 20, "the end of a dead process's lock")


class Locks(Posix):
    def test_fcntl_whole_file(self):
        self.write("f")
        one = os.open(self.p("f"), os.O_RDWR)
        fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def attempt(kind):
            fd = os.open(self.p("f"), os.O_RDWR)
            fcntl.lockf(fd, kind | fcntl.LOCK_NB)
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            with self.assertRaises(BlockingIOError):
                self.by(0, attempt, kind)
        fcntl.lockf(one, fcntl.LOCK_SH)
        self.by(0, attempt, fcntl.LOCK_SH)
        os.close(os.open(self.p("f"), os.O_RDONLY))  # any close by the owner drops it
        self.by(0, attempt, fcntl.LOCK_EX)
        os.close(one)

    def test_getlk_tells_of_a_holder(self):
        self.write("f")
        fd = os.open(self.p("f"), os.O_RDWR)
        wanted = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)

        def look():
            other = os.open(self.p("f"), os.O_RDWR)
            return struct.unpack("hhqqi", fcntl.fcntl(other, fcntl.F_GETLK, wanted))[0]
        self.assertEqual(self.by(0, look), str(fcntl.F_UNLCK))
        fcntl.lockf(fd, fcntl.LOCK_SH)
        self.assertEqual(self.by(0, look), str(fcntl.F_RDLCK))
        fcntl.lockf(fd, fcntl.LOCK_EX)
        self.assertEqual(self.by(0, look), str(fcntl.F_WRLCK))
        os.close(fd)

    def test_as_people_write_them(self):
        path = self.write("f")
        sh(f"flock {path} true; flock -s {path} -c true; exec 9>>{path}; flock 9; "
           f"! flock -n {path} true; ! flock -w 0.2 {path} true; flock -u 9; flock -n {path} true")
        sh(f"perl -e 'use Fcntl \":flock\"; open(F, \">>\", \"{path}\"); flock(F, LOCK_EX) or die; "
           f"system(\"flock -n {path} true\") and exit 0; die'")
        sh(f"""python3 -c '
import fcntl, subprocess
f = open("{path}", "a")
fcntl.flock(f, fcntl.LOCK_EX)
assert subprocess.call(["flock", "-n", "{path}", "true"]) == 1
'""")


class Refused(Posix):
    """What zabfs does not do, and says so."""

    # A znode has one path; a device of one machine means nothing on the others.
    def test_hard_links_and_devices(self):
        self.write("f")
        self.fails(errno.EPERM, os.link, self.p("f"), self.p("g"))
        for kind in (stat.S_IFCHR, stat.S_IFBLK):
            self.fails(errno.EPERM, os.mknod, self.p("n"), kind | 0o600, 0)
        os.mknod(self.p("n"), stat.S_IFREG | 0o600)  # a plain file is one

    # Only this node would know of them; whole files are locked cluster-wide.
    def test_byte_ranges(self):
        self.write("f")
        fd = os.open(self.p("f"), os.O_RDWR)
        self.fails(errno.ENOLCK, fcntl.lockf, fd, fcntl.LOCK_EX, 10, 5)
        self.assertIn("byte-range lock", self.n1.log_text())
        os.close(fd)

    # What is written through one has no close that could commit it.
    def test_shared_writable_mappings(self):
        self.write("f")
        with open(self.p("f"), "r+b") as f:
            self.fails(errno.ENODEV, mmap.mmap, f.fileno(), 1, flags=mmap.MAP_SHARED,
                       prot=mmap.PROT_READ | mmap.PROT_WRITE)

    # ZooKeeper's clients must be able to name every file.
    def test_names_that_zookeeper_has_not(self):
        for name in (b"\xff\xfe", b"a\x01b", b"\x7f", "\ue000".encode(), "\ufff5".encode()):
            for call in (os.mkdir, lambda n: os.open(n, os.O_CREAT | os.O_WRONLY),
                         lambda n: os.symlink(b"x", n)):
                self.fails(errno.EINVAL, call, os.path.join(self.p().encode(), name))
        self.fails(errno.EINVAL, os.rename, self.write("f"), self.p("a\x01b"))

    # There is no place for others in a znode.
    def test_extended_attributes_are_the_stat(self):
        self.write("f")
        self.assertEqual(os.listxattr(self.p("f")), [])
        self.assertEqual(os.getxattr(self.p("f"), "user.zabfs.version"), b"1")
        self.fails(errno.EOPNOTSUPP, os.setxattr, self.p("f"), "user.mine", b"x")
        self.fails(errno.ENODATA, os.getxattr, self.p("f"), "user.mine")
        for name in ("system.posix_acl_access", "security.selinux", "trusted.mine"):
            self.fails(errno.EOPNOTSUPP, os.getxattr, self.p("f"), name)
        self.fails(errno.EOPNOTSUPP, os.removexattr, self.p("f"), "user.zabfs.version")

    # Nothing is allocated before it is committed; glibc's posix_fallocate writes zeros instead.
    def test_preallocation(self):
        self.write("f")
        fd = os.open(self.p("f"), os.O_RDWR)
        if _libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(10)) != 0:
            self.assertEqual(ctypes.get_errno(), errno.EOPNOTSUPP)
        os.close(fd)


if __name__ == "__main__":
    unittest.main(verbosity=2)
