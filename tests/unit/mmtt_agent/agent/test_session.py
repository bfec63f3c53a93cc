"""Flow control without sockets: credit, queues, answers, draining, and nonsense from the other side."""

import json
import re

import numpy as np
import pytest
from fake_zeek import all_sent, classify, count, event, flow, flows, one_try, plain, string, tries
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mmtt_agent.agent.evidence import Evidence
from mmtt_agent.agent.session import HELLO_EVERY, MAX_OUTGOING, Session, State
from mmtt_agent.classifier import Verdicts
from mmtt_agent.incidents import IncidentModel, UnitModel

ACK = '{"type":"ack","endpoint":"e","version":"8.2.2"}'
TOPIC = "mmtt/agent/a"


def verdicts_of(job) -> Verdicts:
    """Verdicts that show which window they are of: the service is the window's first size."""
    n = len(job.series)
    names = [str(size) for size in job.series.sizes[:, 0].tolist()]
    evidence = np.zeros(n), np.zeros((n, 0)), np.zeros((n, 16), np.float32), np.zeros((n, 0), np.float32)
    return Verdicts(names, np.ones(n), ["x"] * n, np.ones(n), np.zeros(n, bool), np.zeros(n), [""] * n, *evidence)


def sent(session) -> list[tuple]:
    """All messages that wait, as (event name, arguments); the subscriptions as a list."""
    found = []
    while (text := session.next_message()) is not None:
        content = json.loads(text)
        found.append(content if isinstance(content, list) else tuple(plain(content["data"])[2]))
    return found


def make(**changes) -> Session:
    return Session(**{"agent": "a", "model": "m@1", "credit": 128, "max_queued": 256, "max_job": 128} | changes)


def served(**changes) -> Session:
    session = make(**changes)
    session.receive(ACK)
    sent(session)
    session.notes.clear()
    return session


def run_all(session) -> None:
    while (job := session.take()) is not None:
        session.finish(job, verdicts_of(job))


def answers(session) -> dict[tuple[int], list]:
    """Records by batch id."""
    return {arguments[1]: arguments[2] for name, arguments in sent(session) if name == "MMTT::verdicts"}


def test_subscribes_first_and_says_hello_when_acknowledged():
    session = make()
    assert sent(session) == [[TOPIC, "mmtt/agents"]]
    session.tick()
    assert sent(session) == [] and session.state is State.SUBSCRIBING
    session.receive(ACK)
    assert session.state is State.SERVING
    assert sent(session) == [("MMTT::agent_hello", [3, "a", TOPIC, "m@1", 128])]


def test_ticks_each_second_and_hello_every_five():
    session = served()
    names = []
    for _ in range(2 * HELLO_EVERY):
        session.tick()
        names += [name for name, _ in sent(session)]
    assert names.count("MMTT::tick") == 10 and names.count("MMTT::agent_hello") == 2


def test_hello_on_request():
    session = served()
    session.receive(event("mmtt/agents", "MMTT::hello_request", count(3)))
    assert [name for name, _ in sent(session)] == ["MMTT::agent_hello"]


def test_what_is_not_sent_does_not_pile_up():
    session = served()
    for _ in range(1000):
        session.tick()
        session.receive(event("mmtt/agents", "MMTT::hello_request", count(3)))
    assert len(sent(session)) == 2


def test_batches_are_answered_in_order_with_their_own_verdicts():
    session = served()
    for number in range(3):
        made = [flow(f"C{number}{i}", 0, [100 * number + i + 1, 1, 1, 1]) for i in range(20)]
        session.receive(classify(TOPIC, number, made))
    assert session.in_hand == 60
    run_all(session)
    found = answers(session)
    assert list(found) == [0, 1, 2]
    for number, records in found.items():
        assert [r[0] for r in records] == [f"C{number}{i}" for i in range(20)]
        assert [r[3] for r in records] == [str(100 * number + i + 1) for i in range(20)]
    assert session.in_hand == 0
    assert session.counts["flows"] == session.counts["flows answered ok"] == 60


def test_jobs_take_several_batches_up_to_their_size():
    session = served(max_job=100)
    for number in range(5):
        session.receive(classify(TOPIC, number, flows(25)))
    assert [len(session.take().series), len(session.take().series)] == [100, 25]
    assert session.take() is None


def test_offline_each_batch_is_a_job_of_its_own():
    session = served(max_job=1)
    for number in range(3):
        session.receive(classify(TOPIC, number, flows(2)))
    assert [len(session.take().series) for _ in range(3)] == [2, 2, 2]


