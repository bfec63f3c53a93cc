"""Where one connection ends and the next begins, and who began it. tests/zeek holds the same captures against Zeek."""

from __future__ import annotations

import io

import pytest
from made_captures import ACK, FIN, PSH, RST, START, SYN, pcap
from made_sessions import SECOND, SESSIONS, many, talk

from mmtt_agent.capture import read_capture

#: Of each connection: when it begins (s), originator's and responder's port, packets of each.
CONNECTIONS = {
    # Half closed, or reset by one side, a connection goes on.
    "half_close_from_the_middle": [(0, 40_000, 443, 3, 1)],
    "lost_before_a_fin": [(0, 40_000, 443, 2, 1)],
    # A SYN that nobody has answered is given up after 5 s; acknowledgements are no answer.
    "lost_before_a_syn_ack": [(0, 40_000, 443, 2, 1), (13.4, 40_000, 443, 1, 0)],
    "acknowledged_but_not_answered": [(0, 40_000, 443, 1, 1), (8, 40_000, 443, 2, 1)],
    "closed_and_used_again": [(0, 40_000, 443, 4, 3), (1.5, 40_000, 443, 4, 3), (9, 40_000, 443, 4, 3)],
    "data_after_a_reset": [(0, 40_000, 443, 3, 2), (6, 40_000, 443, 2, 0)],
    "cut_to_headers": [(0, 40_000, 443, 3, 4)],
    "answer_after_no_message": [(0, 53, 40_000, 2, 2)],
    "answer_after_a_question": [(0, 40_000, 53, 2, 1)],
    "multicast_answers_with_a_pause": [(0, 5353, 5353, 3, 0), (30, 5353, 5353, 3, 0), (60, 5353, 5353, 1, 0)],
    "many_questions_with_a_pause": [(0, 5353, 5353, 6, 0)],
    "ntp_turned_round": [(0, 123, 123, 1, 4)],
    "one_time_in_the_future": [(0, 50_000, 9999, 2, 2), (157_680_000.004, 50_000, 9999, 4, 4)],
    "empty_record": [(0, 50_000, 9999, 6, 6)],
}


def connections(packets) -> list[tuple[float, int, int, int, int]]:
    found = read_capture(io.BytesIO(pcap(packets)), name="x.pcap").connections
    return list(
        zip(
            ((found.ts - START) / SECOND).tolist(), found.orig_p.tolist(), found.resp_p.tolist(),
            found.orig_pkts.tolist(), found.resp_pkts.tolist(), strict=True,
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", CONNECTIONS)
def test_connections_are_cut_as_zeek_cuts_them(name):
    assert connections(SESSIONS[name]()) == CONNECTIONS[name]


@pytest.mark.parametrize(
    ("name", "answers"), [("pause_after_few_lookups", [(1.5, 2), (28.6, 1)]), ("pause_after_many_lookups", [(1.5, 3)])]
)
def test_answers_after_a_pause_find_their_connection_where_zeek_has_many_timers_to_run_first(name, answers):
    found = connections(SESSIONS[name]())
    assert [(begin, packets) for begin, port, _, packets, _ in found if port == 5353] == answers


#: A TCP conversation, and which of its connections have failed 20 seconds later, and 4 seconds later.
FAILED = {
    "answered": (
        [(0, True, SYN, 1, 0, 0), (0.1, False, SYN | ACK, 9, 2, 0), (9, True, ACK, 2, 10, 0)],
        [False],
        [False],
    ),
    "refused": ([(0, True, SYN, 1, 0, 0), (0.1, False, RST | ACK, 0, 2, 0)], [True], [True]),
    "reset after it was answered": (
        [(0, True, SYN, 1, 0, 0), (0.1, False, SYN | ACK, 9, 2, 0), (0.2, False, RST, 10, 2, 0)],
        [False],
        [False],
    ),
    "not answered": ([(0, True, SYN, 1, 0, 0)], [True], [False]),
    "only acknowledged": ([(0, True, SYN, 1, 0, 0), (0.1, False, ACK, 9, 2, 0)], [True], [False]),
    "sent again": ([(at, True, SYN, 1, 0, 0) for at in (0, 1, 3, 7)], [True, True], [True, False]),
    "sent again, and refused twice": (
        [step for at in (0, 0.5) for step in ((at, True, SYN, 1, 0, 0), (at + 0.1, False, RST | ACK, 0, 2, 0))],
        [True, True],
        [True, True],
    ),
    "reset by who began it": ([(0, True, SYN, 1, 0, 0), (0.1, True, RST, 2, 0, 0)], [False], [False]),
    "closed by who began it": (
        [(0, True, SYN, 1, 0, 0), (0.1, True, FIN, 2, 0, 0), (0.2, False, RST, 0, 2, 0)],
        [False],
        [False],
    ),
    "answered by data": (
        [(0, True, SYN, 1, 0, 0), (0.1, False, PSH | ACK, 9, 2, 5), (0.2, False, RST, 14, 2, 0)],
        [False],
        [False],
    ),
    "from the middle": ([(0, True, ACK, 1, 9, 0), (0.1, False, RST, 9, 2, 0)], [False], [False]),
    "a lone answer": ([(0, True, SYN | ACK, 1, 9, 0)], [True], [False]),
}


@pytest.mark.parametrize("name", FAILED)
def test_which_connections_failed(name):
    """Zeek gives a SYN five seconds, if the capture goes on for so long, with whatever packets."""
    steps, *expected = FAILED[name]
    end = max(at for at, *_ in steps)
    for later, failed in zip((20, 4), expected, strict=True):
        packets = talk(*steps) + talk((end + later, True, ACK, 1, 1, 0), ports=(50_000, 9999))
        found = read_capture(io.BytesIO(pcap(packets)), name="x.pcap").connections.failed.tolist()
        assert found == [*failed, False]


def test_what_other_conversations_are_about_makes_no_difference():
    """Each alone gives the same connections as all of them at once, but for timers that run at others' packets."""
    alone, together = [], []
    for number, packets in enumerate(many(seed=7, count=300)):
        quick = [p for p in packets if p.time < 4 * SECOND]
        alone += [(begin + number, *rest) for begin, *rest in connections(quick)]
        together += [type(p)(p.time + number * SECOND, p.data, p.captured) for p in quick]
    found = connections(sorted(together, key=lambda p: p.time))
    assert sorted((round(begin, 3), *rest) for begin, *rest in found) == sorted(
        (round(begin, 3), *rest) for begin, *rest in alone
    )
