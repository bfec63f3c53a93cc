"""What the agent keeps over connections, and whom it tells."""

import numpy as np
from fake_zeek import classify, flow

from mmtt_agent.agent import wire
from mmtt_agent.agent.evidence import MAX_WAITING, Evidence
from mmtt_agent.classifier import Verdicts
from mmtt_agent.incidents import IncidentModel, Settings, Try, UnitModel

UNIT = UnitModel(-1.0, {"number": 1.0, "failed": 1.0}, {"1%": 0.6})
MODEL = IncidentModel({"pair": UNIT}, "1%", {"50%": -4.0}, ())
SECOND = 1_000_000
BEGIN = 1_700_000_000


def batch(*flows: str, node: str = "mmtt/node/w1") -> wire.Classify:
    decoded = wire.decode(classify("mmtt/agent/a", 1, list(flows), node))
    assert isinstance(decoded, wire.Classify)
    return decoded


def verdicts(n: int) -> Verdicts:
    likeness = np.zeros((n, 16), np.float32)
    likeness[:, 0] = 1
    none = np.zeros(n)
    evidence = np.full(n, -3.0), np.zeros((n, 0)), likeness, np.zeros((n, 0), np.float32)
    return Verdicts(["web"] * n, none, ["x"] * n, none, none > 0, none, [""] * n, *evidence)


def take(evidence: Evidence, *flows: str, node: str = "mmtt/node/w1") -> list[str]:
    return evidence.flows(batch(*flows, node=node), verdicts(len(flows)))


def judge(evidence: Evidence, now: int) -> None:
    for _ in evidence.steps(now):
        pass


def many(orig: str = "aaaa01", resp: str = "aaaa02", begin: int = BEGIN, n: int = 20) -> list[str]:
    return [flow(f"C{orig}{begin}{i}", ts=begin + i, orig=orig, resp=resp) for i in range(n)]


def test_what_is_found_goes_to_the_sensor_that_it_is_of():
    evidence = Evidence(MODEL)
    take(evidence, *many("aaaa01", "aaaa02"), node="mmtt/node/one")
    take(evidence, *many("bbbb01", "bbbb02"), node="mmtt/node/two")
    assert not evidence.has_incidents
    judge(evidence, (BEGIN + 200) * SECOND)
    assert evidence.has_incidents
    found = dict(filter(None, (evidence.take(), evidence.take(), evidence.take())))
    assert {node: [each.orig for each in rows] for node, rows in found.items()} == {
        "mmtt/node/one": ["aaaa01"],
        "mmtt/node/two": ["bbbb01"],
    }


def test_it_goes_to_the_node_that_was_heard_of_latest():
    evidence = Evidence(MODEL)
    take(evidence, *many(), node="mmtt/node/w1")
    take(evidence, *many(resp="aaaa03"), node="mmtt/node/w2")
    judge(evidence, (BEGIN + 200) * SECOND)
    assert [node for node, _ in filter(None, [evidence.take()])] == ["mmtt/node/w2"]


def test_after_another_connection_it_waits_until_the_sensor_is_heard_of():
    evidence = Evidence(MODEL)
    take(evidence, *many())
    evidence.connected()
    judge(evidence, (BEGIN + 200) * SECOND)
    assert not evidence.has_incidents and evidence.take() is None and evidence.status()["waiting"] == 1
    evidence.tries("mmtt/node/new", [Try((BEGIN + 200) * SECOND, "aaaa07", "aaaa08", "1/tcp", 1, 0)])
    node, found = evidence.take()
    assert (node, len(found)) == ("mmtt/node/new", 1)
    assert not evidence.has_incidents and evidence.status()["waiting"] == 0


def test_with_a_number_a_day_what_is_found_is_above_the_threshold_for_it():
    for threshold, is_found in ((None, True), (0.5, True), (0.9999, False)):
        evidence = Evidence(MODEL, per_day=20)
        evidence.budget.threshold = threshold
        take(evidence, *many())
        evidence.end()
        assert (evidence.take() is not None) == is_found
        assert evidence.budget.hours == 1


def test_what_the_last_days_had_is_of_no_use_for_another_model():
    evidence = Evidence(MODEL, per_day=20)
    budget = evidence.budget
    evidence.use(MODEL, Settings(horizon=7200))
    assert evidence.budget is budget
    evidence.use(IncidentModel({"pair": UnitModel(-2.0, {}, {"1%": 0.6})}, "1%", {}, ()), Settings())
    assert evidence.budget is not budget and evidence.budget.per_day == 20
    assert Evidence(MODEL).budget is None and Evidence(None, per_day=20).budget is None


def test_what_waits_is_bounded():
    evidence = Evidence(MODEL)
    take(evidence, *many())
    evidence.end()
    _, found = evidence.take()
    evidence._wait(found[:1] * (MAX_WAITING + 5))
    assert (evidence.status()["waiting"], evidence.status()["lost"]) == (MAX_WAITING, 5)


def test_the_good_flows_of_a_batch_are_taken_by_their_own_names():
    evidence = Evidence(MODEL)
    mixed = batch("nonsense", *many(n=5), "nonsense", *many(begin=BEGIN + 5, n=15))
    evidence.flows(mixed, verdicts(20))
    evidence.end()
    *_, last = evidence.take()[1]
    assert last.connections == 20 and all(uid.startswith("Caaaa01") for uid in last.uids)
    assert (last.orig_bytes, last.resp_bytes) == (20 * 400, 20 * 600)


def test_windows_of_nobody_are_counted():
    evidence = Evidence(MODEL)
    take(evidence, *many("", ""))
    evidence.end()
    assert evidence.status()["left_out"]["without_ends"] == 20 and evidence.status()["pairs"] == 0


def test_without_a_model_nothing_is_kept():
    evidence = Evidence(None)
    assert take(evidence, *many()) == [""] * 20
    evidence.tries("mmtt/node/a", [Try(1, "aaaa01", "aaaa02", "1/tcp", 5, 0)])
    judge(evidence, 1 << 60)
    evidence.end()
    assert not evidence.has_incidents and evidence.status()["kept"] is False


def test_other_thresholds_take_nothing_of_the_evidence():
    evidence = Evidence(MODEL, Settings(thresholds={"pair": 1.0}))
    take(evidence, *many())
    judge(evidence, (BEGIN + 200) * SECOND)
    assert evidence.incidents()["opened"] == 0
    assert evidence.use(MODEL, Settings(thresholds={"pair": 0.6})) is False
    take(evidence, *many(begin=BEGIN + 200, n=1))
    judge(evidence, (BEGIN + 400) * SECOND)
    (row,) = evidence.take()[1]
    assert row.connections == 21
    assert evidence.use(MODEL, Settings(horizon=3600, thresholds={"pair": 0.6})) is True


def test_another_model_begins_anew_and_the_same_goes_on():
    evidence = Evidence(MODEL)
    take(evidence, *many())
    same = IncidentModel(
        {"pair": UnitModel(-1.0, {"number": 1.0, "failed": 1.0}, {"1%": 0.6})}, "1%", {"50%": -4.0}, ()
    )
    assert evidence.use(same, Settings()) is False
    judge(evidence, (BEGIN + 200) * SECOND)
    assert evidence.status()["pairs"] == 1
    assert evidence.use(IncidentModel({"pair": UNIT}, "1%", {"50%": -3.0}, ()), Settings()) is True
    assert evidence.status()["pairs"] == 0 and evidence.incidents()["opened"] == 1
    assert evidence.use(None, Settings()) is True
    assert evidence.use(MODEL, Settings()) is False