def test_beyond_its_credit_a_node_is_shed_and_others_are_not():
    session = served(credit=100)
    session.receive(classify(TOPIC, 1, flows(64), "mmtt/node/greedy"))
    session.receive(classify(TOPIC, 2, flows(64), "mmtt/node/greedy"))
    session.receive(classify(TOPIC, 3, flows(64), "mmtt/node/greedy"))
    session.receive(classify(TOPIC, 4, flows(64), "mmtt/node/modest"))
    run_all(session)
    found = answers(session)
    assert [r[2] for r in found[2]] == ["ok"] * 36 + ["shed"] * 28
    assert [r[2] for r in found[3]] == ["shed"] * 64
    assert [r[2] for r in found[1] + found[4]] == ["ok"] * 128
    assert session.counts["flows answered shed"] == 92
    assert sum("more than its credit" in note.text for note in session.notes) == 1


def test_an_answer_gives_credit_back():
    session = served(credit=64)
    for number in range(5):
        session.receive(classify(TOPIC, number, flows(64)))
        run_all(session)
        assert {r[2] for r in answers(session)[number]} == {"ok"}


def test_all_nodes_together_are_bounded():
    session = served(credit=128, max_queued=150)
    for number in range(4):
        session.receive(classify(TOPIC, number, flows(64), f"mmtt/node/n{number}"))
    assert session.in_hand == 150
    run_all(session)
    assert session.counts["flows answered ok"] == 150 and session.counts["flows answered shed"] == 106


def test_wrong_flows_cost_nobody_else_an_answer():
    session = served()
    made = flows(10)
    made[3] = made[7] = "nonsense"
    session.receive(classify(TOPIC, 1, made))
    session.receive(classify(TOPIC, 2, ["nonsense"] * 5))
    run_all(session)
    found = answers(session)
    assert [r[2] for r in found[1]] == ["ok"] * 3 + ["error"] + ["ok"] * 3 + ["error"] + ["ok"] * 2
    assert [r[2] for r in found[2]] == ["error"] * 5
    assert session.counts["flows answered error"] == 7 and session.in_hand == 0


def test_an_empty_batch_is_answered():
    session = served()
    session.receive(classify(TOPIC, 1, []))
    assert answers(session) == {1: []}


def test_a_model_that_fails_answers_errors_and_serves_on():
    session = served()
    session.receive(classify(TOPIC, 1, flows(3)))
    session.finish(session.take(), None, "RuntimeError: no memory")
    assert [r[2] for r in answers(session)[1]] == ["error"] * 3
    assert "no memory" in session.notes[-1].text
    session.receive(classify(TOPIC, 2, flows(3)))
    run_all(session)
    assert [r[2] for r in answers(session)[2]] == ["ok"] * 3


def test_a_batch_sent_again_while_in_hand_is_answered_once():
    session = served()
    for _ in range(3):
        session.receive(classify(TOPIC, 1, flows(3)))
    run_all(session)
    assert [name for name, _ in sent(session)] == ["MMTT::verdicts"]
    assert session.counts["batches sent again while in hand"] == 2


def test_what_is_for_an_agent_whose_name_begins_like_ours():
    session = served()
    session.receive(classify("mmtt/agent/ab", 1, flows(3)))
    assert session.in_hand == 0 and sent(session) == []
    assert session.counts["messages for others"] == 1


def test_another_protocol_is_told_once_and_not_answered():
    session = served()
    for _ in range(10):
        session.receive(classify(TOPIC, 1, flows(3), protocol=1))
    assert sent(session) == []
    (note,) = session.notes
    assert (note.level, "speaks protocol 1" in note.text) == ("error", True)
    assert session.counts["messages of another protocol"] == 10


def test_what_goes_wrong_often_is_told_at_once_and_then_each_minute():
    session = served()
    for _ in range(50):
        session.receive("nonsense")
    assert len(session.notes) == 1
    for _ in range(60):
        session.tick()
    assert [note.text for note in session.notes][1:] == ["49 more: messages refused"]


def test_an_event_that_zeek_does_not_know():
    session = served()
    session.receive('{"type":"error","code":"deserialization_failed","context":"failed to create Zeek event"}')
    assert re.search("failed to create Zeek event.*is the mmtt package loaded", session.notes[0].text)


def test_a_batch_before_the_acknowledgement_is_refused():
    session = make()
    session.receive(classify(TOPIC, 1, flows(3)))
    assert session.in_hand == 0 and session.counts["messages refused"] == 1


