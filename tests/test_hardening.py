"""How the binaries are built: what an attacker who finds a fault in them still has to overcome."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "cluster"))
from harness import ZABFS, ZABFSD  # noqa: E402

ENDBR64 = bytes.fromhex("f30f1efa")  # where an indirect call or jump may land, on x86-64


def readelf(options, binary):
    return subprocess.run(["readelf", *options, binary], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


class Hardening(unittest.TestCase):
    def each(self):
        for binary in (ZABFSD, ZABFS):
            with self.subTest(binary=os.path.basename(binary)):
                yield binary

    def test_its_addresses_are_not_known(self):
        for binary in self.each():
            self.assertRegex(readelf(["-hW"], binary), r"Type: +DYN ")
            self.assertRegex(readelf(["-dW"], binary), r"FLAGS_1.*\bPIE\b")

    def test_what_is_linked_is_read_only_before_it_runs(self):
        for binary in self.each():
            self.assertRegex(readelf(["-lW"], binary), r"GNU_RELRO")
            self.assertRegex(readelf(["-dW"], binary), r"FLAGS.*\b(BIND_)?NOW\b")

    def test_nothing_is_both_writable_and_code(self):
        for binary in self.each():
            segments = re.findall(r"^ +(LOAD|GNU_STACK) .* (R?) ?(W?)(E?) +0x", readelf(["-lW"], binary), re.M)
            self.assertIn("GNU_STACK", [kind for kind, *_ in segments])
            for _, _, writable, code in segments:
                self.assertFalse(writable and code)
            self.assertNotIn("TEXTREL", readelf(["-dW"], binary))

    def test_libraries_are_the_systems(self):
        for binary in self.each():
            self.assertNotRegex(readelf(["-dW"], binary), r"R(UN)?PATH")

    def test_the_stack_is_guarded_and_copies_are_checked(self):
        for binary in self.each():
            symbols = readelf(["--dyn-syms", "-W"], binary)
            self.assertIn("__stack_chk_fail", symbols)
        self.assertRegex(readelf(["--dyn-syms", "-W"], ZABFSD), r"__(mem|str|snprintf|read)\w*_chk")

    def test_control_flow_is_protected(self):
        if os.uname().machine != "x86_64":
            self.assertIn("BTI", readelf(["-nW"], ZABFSD))
            return
        for binary in self.each():
            functions = len(re.findall(r" FUNC +(LOCAL|GLOBAL|WEAK) .* [0-9]+ ", readelf(["-sW"], binary)))
            with open(binary, "rb") as f:
                self.assertGreater(f.read().count(ENDBR64), functions // 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
