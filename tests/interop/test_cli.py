"""Typed sessions of ZooKeeper's own command lines, zkCli.sh and the C client's, on zabfsd and on Java's
server: they print the same.
"""
import os
import re
import select
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from servers import Java, Zabfs  # noqa: E402
from harness import die_with_parent  # noqa: E402

SETTINGS = ["4lw.commands.whitelist=*", "extendedTypesEnabled=true", "enforceQuota=true"]
ZKCLI = ["/usr/share/zookeeper/bin/zkCli.sh", "-server"]
ZKCLI_TYPED = """
create /a hello
get -s /a
set /a world
set -v 0 /a stale
get /a
stat /a
create -s /a/s- one
create -s /a/s- two
create -e /a/e mine
create -c /box
create -t 100000 /ttl x
create /no/parent x
ls /a
ls -s /a
ls -R /
getAcl /a
setAcl /a world:anyone:r
getAcl -s /a
create /a/denied x
addauth digest u:p
create /private secret auth::cdrwa
getAcl /private
get /private
whoami
getEphemerals
getAllChildrenNumber /
create /q x
setquota -n 5 /q
listquota /q
setquota -N 2 /q
create /q/one
create /q/two
delquota /q
sync /a
history
stat /nothing
delete /a
deleteall /box
delete /private
removewatches /nothing
config
quit
"""


C_CLI = ["stdbuf", "-oL", "/usr/lib/zookeeper/bin/cli_mt"]
C_CLI_TYPED = """
create /a
set /a hello world
get /a
create2 /b
create +e /e
create +s /s-
create +es /es-
create +c /box
create +t=100000 /ttl
create /no/parent
ls /
ls2 /a
exists /a
exists /none
wexists /w
create /w
set /w other
set /none x
delete /none
delete /b
sync /a
addauth digest u:p
aget /a
aset /a again
als /
acreate /async
adelete /async
aexists /none
get /zookeeper/config
delete /w
"""


def comparable_c(text):
    """The answers to one command. The client's own threads print, so lines have no fixed order."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"time = \d+ msec|Got a new session id: 0x[0-9a-f]+|session Id = [0-9a-f]+",
                      "?", line)
        line = re.sub(r"([cm]time ?=).*", r"\1?", line)
        line = re.sub(r"ephemeralOwner = [1-9a-f][0-9a-f]{4,}", "ephemeralOwner = us", line)
        # A standalone server of Java's stays in epoch 0.
        line = re.sub(r"([cm]zxid=)10{5,7}(?=[0-9a-f]{1,3}$)", r"\1", line)
        if line and "ZOO_" not in line:
            lines.append(line)
    return sorted(lines)


def comparable(text):
    """Without what differs between any two runs: times, session ids, log lines, addresses."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip()
        if re.match(r"(\d{4}-\d\d-\d\d|\[main|Connecting|Welcome|JLine|log4j|SLF4J|Watcher|WATCHER|"
                    r"\[zk:|Picked up|Session|Got a new|.*ZOO_|exit|\s*$)", line):
            continue
        if re.match(r"[cm]time", line):
            continue
        line = re.sub(r"ephemeralOwner = 0x[0-9a-f]{2,}", "ephemeralOwner = us", line)
        line = re.sub(r"0x1[0-9a-f]{8}\b", lambda m: hex(int(m.group(), 16) & 0xffffffff), line)
        line = re.sub(r"([cm]time=|ephemeralOwner=|zxid=)\S+", r"\1?", line)
        line = re.sub(r"(session.*?)0x[0-9a-f]+", r"\1?", line, flags=re.IGNORECASE)
        lines.append(line)
    return lines


class CommandLines(unittest.TestCase):
    maxDiff = None

    def typed(self, server, command, text):
        process = subprocess.run(command + [f"127.0.0.1:{server.port}"], input=text, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                                 preexec_fn=die_with_parent)
        return comparable(process.stdout)

    def compare(self, command, text, at_least):
        outputs = []
        for kind in (Java, Zabfs):
            with kind(SETTINGS) as server:
                outputs.append(self.typed(server, command, text))
        self.assertEqual(outputs[0], outputs[1])
        self.assertGreater(len(outputs[0]), at_least)

    def typed_in_c(self, server):
        """The answers, command by command: the next is typed when the last has been quiet."""
        process = subprocess.Popen(C_CLI + [f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   preexec_fn=die_with_parent)

        def until_quiet():
            text = b""
            while select.select([process.stdout], [], [], 0.5)[0]:
                more = os.read(process.stdout.fileno(), 65536)
                if not more:
                    break
                text += more
            return comparable_c(text.decode())

        answers = [("", until_quiet())]
        for command in C_CLI_TYPED.strip().splitlines():
            process.stdin.write(command.encode() + b"\n")
            process.stdin.flush()
            answers.append((command, until_quiet()))
        process.communicate(b"quit\n", 20)
        return answers

    def test_c_client(self):
        answers = []
        for kind in (Java, Zabfs):
            with kind(SETTINGS) as server:
                answers.append(self.typed_in_c(server))
        self.assertEqual(answers[0], answers[1])
        self.assertGreater(sum(len(lines) for _, lines in answers[0]), 60)

    def test_zkcli(self):
        self.compare(ZKCLI, ZKCLI_TYPED, 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
