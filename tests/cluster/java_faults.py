"""Known faults by which a server of Apache ZooKeeper 3.8.0 loses transactions, whoever leads it, and how
each shows itself in the server's log and on its disk. A run in which none of them shows is judged as
if all servers were zabfs's.

All of them are mended in later releases, and all happen in ensembles of ZooKeeper alone:

- ZOOKEEPER-4643, 4646: a learner that is killed after it wrote the epoch (4643) or acknowledged
  NEWLEADER (4646), and before its other thread wrote the DIFF. After the restart its history ends
  before the DIFF does. From outside the two can't be told apart: no line of its log stands between.
- ZOOKEEPER-4785: the same without a kill. The learner loses its leader in between, and its next
  election begins with a history that ends before the DIFF does.
- ZOOKEEPER-4394: a COMMIT between NEWLEADER and UPTODATE ends the synchronisation by a
  NullPointerException. zabfs's leader sends a Java server none there, so this counts only where the
  leader was Java's.
- ZOOKEEPER-4409: the thread that writes the log ends by a NullPointerException when the leader goes.
  What waits for it is never written. The server keeps it in memory, names the end of that as the end
  of its log, and is sent what follows: its log has a gap.
- ZOOKEEPER-5094: a TRUNC that is interrupted leaves memory ahead of the log, with the same end: a
  gap. Where no exception tells, 4409 and 5094 can't be told apart.
"""
import glob
import os
import re
import struct
import typing

HEADER_BYTES, TXN_HEADER = 16, struct.Struct(">qiqqi")
LINES = re.compile(
    r"Reading configuration from:(?P<started>)"
    r"|using address: [^/\n]*/(?P<leader>[\d.]+):"
    r"|Getting a diff from the leader 0x(?P<diff>[0-9a-f]+)"
    r"|Getting a snapshot from leader (?P<snapshot>)"
    r"|Truncating log to get in sync with the leader (?P<trunc>)"
    r"|Learner received NEWLEADER message(?P<acknowledged>)"
    r"|Snapshot loaded in \d+ ms, highest zxid is 0x(?P<loaded>[0-9a-f]+)"
    r"|New election\. My id = +\d+, proposed zxid=0x(?P<elects>[0-9a-f]+)"
    r"|NullPointerException.*\n\tat org\.apache\.zookeeper\.server\.quorum\."
    r"(?P<thrower>Learner\.syncWithLeader|SendAckRequestProcessor)\b")


class Fault(typing.NamedTuple):
    what: str
    at: int  # where in the log of the server it shows; all of it may be void, if that is 0


def faults_in(log, is_java):
    """`is_java`: whether the server with that address runs Java."""
    found = []
    leader, diff, acknowledged = None, None, None
    killed = False
    for line in LINES.finditer(log):
        kind = line.lastgroup
        if kind == "started":
            killed = True
        elif kind == "leader":
            leader, diff, acknowledged, killed = line["leader"], None, None, False
        elif kind == "diff":
            diff = int(line["diff"], 16)
        elif kind in ("snapshot", "trunc"):
            diff = acknowledged = None
        elif kind == "acknowledged":
            acknowledged = diff
        elif kind in ("loaded", "elects"):
            end = int(line[kind], 16)
            if acknowledged is not None and end < acknowledged:
                issue = "ZOOKEEPER-4643 or 4646" if killed else "ZOOKEEPER-4785"
                found.append(Fault(f"{issue}: it acknowledged a DIFF to 0x{acknowledged:x}, and "
                                   f"then had no more than 0x{end:x}", line.start()))
                acknowledged = None
        elif line["thrower"] == "SendAckRequestProcessor":
            found.append(Fault("ZOOKEEPER-4409: the thread that writes its log ended",
                               line.start()))
        elif leader is not None and is_java(leader):
            found.append(Fault("ZOOKEEPER-4394: its synchronisation with a Java leader ended",
                               line.start()))
    return found


def logged_zxids(directory):
    """Of the files of its transaction log, in their order."""
    names = glob.glob(os.path.join(directory, "version-2", "log.*"))
    for name in sorted(names, key=lambda name: int(name.rsplit(".", 1)[1], 16)):
        with open(name, "rb") as file:
            data = file.read()
        at = HEADER_BYTES
        while at + 12 <= len(data):
            size = struct.unpack_from(">i", data, at + 8)[0]
            if size <= 0:
                break
            yield TXN_HEADER.unpack_from(data, at + 12)[2]
            at += 12 + size + 1


def gaps_in(zxids):
    """(a, b): b comes behind a, and what was between them in their epoch is not there."""
    before = None
    for zxid in zxids:
        if before is not None and zxid >> 32 == before >> 32 and zxid > before + 1:
            yield before, zxid
        before = zxid


def gap_faults(zxids, number, logs):
    """Gaps in the log of server `number` that no leader of ours made. One of ours names the end of the
    log that a learner claims, and sends what follows: a gap behind that end is a fault of ours."""
    said = {int(end, 16) for log in logs for end in
            re.findall(rf"sends server {number}, whose log ends at 0x([0-9a-f]+), DIFF", log)}
    return [Fault(f"ZOOKEEPER-4409 or 5094: behind 0x{before:x} its log goes on at 0x{after:x}", 0)
            for before, after in gaps_in(zxids) if before not in said]
