"""Listings that go on in the middle: another handle's place, a directory that changes, a cache that
the kernel lost half of."""
import ctypes
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cluster"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop"))
from harness import ClusterTest  # noqa: E402
import raw  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class Directory:
    def __init__(self, path):
        self.handle = libc.opendir(path.encode())

    def read(self, limit=None):
        names = []
        while limit is None or len(names) < limit:
            entry = libc.readdir(self.handle)
            if not entry:
                break
            names.append(entry.contents.name.decode())
        return names

    def tell(self):
        return libc.telldir(self.handle)

    def seek(self, place):
        libc.seekdir(self.handle, place)

    def close(self):
        libc.closedir(self.handle)


class Listings(ClusterTest):
    nodes = 1

    def setUp(self):
        super().setUp()
        self.directory = self.dir(self.n1)
        self.names = {f"entry-{i:05}" for i in range(3000)}
        for name in self.names:
            os.close(os.open(os.path.join(self.directory, name), os.O_CREAT | os.O_WRONLY))

    def test_a_place_holds_in_another_handle(self):
        first = Directory(self.directory)
        begin = first.read(1000)
        place = first.tell()
        second = Directory(self.directory)
        second.seek(place)
        self.assertEqual(set(begin) | set(second.read()), self.names | {".", ".."})
        self.assertEqual(len(begin) + len(first.read()), 3002)
        first.close()
        second.close()

    def test_what_stays_is_listed_once_while_the_rest_changes(self):
        handle = Directory(self.directory)
        seen = handle.read(500)
        for i in range(0, 3000, 3):
            os.unlink(os.path.join(self.directory, f"entry-{i:05}"))
        for i in range(500):
            os.mkdir(os.path.join(self.directory, f"new-{i}"))
        place = handle.tell()
        seen += handle.read()
        handle.close()
        later = Directory(self.directory)
        later.seek(place)
        seen_later = seen[:500] + later.read()
        later.close()
        stay = {name for name in self.names if int(name[6:]) % 3}
        for listing in (seen, seen_later):
            self.assertEqual(len(listing), len(set(listing)))
            self.assertEqual(stay - set(listing), set())

    def test_a_cached_listing_whose_pages_the_kernel_dropped(self):
        os.listdir(self.directory)
        for _ in range(3):
            handle = Directory(self.directory)
            seen = handle.read(1000)
            with open("/proc/sys/vm/drop_caches", "w") as f:
                f.write("1")
            seen += handle.read()
            handle.close()
            self.assertEqual(sorted(seen), sorted(self.names | {".", ".."}))
            self.assertEqual(set(os.listdir(self.directory)), self.names)


class AHundredThousand(ClusterTest):
    nodes = 1
    COUNT = 100_000

    def test_a_directory_of_a_hundred_thousand_entries(self):
        path = f"/{self.name}"
        os.chmod(self.dir(self.n1), 0o777)  # the client below does not authenticate
        session = raw.Session(("127.0.0.1", self.n1.client_port))
        for first in range(0, self.COUNT, 4000):
            names = [f"entry-{i:06}" for i in range(first, min(first + 4000, self.COUNT))]
            answer = session.request(raw.MULTI, raw.multi([
                (raw.CREATE, raw.create(f"{path}/{name}", b"x")) for name in names]))
            self.assertEqual(answer[2], 0)
        session.socket.close()
        expected = {f"entry-{i:06}" for i in range(self.COUNT)}
        for _ in range(2):  # from the tree, then from the kernel's cache
            listed = os.listdir(self.dir(self.n1))
            self.assertEqual((len(listed), set(listed) == expected), (self.COUNT, True))
        with os.scandir(self.dir(self.n1)) as entries:
            self.assertTrue(all(entry.is_file() for entry in entries))
        os.unlink(self.dir(self.n1, "entry-050000"))
        self.assertEqual(len(os.listdir(self.dir(self.n1))), self.COUNT - 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
