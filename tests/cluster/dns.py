"""A name server: answers on the addresses after `--`, and is silent on those before.

    dns.py ZONE SILENT... -- ANSWERING...

ZONE is a JSON file of names and their IPv4 address, read at each question; a name with null is never
answered, one that isn't there does not exist.
"""
import json
import select
import socket
import struct
import sys


def answer(question, zone):
    number, labels, place = question[:2], [], 12
    while question[place]:
        length = question[place]
        labels.append(question[place + 1:place + 1 + length].decode())
        place += 1 + length
    kind, = struct.unpack(">H", question[place + 1:place + 3])
    asked = question[12:place + 5]
    name = ".".join(labels)
    if name not in zone:
        return number + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + asked  # NXDOMAIN
    if zone[name] is None:
        return None
    if kind != 1:  # only A is there
        return number + struct.pack(">HHHHH", 0x8180, 1, 0, 0, 0) + asked
    return (number + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + asked +
            struct.pack(">HHHIH", 0xc00c, 1, 1, 0, 4) + socket.inet_aton(zone[name]))


def main():
    zone_file, *addresses = sys.argv[1:]
    sockets = {}
    for address in addresses:
        if address != "--":
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((address, 53))
            sockets[s] = addresses.index(address) > addresses.index("--")
    print("ready", flush=True)
    while True:
        for s in select.select(list(sockets), [], [])[0]:
            question, sender = s.recvfrom(4096)
            if not sockets[s]:
                continue
            with open(zone_file) as f:
                reply = answer(question, json.load(f))
            if reply:
                s.sendto(reply, sender)


if __name__ == "__main__":
    main()