def test_drain_answers_everything_and_then_says_goodbye():
    session = served()
    session.receive(classify(TOPIC, 1, flows(3)))
    job = session.take()
    session.receive(classify(TOPIC, 2, flows(3)))
    session.drain()
    session.receive(classify(TOPIC, 3, flows(3)))
    assert session.state is State.DRAINING
    assert {r[2] for r in answers(session)[3]} == {"shed"}
    session.finish(job, verdicts_of(job))
    run_all(session)
    assert session.state is State.DRAINING
    found = sent(session)
    assert [name for name, _ in found] == ["MMTT::verdicts", "MMTT::verdicts", "MMTT::agent_bye"]
    assert session.state is State.CLOSED


def test_drain_with_nothing_in_hand():
    session = served()
    session.drain()
    assert [name for name, _ in sent(session)] == ["MMTT::agent_bye"]
    assert session.state is State.CLOSED


def test_ticks_overtake_answers():
    session = served()
    session.receive(classify(TOPIC, 1, flows(3)))
    run_all(session)
    session.tick()
    assert [name for name, _ in sent(session)] == ["MMTT::tick", "MMTT::verdicts"]


def test_answers_that_zeek_does_not_take_stop_the_reading():
    session = served()
    for number in range(MAX_OUTGOING):
        assert session.wants_messages
        session.receive(classify(TOPIC, number, flows(1)))
        run_all(session)
    assert not session.wants_messages
    session.next_message()
    assert session.wants_messages


def test_a_lost_connection_drops_and_counts_what_was_in_hand():
    session = served()
    session.receive(classify(TOPIC, 1, flows(3)))
    session.receive(classify(TOPIC, 2, ["nonsense"]))
    job = session.take()
    session.lost()
    session.finish(job, verdicts_of(job))
    assert sent(session) == [] and not session.has_jobs
    assert session.counts["flows lost with the connection"] == 3
    assert session.counts["answers lost with the connection"] == 1


@pytest.mark.parametrize("state", [State.SUBSCRIBING, State.SERVING, State.DRAINING, State.CLOSED])
def test_no_message_raises_in_any_state(state):
    session = make() if state is State.SUBSCRIBING else served()
    if state is State.DRAINING:
        session.receive(classify(TOPIC, 99, flows(1)))
        session.drain()
    if state is State.CLOSED:
        session.drain()
        sent(session)
    assert session.state is state
    for message in (
        "",
        "{}",
        ACK,
        '{"type":"error","code":"c","context":"t"}',
        b"\xff",
        classify(TOPIC, 1, flows(2)),
    ):
        session.receive(message)
        session.receive(message)


class Machine(RuleBasedStateMachine):
    """Any order of batches, jobs, ticks and losses: every flow is answered once, and nothing goes past its bound."""

    def __init__(self):
        super().__init__()
        self.session = served(credit=40, max_queued=60, max_job=30)
        self.asked: dict[tuple[str, int], int] = {}
        self.answered: dict[tuple[str, int], list] = {}
        self.jobs = []
        self.number = 0

    @rule(n=st.integers(0, 64), wrong=st.integers(0, 5), node=st.sampled_from("xyz"))
    def batch(self, n, wrong, node):
        self.number += 1
        made = [flow(f"C{i}") for i in range(n)]
        made[n // 2 : n // 2 + wrong] = ["nonsense"] * min(wrong, n - n // 2)
        self.asked[f"mmtt/node/{node}", self.number] = len(made)
        self.session.receive(classify(TOPIC, self.number, made, f"mmtt/node/{node}"))

    @rule()
    def take(self):
        if (job := self.session.take()) is not None:
            assert 1 <= len(job.series) <= 64
            self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), fails=st.booleans())
    def finish(self, data, fails):
        job = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        self.session.finish(job, None if fails else verdicts_of(job))

    @rule()
    def tick(self):
        self.session.tick()

    @rule(message=st.binary(max_size=20))
    def nonsense(self, message):
        self.session.receive(message)

    @precondition(lambda self: self.session.state is State.SERVING)
    @rule()
    def drain(self):
        self.session.drain()

    @rule()
    def send(self):
        while (text := self.session.next_message()) is not None:
            content = json.loads(text)
            name, arguments = plain(content["data"])[2]
            if name == "MMTT::verdicts":
                assert (content["topic"], arguments[1]) not in self.answered
                self.answered[content["topic"], arguments[1]] = arguments[2]

    @invariant()
    def bounded(self):
        assert 0 <= self.session.in_hand <= 60

    def teardown(self):
        run_all(self.session)
        while self.jobs:
            job = self.jobs.pop()
            self.session.finish(job, verdicts_of(job))
        self.session.drain()
        self.send()
        assert {key: len(records) for key, records in self.answered.items()} == self.asked
        assert self.session.state is State.CLOSED and self.session.in_hand == 0
        counts = self.session.counts
        assert (
            counts["flows"]
            == sum(self.asked.values())
            == sum(counts[f"flows answered {status}"] for status in ("ok", "shed", "error"))
        )


