"""Records what comes by on an interface, until SIGTERM.

python record.py INTERFACE FILE
"""

from __future__ import annotations

import signal
import socket
import struct
import sys
import time


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    tap.bind((sys.argv[1], 0))
    with open(sys.argv[2], "wb", buffering=0) as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        while True:
            frame = tap.recv(65535)
            now = time.time_ns() // 1000
            out.write(struct.pack("<IIII", now // 1_000_000, now % 1_000_000, len(frame), len(frame)) + frame)


if __name__ == "__main__":
    main()
