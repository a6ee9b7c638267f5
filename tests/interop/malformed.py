"""Malformed requests, by rule and not by chance: of every request a valid body, that body cut at each
byte, and each of its fields replaced by what a decoder has to think about.

A body is a list of fields; a field is a pair of its kind and its value:
  ("int", 5) ("long", 5) ("bool", True) ("str", "/a") ("buf", b"x") ("vec", [[fields], [fields]])
"""
import struct

import raw
from raw import i32, i64

INTS = (-2**31, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 31, 32, 2**31 - 1)
LONGS = (-2**63, -1, 0, 1, 2**40, 2**63 - 1)
LENGTHS = (-2**31, -3, -2, -1, 0, 1, 2_200_000, 2**31 - 1)  # 2,200,000: more than Java reads
NOT_UTF8 = (b"\xff\xfe", b"\xc3", b"\xed\xa0\x80")
STRINGS = (None, "", "a", "/", "/a/", "//", "/a\0b", *(b"/" + bad for bad in NOT_UTF8))
TAILS = (b"\0", b"\xff" * 4, b"\0" * 9)


def encode(fields):
    """The bytes, and where lengths are: (offset, the bytes that are counted)."""
    data, lengths = b"", []
    for kind, value in fields:
        if kind == "int":
            data += i32(value)
        elif kind == "long":
            data += i64(value)
        elif kind == "bool":
            data += bytes([value])
        elif kind == "vec":
            lengths.append(len(data))
            data += i32(len(value))
            for element in value:
                inner, places = encode(element)
                lengths += [len(data) + place for place in places]
                data += inner
        else:
            lengths.append(len(data))
            data += raw.buf(value)
    return data, lengths


def replaced(fields):
    """The fields with one of them different, at any depth."""
    for i, (kind, value) in enumerate(fields):
        others = []
        if kind == "int":
            others = INTS
        elif kind == "long":
            others = LONGS
        elif kind == "bool":
            others = (2, 255)
        elif kind in ("str", "buf"):
            others = STRINGS
        for other in others:
            if other != value:
                yield fields[:i] + [(kind, other)] + fields[i + 1:]
        if kind == "vec":
            yield fields[:i] + [("buf", None)] + fields[i + 1:]
            yield fields[:i] + [("vec", [])] + fields[i + 1:]
            for j, element in enumerate(value):
                for inner in replaced(element):
                    yield (fields[:i] + [("vec", value[:j] + [inner] + value[j + 1:])]
                           + fields[i + 1:])


def variants(fields, tails=TAILS):
    """(what was done, bytes) of the valid body and of all that is made of it."""
    data, lengths = encode(fields)
    yield "whole", data
    for size in range(len(data)):
        yield f"cut to {size}", data[:size]
    for place in lengths:
        (right,) = struct.unpack(">i", data[place:place + 4])
        rest = len(data) - place - 4
        for wrong in sorted({*LENGTHS, right - 1, right + 1, rest, rest + 1} - {right}):
            yield f"length {wrong} at {place}", data[:place] + i32(wrong) + data[place + 4:]
    for other in replaced(fields):
        yield f"fields {other}", encode(other)[0]
    for tail in tails:
        yield f"followed by {tail!r}", data + tail


def acl(*entries):
    return ("vec", [[("int", perms), ("str", scheme), ("str", who)]
                    for perms, scheme, who in entries])


def paths(*names):
    return ("vec", [[("str", name)] for name in names])


OPEN = acl((31, "world", "anyone"))


def bodies(path, new):
    """(type, fields) of each request; `path` is there, `new` is not."""
    created = [("str", new), ("buf", b"xy"), OPEN]
    named, watch = [("str", path)], ("bool", True)
    return [
        (raw.CREATE, created + [("int", 0)]),
        (raw.CREATE, [("str", new), ("buf", None),
                      acl((1, "world", "anyone"), (31, "digest", "a:b")), ("int", 2)]),
        (raw.CREATE2, created + [("int", 0)]),
        (raw.CREATE_CONTAINER, created + [("int", 4)]),
        (raw.CREATE_TTL, created + [("int", 5), ("long", 100_000)]),
        (raw.DELETE, named + [("int", -1)]),
        (raw.SET_DATA, named + [("buf", b"xy"), ("int", -1)]),
        (raw.SET_ACL, named + [OPEN, ("int", -1)]),
        (raw.CHECK, named + [("int", -1)]),
        (raw.EXISTS, named + [watch]),
        (raw.GET_DATA, named + [watch]),
        (raw.GET_ACL, named),
        (raw.GET_CHILDREN, named + [watch]),
        (raw.GET_CHILDREN2, named + [watch]),
        (raw.SYNC, named),
        (raw.PING, []),
        (raw.RECONFIG, [("str", None), ("str", None), ("str", "server.1=h:1:2"), ("long", -1)]),
        (raw.CHECK_WATCHES, named + [("int", 3)]),
        (raw.REMOVE_WATCHES, named + [("int", 3)]),
        (raw.SET_WATCHES, [("long", 1 << 62), paths(path), paths(new), paths(path)]),
        (raw.SET_WATCHES2, [("long", 1 << 62), paths(path), paths(), paths(path), paths(path),
                            paths(path)]),
        (raw.ADD_WATCH, named + [("int", 0)]),
        (raw.GET_EPHEMERALS, named),
        (raw.GET_ALL_CHILDREN_NUMBER, named),
        (raw.WHO_AM_I, []),
        (raw.AUTH, [("int", 0), ("str", "digest"), ("buf", b"m:n")]),
        (raw.CLOSE, []),
    ]


HELLO = [("int", 0), ("long", 0), ("int", 20_000), ("long", 0), ("buf", b"\0" * 16),
         ("bool", False)]
KNOWN = {kind for kind, _ in bodies("/a", "/b")} | {raw.MULTI, raw.MULTI_READ}
IN_MULTI = (raw.CREATE, raw.CREATE2, raw.CREATE_CONTAINER, raw.CREATE_TTL, raw.DELETE,
            raw.SET_DATA, raw.CHECK, raw.SET_ACL)
IN_MULTI_READ = (raw.GET_DATA, raw.GET_CHILDREN, raw.EXISTS)


def header(kind, done=False, error=-1):
    return [("int", kind), ("bool", done), ("int", error)]


END = i32(-1) + b"\1" + i32(-1)


def requests(path, new):
    """(what, type, body) of every malformed request, and of the valid ones they are made of."""
    singles = bodies(path, new)
    for kind, fields in singles:
        for what, data in variants(fields):
            yield f"{what} of {kind}", kind, data
    for outer, inside in ((raw.MULTI, IN_MULTI), (raw.MULTI_READ, IN_MULTI_READ)):
        for kind, fields in singles:
            if kind not in inside:
                continue
            good = next(encode(header(k) + f)[0] for k, f in singles
                        if k == (raw.SET_DATA if outer == raw.MULTI else raw.GET_DATA))
            for what, data in variants(header(kind) + fields):
                yield f"{what} of {kind}, in {outer}", outer, data + END
                yield f"{what} of {kind}, second in {outer}", outer, good + data + good + END
        for what, data in variants(header(-1, True)):
            yield f"{what} of the end of {outer}", outer, data
    for kind in [*range(-14, 31), *range(98, 110), *range(9000, 9007), 2**31 - 1, -2**31]:
        if kind not in [k for k, _ in singles]:
            for data in (b"", encode([("str", path)])[0]):
                yield f"type {kind} with {data!r}", kind, data
