"""Conversations on which it is not plain where one connection ends and the next begins, or who began it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

from made_captures import ACK, FIN, PSH, RST, SYN, A, B, Packet, framed, tcp, udp

SECOND = 1_000_000
A6, GROUP6 = "fe80::1", "ff02::fb"

#: Seconds, whether from A, flags, sequence number, acknowledgement, bytes of payload.
Step = tuple[float, bool, int, int, int, int]


def talk(*steps: Step, ports: tuple[int, int] = (40_000, 443), hosts: tuple[str, str] = (A, B)) -> list[Packet]:
    """A TCP conversation between A and B, as Ethernet frames."""
    there, back = (hosts[0], ports[0], hosts[1], ports[1]), (hosts[1], ports[1], hosts[0], ports[0])
    ends = {True: there, False: back}
    return framed(
        [
            Packet(round(at * SECOND), tcp(*ends[up], flags, size, seq=seq, ack=ack))
            for at, up, flags, seq, ack, size in steps
        ]
    )


def dns(*, answer: bool = False, questions: int = 1, opcode: int = 0) -> bytes:
    flags = answer << 15 | opcode << 11
    return struct.pack(">6H", 7, flags, questions, 0, 0, 0) + b"\3www\0\0\1\0\1"


def ntp(mode: int) -> bytes:
    return bytes([4 << 3 | mode]) + bytes(47)


def datagrams(*steps: tuple[float, bool, bytes], ends=(A, 40_000, B, 53)) -> list[Packet]:
    """UDP datagrams: seconds, whether from the first of the two ends, payload."""
    turned = (*ends[2:], *ends[:2])
    return framed([Packet(round(at * SECOND), udp(*(ends if up else turned), payload=data)) for at, up, data in steps])


def half_close_from_the_middle() -> list[Packet]:
    return talk(
        (0, True, ACK, 1000, 5000, 0),
        (0.001, False, FIN | ACK, 5000, 1000, 0),
        (0.4, True, PSH | ACK, 1000, 5001, 823),
        (7.4, True, PSH | ACK, 1823, 5001, 619),
    )


def lost_before_a_fin() -> list[Packet]:
    return talk(
        (0, True, PSH | ACK, 1000, 5000, 1078),
        (0.7, False, FIN | ACK, 6191, 2078, 0),
        (11.1, True, PSH | ACK, 2525, 6192, 1227),
    )


def lost_before_a_syn_ack() -> list[Packet]:
    return talk(
        (0, True, SYN, 999, 0, 0),
        (0.4, True, PSH | ACK, 1000, 5000, 417),
        (0.9, False, ACK, 5000, 3580, 0),
        (13.4, True, PSH | ACK, 4953, 5000, 1352),
    )


def acknowledged_but_not_answered() -> list[Packet]:
    """A SYN that is answered by an acknowledgement of something else, as where a port is used again."""
    return talk(
        (0, True, SYN, 999, 0, 0),
        (0.1, False, ACK, 77_000, 50_000, 0),
        (8, True, SYN, 999, 0, 0),
        (8.1, False, SYN | ACK, 4999, 1000, 0),
        (8.2, True, PSH | ACK, 1000, 5000, 100),
    )


def closed_and_used_again() -> list[Packet]:
    steps: list[Step] = []
    for start, seq in ((0, 999), (1.5, 50_999), (9, 7_999)):
        steps += [
            (start, True, SYN, seq, 0, 0),
            (start + 0.1, False, SYN | ACK, 4999, seq + 1, 0),
            (start + 0.2, True, PSH | ACK, seq + 1, 5000, 100),
            (start + 0.3, False, PSH | ACK | FIN, 5000, seq + 101, 200),
            (start + 0.4, True, ACK, seq + 101, 5201, 0),
            (start + 0.5, True, FIN | ACK, seq + 101, 5201, 0),
            (start + 0.6, False, ACK, 5201, seq + 102, 0),
        ]
    return talk(*steps)


def data_after_a_reset() -> list[Packet]:
    return talk(
        (0, True, SYN, 999, 0, 0),
        (0.1, False, SYN | ACK, 4999, 1000, 0),
        (0.2, True, PSH | ACK, 1000, 5000, 100),
        (0.3, False, RST, 5000, 0, 0),
        (3, True, PSH | ACK, 1100, 5000, 50),
        (6, True, PSH | ACK, 1150, 5000, 60),
        (9, True, PSH | ACK, 1210, 5000, 70),
    )


def cut_to_headers() -> list[Packet]:
    """A close, and data after it, of which the payload was not captured."""
    return [
        Packet(p.time, p.data, 54)
        for p in talk(
            (0, True, SYN, 999, 0, 0),
            (0.1, False, SYN | ACK, 4999, 1000, 0),
            (0.2, True, PSH | ACK, 1000, 5000, 100),
            (0.3, False, PSH | ACK | FIN, 5000, 1000, 200),
            (0.4, True, FIN | ACK, 1100, 5201, 0),
            (6, False, PSH | ACK, 5201, 1000, 50),
            (12, False, PSH | ACK, 5251, 1000, 60),
        )
    ]


def answer_after_no_message() -> list[Packet]:
    """DNS takes the first message that it can read, not the first datagram, for what tells who asks."""
    return datagrams(
        (0, True, b"\0\0\0\0"),
        (0.1, True, dns(answer=True)),
        (0.2, False, dns()),
        (0.3, True, dns(answer=True)),
    )


def answer_after_a_question() -> list[Packet]:
    return datagrams((0, True, dns()), (0.1, True, dns(answer=True)), (0.2, False, dns(answer=True)))


def multicast_answers_with_a_pause() -> list[Packet]:
    ends = (A6, 5353, GROUP6, 5353)
    return datagrams(*((at, True, dns(answer=True, questions=0)) for at in (0, 1, 3, 30, 31, 33, 60)), ends=ends)


def many_questions_with_a_pause() -> list[Packet]:
    """A message with more questions than Zeek believes ends its DNS analyzer, and what that does after 10 s."""
    ends = (A6, 5353, GROUP6, 5353)
    return datagrams(*((at, True, dns(questions=40)) for at in (0, 1, 3, 30, 57, 58)), ends=ends)


def ntp_turned_round() -> list[Packet]:
    """Two servers that ask each other."""
    return datagrams(
        *((0, True, ntp(3)), (0.1, False, ntp(4)), (1, False, ntp(3)), (1.1, True, ntp(4)), (2, True, ntp(3))),
        ends=(A, 123, B, 123),
    )


def one_time_in_the_future() -> list[Packet]:
    times = [i / 1000 + (157_680_000 if i == 4 else 0) for i in range(12)]
    return datagrams(*((at, i % 2 == 0, bytes(100 + i)) for i, at in enumerate(times)), ends=(A, 50_000, B, 9999))


def empty_record() -> list[Packet]:
    packets = datagrams(*((i / 1000, i % 2 == 0, bytes(100 + i)) for i in range(12)), ends=(A, 50_000, B, 9999))
    return [*packets[:5], Packet(4_500, b""), *packets[5:]]


def pause_after_lookups(count: int) -> list[Packet]:
    """So many DNS lookups within a second, multicast answers, half a minute of nothing, and the next answer."""
    packets = []
    for number in range(count):
        ends = (f"10.0.{number >> 8}.{number & 255}", 40_000, "10.9.9.9", 53)
        start = number / count
        packets += datagrams((start, True, dns()), (start + 0.0005, False, dns(answer=True)), ends=ends)
    answers = ((at, True, dns(answer=True, questions=0)) for at in (1.5, 1.6, 28.6))
    packets += datagrams(*answers, ends=(A6, 5353, GROUP6, 5353))
    return sorted(packets, key=lambda p: p.time)


def pause_after_many_lookups() -> list[Packet]:
    return pause_after_lookups(400)


def pause_after_few_lookups() -> list[Packet]:
    return pause_after_lookups(200)


SESSIONS: dict[str, Callable[[], list[Packet]]] = {
    each.__name__: each
    for each in (
        half_close_from_the_middle, lost_before_a_fin, lost_before_a_syn_ack, acknowledged_but_not_answered,
        closed_and_used_again, data_after_a_reset, cut_to_headers, answer_after_no_message, answer_after_a_question,
        multicast_answers_with_a_pause, many_questions_with_a_pause, ntp_turned_round, one_time_in_the_future,
        empty_record, pause_after_many_lookups, pause_after_few_lookups,
    )
}  # fmt: skip

_PAUSES = (0.001, 0.001, 0.3, 0.3, 0.9, 2.9, 3.1, 4.9, 5, 5.1, 6.5, 9, 9.5, 11, 27, 59, 60, 61, 100, 299, 301)
_FLAGS = (
    *(SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, ACK, PSH | ACK, PSH | ACK, PSH | ACK, FIN | ACK, FIN | ACK, FIN | ACK),
    *(RST, RST | ACK, FIN, FIN | SYN, FIN | RST, 0, SYN | RST),
)
_TCP_PORTS = ((40_000, 443), (40_000, 4444), (22, 443), (80, 443), (40_000, 22), (2222, 40_000))
_UDP_PORTS = (
    *((40_000, 53), (5353, 5353), (53, 40_000), (137, 137), (53, 5353)),
    *((123, 123), (40_000, 123), (123, 40_000), (40_000, 9999)),
)


def _pause(rng: random.Random) -> float:
    return rng.choice(_PAUSES[: rng.choice((5, 14, len(_PAUSES)))])


def random_tcp(rng: random.Random, hosts: tuple[str, str] = (A, B)) -> list[Packet]:
    """A conversation that mostly goes as TCP does: of each side, now and then packets are lost, repeated or make no
    sense."""
    at, steps = 0.0, []
    seq = {True: rng.choice((999, 0xFFFFFF00, 5_000_000)), False: rng.choice((4999, 0, 0xFFFFFFF0))}
    plan = rng.choice(((SYN, SYN | ACK, ACK), (SYN,), (SYN | ACK, ACK), ()))
    for index in range(rng.randint(2, 14)):
        up = index % 2 == 0 if index < len(plan) else rng.random() < 0.5
        flags = plan[index] if index < len(plan) else rng.choice(_FLAGS if rng.random() < 0.5 else _FLAGS[4:13])
        size = rng.choice((0, 1, 100, 700, 1400)) if flags & PSH or rng.random() < 0.2 else 0
        if rng.random() < 0.1:
            seq[up] += rng.choice((1, 700, 20_000, -100))
        here = seq[up] + (rng.choice((-1, 1, 100)) if rng.random() < 0.05 else 0)
        ack = seq[not up] + (rng.choice((-100, 1, 5_000)) if rng.random() < 0.1 else 0)
        steps.append((at, up, flags, here, ack & 0xFFFFFFFF if flags & ACK else 0, size))
        if rng.random() < 0.95:
            seq[up] += size + (flags & SYN != 0) + (flags & FIN != 0)
        at += _pause(rng)
    cut = rng.random() < 0.2
    packets = talk(*steps, ports=rng.choice(_TCP_PORTS), hosts=hosts)
    return [Packet(p.time, p.data, 54 if cut or rng.random() < 0.02 else None) for p in packets]


def random_udp(rng: random.Random, hosts: tuple[str, str] = (A, B)) -> list[Packet]:
    at, steps = 0.0, []
    for index in range(rng.randint(2, 12)):
        data = rng.choice(
            (dns(), dns(), dns(answer=True), dns(answer=True), dns(opcode=2), dns(questions=40), ntp(3), ntp(4), ntp(1),
             ntp(3)[:20], b"", b"\1\2", bytes(rng.choice((30, 3000))))
        )  # fmt: skip
        steps.append((at, index == 0 or rng.random() < 0.6, data))
        at += _pause(rng)
    ports = rng.choice(_UDP_PORTS)
    return datagrams(*steps, ends=(hosts[0], ports[0], hosts[1], ports[1]))


def many(seed: int, count: int) -> Iterator[list[Packet]]:
    """Conversations of random packets, each between hosts of its own."""
    rng = random.Random(seed)
    for number in range(count):
        kind = rng.choice((random_tcp, random_tcp, random_udp))
        tail = f"{number >> 16}.{number >> 8 & 255}.{number & 255}"
        to_group = kind is random_udp and rng.random() < 0.3
        tail6 = f"{number:x}"
        hosts = (f"fe80::{tail6}", "ff02::fb") if to_group else (f"10.{tail}", f"172.{tail}")
        yield kind(rng, hosts if rng.random() < 0.5 or to_group else hosts[::-1])
