"""What ZooKeeper clients did and saw, and what of that ZooKeeper does not allow.

The clients write to registers, each with the version that it read, and every value is written once.
So each write has one place in the one order that zxids give, and the rules are simple:
- a version of a register has one value, which somebody tried to write and was not refused;
- writes are linearizable: one that was acknowledged before another began has the smaller zxid;
- a session never sees less than it has seen before, at whatever server;
- behind a sync a client sees what had been acknowledged before the sync began;
- nothing that was acknowledged is lost at the end.
"""
import bisect
import collections
import threading
import typing

Seen = collections.namedtuple("Seen", "version value mzxid")


class Write(typing.NamedTuple):
    """One that was acknowledged."""
    key: str
    seen: Seen
    began: float
    ended: float


class Read(typing.NamedTuple):
    key: str
    seen: Seen
    began: float  # of the sync before it, if there was one
    synced: bool
    floor: int  # the greatest zxid that its session had seen before
    who: str


def epoch(zxid):
    return zxid >> 32


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.writes, self.reads = [], []
        self.attempts, self.refused = set(), set()

    def attempt(self, value):
        with self.lock:
            self.attempts.add(value)

    def refuse(self, value):
        with self.lock:
            self.refused.add(value)

    def add(self, done):
        with self.lock:
            (self.writes if isinstance(done, Write) else self.reads).append(done)

    def violations(self, at_the_end, stale_epochs=()):
        """`at_the_end`: what each register holds, a Seen by its name. `stale_epochs`: those whose
        leader may answer a sync although another one leads already, as Java's does."""
        return (self.values(at_the_end) + self.lost(at_the_end) + self.out_of_order() +
                self.back_in_time() + self.stale(stale_epochs))

    def values(self, at_the_end):
        found, wrong = {}, []
        everything = [(done.key, done.seen) for done in self.writes + self.reads]
        for key, seen in everything + list(at_the_end.items()):
            first = found.setdefault((key, seen.version), seen)
            if first != seen:
                wrong.append(f"version {seen.version} of {key} is both {first} and {seen}")
            if seen.version > 0 and seen.value not in self.attempts:
                wrong.append(f"nobody wrote {seen} to {key}")
            if seen.value in self.refused:
                wrong.append(f"{seen} of {key} had been refused")
        by_key = collections.defaultdict(list)
        for (key, version), seen in found.items():
            by_key[key].append((version, seen.mzxid))
        for key, versions in by_key.items():
            versions.sort()
            for (_, before), (version, mzxid) in zip(versions, versions[1:]):
                if mzxid <= before:
                    wrong.append(f"version {version} of {key} has zxid 0x{mzxid:x}, the one before "
                                 f"it 0x{before:x}")
        return wrong

    def lost(self, at_the_end):
        return [f"version {write.seen.version} of {write.key} was acknowledged and is lost: {write}"
                for write in self.writes if at_the_end[write.key].version < write.seen.version]

    def out_of_order(self):
        wrong = []
        ended = sorted(self.writes, key=lambda write: write.ended)
        passed, newest = 0, None
        for write in sorted(self.writes, key=lambda write: write.began):
            while passed < len(ended) and ended[passed].ended < write.began:
                if newest is None or ended[passed].seen.mzxid > newest.seen.mzxid:
                    newest = ended[passed]
                passed += 1
            if newest is not None and newest.seen.mzxid > write.seen.mzxid:
                wrong.append(f"{write} began behind {newest} and comes before it")
        return wrong

    def known_zxids(self):
        """Of each register, in order: all zxids at which it is known to have changed."""
        zxids = collections.defaultdict(set)
        for done in self.writes + self.reads:
            zxids[done.key].add(done.seen.mzxid)
        return {key: sorted(of_key) for key, of_key in zxids.items()}

    def back_in_time(self):
        zxids, wrong = self.known_zxids(), []
        for read in self.reads:
            of_key = zxids[read.key]
            must = bisect.bisect_right(of_key, read.floor)
            if must > 0 and read.seen.mzxid < of_key[must - 1]:
                wrong.append(f"{read} is older than what its session had seen: "
                             f"0x{of_key[must - 1]:x}")
        return wrong

    def stale(self, stale_epochs):
        by_key, wrong = collections.defaultdict(list), []
        for write in self.writes:
            by_key[write.key].append(write)
        for read in self.reads:
            before = [write for write in by_key[read.key] if write.ended < read.began]
            newest = max(before, key=lambda write: write.seen.mzxid, default=None)
            if not read.synced or newest is None or newest.seen.mzxid <= read.seen.mzxid:
                continue
            led = range(epoch(read.seen.mzxid), epoch(newest.seen.mzxid) + 1)
            if not any(one in stale_epochs for one in led):
                wrong.append(f"behind a sync {read} does not see {newest}")
        return wrong