TestAnyOrder = Machine.TestCase


def test_strings_of_zeek_stay_on_one_line():
    session = served()
    session.receive(event("t", "MMTT::classify", string("a\nb")))
    assert "\n" not in session.notes[0].text


def test_verdicts_come_after_the_hello_of_the_model_that_gave_them():
    session = served()
    for number in range(4):
        session.receive(classify(TOPIC, number, flows(64), f"mmtt/node/n{number % 2}"))
    older, newer = session.take(), session.take()
    session.use_model("m@2")
    # Two threads: what the new model began later is done first.
    session.finish(newer, verdicts_of(newer), model="m@2")
    session.finish(older, verdicts_of(older), model="m@1")
    session.receive(classify(TOPIC, 9, ["nonsense"]))
    told, given = "m@1", []
    for name, arguments in sent(session):
        if name == "MMTT::agent_hello":
            told = arguments[3]
        else:
            given.append((arguments[1], told))
    assert given[:4] == [(2, "m@2"), (3, "m@2"), (0, "m@1"), (1, "m@1")]
    assert given[4][0] == 9


def test_zeek_is_told_of_another_model_without_traffic():
    session = served()
    session.use_model("m@2")
    assert [arguments[3] for _, arguments in sent(session)] == ["m@2"]


def test_in_order_the_first_batch_is_answered_first():
    session = served(in_order=True, max_job=1)
    for number in range(3):
        session.receive(classify(TOPIC, number, flows(3, number)))
    jobs = [session.take() for _ in range(3)]
    session.finish(jobs[2], verdicts_of(jobs[2]))
    assert answers(session) == {} and session.in_hand == 9
    session.finish(jobs[0], verdicts_of(jobs[0]))
    assert list(answers(session)) == [0]
    session.finish(jobs[1], None, "out of luck")
    assert list(answers(session)) == [1, 2] and session.in_hand == 0


# Evidence over connections: the session's part of it.

UNIT = UnitModel(-1.0, {"number": 1.0, "failed": 1.0}, {"1%": 0.6})
INCIDENTS = IncidentModel({"pair": UNIT}, "1%", {"50%": -4.0}, ())


def test_an_incident_is_told_to_the_node_its_evidence_came_of_and_its_flows_carry_it():
    session = served(evidence=Evidence(INCIDENTS))
    begin = 1_700_000_000
    rows = [flow(f"C{i}", ts=begin + i) for i in range(20)]
    session.receive(classify(TOPIC, 1, rows, "mmtt/node/w1"))
    run_all(session)
    assert [name for name, _ in sent(session)] == ["MMTT::verdicts"]
    # Evidence is judged when later flows show that no more of it can come.
    session.receive(classify(TOPIC, 2, [flow("D1", ts=begin + 300)], "mmtt/node/w2"))
    run_all(session)
    found = []
    while (text := session.next_message()) is not None:
        content = json.loads(text)
        found.append((content["topic"], *plain(content["data"])[2]))
    assert [each[:2] for each in found] == [("mmtt/node/w2", "MMTT::verdicts"), ("mmtt/node/w2", "MMTT::incidents")]
    (row,) = found[1][2][1]
    assert (row[2], row[3], row[4][:4]) == ("opened", "pair", "5e7a")
    assert found[0][2][2][0][10] == row[1]


def test_after_the_last_incidents_it_says_that_these_were_all():
    session = served(evidence=Evidence(INCIDENTS))
    session.receive(classify(TOPIC, 1, [flow(f"C{i}", ts=5 + i) for i in range(20)]))
    run_all(session)
    sent(session)
    session.receive(all_sent(TOPIC))
    assert session.has_messages
    found = sent(session)
    assert [name for name, _ in found] == ["MMTT::incidents", "MMTT::finished"]
    assert [row[2] for row in found[0][1][1]] == ["opened", "grown", "closed"]


def test_without_a_model_for_evidence_nothing_is_found_and_the_end_is_told():
    session = served()
    session.receive(tries(TOPIC, [one_try(failed=1000)]))
    session.receive(all_sent(TOPIC))
    assert [name for name, _ in sent(session)] == ["MMTT::finished"]
    assert session.counts["connections without a verdict"] == 1001


def test_tries_and_ends_of_other_agents_are_none_of_ours():
    session = served(evidence=Evidence(INCIDENTS))
    session.receive(tries(TOPIC + "b", [one_try()]))
    session.receive(all_sent(TOPIC + "b"))
    assert sent(session) == [] and session.counts["messages for others"] == 2
