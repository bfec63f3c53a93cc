"""Evidence in, incidents out: what is found, when, and that neither order nor batches matter."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mmtt_agent.incidents import LATENESS, Flows, Incident, IncidentModel, Settings, Tracker, Try, UnitModel
from mmtt_agent.incidents import tracker as tracker_module
from mmtt_agent.incidents.features import FEATURES
from mmtt_agent.incidents.reasons import reason

SECOND = 1_000_000
BEGIN = 1_700_000_000 * SECOND
PAIR = UnitModel(-3.0, {"mean": 1.0, "number": 0.7, "likeness": 0.5, "regular": 1.0}, {"0.1%": 0.7, "1%": 0.4})
HOST = UnitModel(-7.0, {"failed": 1.0, "fan": 1.0}, {"0.1%": 0.7, "1%": 0.4})
MODEL = IncidentModel(
    {"pair": PAIR, "originator": HOST, "responder": HOST},
    "0.1%",
    {"50%": -4.0, "90%": -2.0, "95%": -1.0, "99%": 0.4},
    ("scan", "tunnel"),
)


def flows(
    starts, log_odds=0.5, orig="10.0.0.1", resp="192.0.2.9", uid="C{}", kinds=(0.1, 0.9), vector=0, resp_p="443/tcp"
):
    """Windows of connections that begin so many seconds after BEGIN."""
    n = len(starts)
    likeness = np.zeros((n, 16), np.float32)
    likeness[:, vector] = 1
    return Flows(
        ts=(BEGIN + np.array(starts) * SECOND).astype(np.int64),
        orig=[orig] * n,
        resp=[resp] * n,
        resp_p=[resp_p] * n,
        uid=[uid.format(f"{orig[-1]}-{start}") for start in starts],
        window=[0] * n,
        log_odds=np.full(n, float(log_odds)),
        kinds=np.tile(kinds, (n, 1)),
        likeness=likeness,
        orig_bytes=np.full(n, 500),
        resp_bytes=np.full(n, 100),
    )


def pick(batch, rows):
    return Flows(
        *(
            [getattr(batch, name)[row] for row in rows]
            if isinstance(getattr(batch, name), list)
            else getattr(batch, name)[rows]
            for name in Flows.__slots__
        )
    )


def harmless(n=400, seconds=600, seed=1):
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.uniform(0, seconds, n)).round(6)
    likeness = rng.normal(size=(n, 16)).astype(np.float32)
    likeness /= np.linalg.norm(likeness, axis=1, keepdims=True)
    return replace(
        flows(starts.tolist(), -4.0),
        orig=[f"10.0.1.{each}" for each in rng.integers(0, 20, n)],
        resp=[f"198.51.100.{each}" for each in rng.integers(0, 30, n)],
        uid=[f"H{each}" for each in range(n)],
        log_odds=rng.normal(-4, 1, n),
        likeness=likeness,
    )


BEACON = flows([12 * each for each in range(40)])


def run(*batches, tries=(), settings=None, model=MODEL):
    """All rows, batches in the order of their latest window."""
    tracker = Tracker(model, settings)
    tracker.tries(tries)
    rows: list[Incident] = []
    for batch in sorted(batches, key=lambda each: each.ts.max()):
        tracker.flows(batch)
        rows += tracker.advance()
    return rows + tracker.end()


def cut(batch, size):
    return [pick(batch, range(start, min(start + size, len(batch)))) for start in range(0, len(batch), size)]


def test_a_beacon_among_ordinary_traffic_is_one_incident_that_says_who_why_and_since_when():
    rows = run(*cut(harmless(), 16), *cut(BEACON, 1))
    assert [row.state for row in rows] == ["opened", "closed"]
    opened, closed = rows
    assert (opened.unit, opened.orig, opened.resp, opened.resp_p) == ("pair", "10.0.0.1", "192.0.2.9", "443/tcp")
    assert opened.kind == "tunnel"
    assert opened.first == BEGIN
    assert opened.id == closed.id
    assert opened.connections < closed.connections == 40
    assert closed.last == BEGIN + 39 * 12 * SECOND
    assert closed.orig_bytes == 40 * 500
    assert closed.reason == (
        "40 like connections in 8 min, 12 s apart, each on average more suspicious than 99 % of harmless ones"
    )
    assert set(closed.uids) <= set(BEACON.uid)
    assert len(closed.uids) == 3


def test_ordinary_traffic_is_no_incident():
    assert run(*cut(harmless(2000, 3600), 64)) == []


@pytest.mark.parametrize("size", [1, 7, 64, 400])
def test_neither_batches_nor_order_within_the_lateness_change_what_is_found(size):
    expected = run(*cut(harmless(), 1), *cut(BEACON, 1))
    late = cut(BEACON, 1)
    rng = np.random.default_rng(size)
    batches = [*cut(harmless(), size), *late]
    batches.sort(key=lambda each: each.ts.max() + rng.uniform(0, LATENESS / 2))
    tracker, rows = Tracker(MODEL), []
    for batch in batches:
        tracker.flows(batch)
        rows += tracker.advance()
    assert rows + tracker.end() == expected


def test_it_makes_no_difference_how_those_who_tell_of_tries_add_them_up():
    hosts = [f"192.0.2.{each}" for each in range(1, 60)]
    one_by_one = [Try(BEGIN + at * SECOND, "10.0.0.1", to, "22/tcp", 1, 0) for to in hosts for at in (1, 3, 8)]
    by_pair = [Try(BEGIN + SECOND, "10.0.0.1", to, "22/tcp", 3, 0) for to in hosts]
    assert run(tries=one_by_one) == run(tries=by_pair) != []


def test_a_window_that_comes_twice_is_counted_once():
    assert run(*cut(BEACON, 1), *cut(BEACON, 5)) == run(*cut(BEACON, 1))
    tracker = Tracker(MODEL)
    tracker.flows(BEACON)
    tracker.flows(BEACON)
    assert tracker.counts["repeated"] == 40


def test_a_connections_later_windows_are_the_same_connection():
    later = replace(BEACON, window=[1] * 40, ts=BEACON.ts + 5 * SECOND)
    assert run(BEACON, later)[-1].connections == 40


def test_a_flow_carries_the_incident_that_had_been_open_when_it_began():
    tracker = Tracker(MODEL)
    for batch in cut(BEACON, 1):
        tracker.flows(batch)
    (opened,) = tracker.advance()
    soon = (opened.ts + LATENESS - BEGIN) // SECOND
    assert tracker.flows(flows([soon - 1, soon], uid="D{}")) == ["", opened.id]
    assert tracker.flows(flows([soon + 1], orig="10.0.0.7")) == [""]


def test_live_the_clock_brings_an_incident_forward_without_any_further_flow():
    tracker = Tracker(MODEL)
    soon = flows([each * 2 for each in range(40)])
    tracker.flows(soon)
    assert tracker.advance(int(soon.ts[-1]) + SECOND) == []
    rows = tracker.advance(int(soon.ts[-1]) + LATENESS + 10 * SECOND)
    assert [row.state for row in rows] == ["opened"]


def test_by_the_clock_it_can_be_judged_in_steps_between_which_more_comes_in(monkeypatch):
    monkeypatch.setattr(tracker_module, "_AT_ONCE", 7)
    now = int(BEACON.ts[-1]) + LATENESS + 20 * SECOND
    whole = Tracker(MODEL, by_clock=True)
    stepped = Tracker(MODEL, by_clock=True)
    for batch in (*cut(harmless(), 16), *cut(BEACON, 1)):
        assert not any(whole.flows(batch))
        assert not any(stepped.flows(batch))
    assert stepped.advance() == []
    steps = 0
    while True:
        # Left in the middle each time, as by a connection that is lost.
        if next(iter(stepped.steps(now)), "done") == "done":
            break
        steps += 1
        stepped.flows(flows([700 + steps], -5, orig="10.0.0.9", uid="E{}"))
    assert steps > 100
    expected = whole.advance(now)
    assert [row.state for row in expected] == ["opened"]
    assert stepped.advance() == expected


def test_it_is_closed_when_nothing_has_come_for_an_hour_and_a_new_one_is_another():
    again = flows([7200 + 12 * each for each in range(40)])
    rows = run(*cut(BEACON, 1), *cut(again, 1))
    assert [row.state for row in rows] == ["opened", "closed", "opened", "closed"]
    assert rows[1].ts == rows[1].last + 3600 * SECOND
    assert rows[0].id == rows[1].id != rows[2].id == rows[3].id


def test_a_beacon_that_comes_every_half_hour_is_not_closed_between_two_connections():
    rows = run(*cut(flows([1800 * each for each in range(40)], 2.0), 1))
    assert [row.state for row in rows if row.state != "grown"] == ["opened", "closed"]


def test_it_says_when_it_has_grown_by_much():
    rows = run(*cut(flows(list(range(3000))), 50))
    assert [row.state for row in rows] == ["opened", *["grown"] * (len(rows) - 2), "closed"]
    counts = [row.connections for row in rows[:-1]]
    assert all(after >= 4 * before for before, after in itertools.pairwise(counts))
    assert len(rows) > 3


def scan(hosts):
    return [
        Try(BEGIN + each * 50_000, "10.0.0.66", f"198.18.{each // 256}.{each % 256}", "445/tcp", 1, 0)
        for each in range(hosts)
    ]


def test_a_scan_is_one_incident_of_its_originator():
    rows = run(harmless(), tries=scan(1000))
    assert {row.unit for row in rows} == {"originator"}
    assert [row.state for row in rows] == ["opened", "grown", "closed"]
    last = rows[-1]
    assert (last.orig, last.resp, last.resp_p, last.kind) == ("10.0.0.66", None, None, "scan")
    assert "to 1,000 responders or ports" in last.reason
    assert "1,000 connections not answered or refused" in last.reason


def test_guessing_from_many_hosts_is_one_incident_of_the_responder():
    tries = [Try(BEGIN + each * 50_000, f"10.7.0.{each}", "192.0.2.1", "22/tcp", 3, 0) for each in range(200)]
    rows = run(harmless(), tries=tries)
    assert {(row.unit, row.orig, row.resp) for row in rows} == {("responder", None, "192.0.2.1")}


def test_a_flood_of_pairs_sheds_evidence_and_says_so_but_not_what_is_open():
    settings = Settings(max_pairs=500)
    tracker = Tracker(MODEL, settings)
    rows = []
    for batch in cut(BEACON, 1)[:30]:
        tracker.flows(batch)
    rows += tracker.advance()
    assert [row.state for row in rows] == ["opened"]
    tracker.tries([replace(each, ts=each.ts + 400 * SECOND) for each in scan(20_000)])
    for batch in cut(BEACON, 1)[30:]:
        tracker.flows(batch)
    rows += tracker.advance() + tracker.end()
    assert tracker.pairs <= 500
    assert tracker.counts["pairs shed"] > 15_000
    beacon = [row for row in rows if row.unit == "pair"]
    assert [row.state for row in beacon] == ["opened", "closed"]
    assert beacon[-1].connections == 40
    assert any(row.unit == "originator" and row.kind == "scan" for row in rows)


def test_pairs_past_the_horizon_are_forgotten():
    tracker = Tracker(MODEL, Settings(horizon=600))
    for hour in range(3):
        tracker.flows(flows([hour * 3600 + each * 11 for each in range(100)], -5, resp=f"192.0.2.{hour}"))
    tracker.end()
    assert tracker.pairs == 1
    assert tracker.counts["pairs forgotten"] == 2


def test_windows_of_which_nobody_says_whose_they_are_are_no_evidence():
    tracker = Tracker(MODEL)
    assert tracker.flows(replace(BEACON, orig=[""] * 40)) == [""] * 40
    assert tracker.end() == []
    assert tracker.counts["without ends"] == 40


def test_another_threshold_is_the_bundles_by_its_share():
    assert len(run(*cut(flows([12 * each for each in range(8)]), 1), settings=Settings(share="1%"))) == 2
    assert run(*cut(flows([12 * each for each in range(8)]), 1)) == []
    with pytest.raises(ValueError, match=r"no threshold for 5%, but for 0\.1%, 1%"):
        Tracker(MODEL, Settings(share="5%"))


def test_thresholds_of_a_sites_own_are_instead_of_the_bundles():
    few = cut(flows([12 * each for each in range(8)]), 1)
    assert len(run(*few, settings=Settings(thresholds={"pair": MODEL.threshold("pair", "1%")}))) == 2
    assert run(*few, settings=Settings(share="1%", thresholds={"others": 1.0})) == []
    assert len(run(*few, settings=Settings(share="1%", thresholds={"originator": 1.0}))) == 2
    with pytest.raises(ValueError, match="a threshold for host, and the model judges pair"):
        Tracker(MODEL, Settings(thresholds={"host": 0.5}))


def judged(*batches, tries=()):
    """The latest evidence on each unit, by name."""
    found = {}

    def take(unit, ends, evidence):
        found.update(
            {
                (unit, *end): dict(zip(FEATURES, row.tolist(), strict=True))
                for end, row in zip(ends, evidence, strict=True)
            }
        )

    tracker = Tracker(replace(MODEL, kinds=("scan", "exploit")), judged=take)
    tracker.tries(tries)
    for batch in sorted(batches, key=lambda each: each.ts.max()):
        tracker.flows(batch)
    tracker.end()
    return found


def test_the_evidence_on_a_pair():
    found = judged(BEACON)["pair", "10.0.0.1", "192.0.2.9", "443/tcp"]
    assert found["mean"] == pytest.approx(0.5)
    assert found["top"] == pytest.approx(0.5)
    assert found["likeness"] == pytest.approx(1, abs=1e-5)
    assert found["regular"] == pytest.approx(1, abs=1e-5)
    assert found["number"] == pytest.approx(np.log(41), abs=0.02)
    assert found["outward"] == pytest.approx(np.log(20_100 / 4_100))
    assert found["exploit"] == pytest.approx(0.9)
    assert (found["udp"], found["fan_resp"]) == (0, pytest.approx(np.log(2)))
    assert (found["beside_orig"], found["beside_resp"]) == (-1, -1)


def test_the_evidence_on_a_pair_has_what_its_hosts_do_besides():
    other = flows([each * 12 + 1 for each in range(30)], 3.0, resp="192.0.2.10", resp_p="53/udp", uid="D{}")
    found = judged(BEACON, other)
    one, two = found["pair", "10.0.0.1", "192.0.2.9", "443/tcp"], found["pair", "10.0.0.1", "192.0.2.10", "53/udp"]
    assert one["beside_orig"] == pytest.approx((30 * 3.0 - 2) / 32, abs=0.02)
    assert two["beside_orig"] == pytest.approx((29 * 0.5 - 2) / 31, abs=0.02)
    assert one["beside_resp"] == two["beside_resp"] == -1
    assert (one["udp"], two["udp"]) == (0, 1)
    host = found["originator", "10.0.0.1", None, None]
    assert host["fan"] == pytest.approx(np.log(3), abs=0.02)
    assert host["mean"] == pytest.approx((40 * 0.5 + 30 * 3.0) / 70, abs=0.02)


def test_a_host_knows_its_first_pair_from_before_it_had_a_second():
    found = judged(BEACON, flows([3000], 3.0, resp="192.0.2.10", uid="D{}"))
    assert found["originator", "10.0.0.1", None, None]["fan"] == pytest.approx(np.log(3), abs=0.05)
    assert found["pair", "10.0.0.1", "192.0.2.10", "443/tcp"]["beside_orig"] == pytest.approx(
        (40 * 0.5 - 2) / 42, abs=0.05
    )


def test_a_bundle_that_judges_pairs_alone_has_incidents_of_pairs_alone():
    model = replace(MODEL, units={"pair": PAIR})
    assert {row.unit for row in run(*cut(BEACON, 1), tries=scan(1000), model=model)} == {"pair"}


def test_the_reason_says_what_the_ends_do_besides_where_that_counts():
    scan_ = flows([each * 12 + 1 for each in range(30)], 3.0, resp="192.0.2.10", uid="D{}")
    rows = run(*cut(BEACON, 1), *cut(scan_, 1))
    assert rows[-1].state == "closed"
    of_beacon = [row for row in rows if row.resp == "192.0.2.9"]
    assert "the originator's other connections more suspicious than 99 %" in of_beacon[-1].reason
    assert "responder's other" not in of_beacon[-1].reason


def test_reasons_are_sentences_parts_of_which_can_be_lacking():
    one = {"seconds": 0, "like": False, "apart": None, "rank": "99%", "top_rank": "99%", "failed": 0, "short": 0}
    assert reason(**one, connections=1) == "1 connection, more suspicious than 99 % of harmless ones"
    assert reason(**one | {"rank": None}, connections=1) == "1 connection"
    many = one | {"seconds": 600, "rank": None}
    assert (
        reason(**many, connections=40)
        == "40 connections in 10 min, the strongest more suspicious than 99 % of harmless ones"
    )
    none = one | {"rank": None, "top_rank": None}
    assert reason(**none | {"short": 1}, connections=0) == "1 connection too short for a verdict"
    assert reason(**none | {"failed": 7, "short": 2}, connections=0) == (
        "7 connections not answered or refused, 2 connections too short for a verdict"
    )
    assert reason(**none | {"failed": 7, "seconds": 7200}, connections=0, responders=7) == (
        "connections to 7 responders or ports in 2 h, 7 connections not answered or refused"
    )
    assert reason(**many | {"failed": 3}, connections=2, responders=5).endswith(", 3 more not answered or refused")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"uid": ["C1"]}, "uid has 1 elements, ts 40"),
        ({"log_odds": np.full(40, np.nan)}, "log_odds holds what is no number"),
        ({"kinds": np.full((40, 2), np.inf)}, "kinds holds what is no number"),
        ({"kinds": np.zeros((40, 3))}, r"kinds must be of shape \(40, 2\), not \(40, 3\)"),
        ({"ts": BEACON.ts / 1e6}, "ts must be microseconds since 1970, as integers"),
        ({"ts": BEACON.ts - (1 << 62)}, "ts must be microseconds since 1970, as integers"),
        ({"orig_bytes": np.full(40, -1)}, "orig_bytes and resp_bytes must be at least 0"),
    ],
)
def test_flows_that_can_not_be_are_refused_as_a_whole(wrong, told):
    tracker = Tracker(MODEL)
    with pytest.raises(ValueError, match=told):
        tracker.flows(replace(BEACON, **wrong))
    rows = []
    for batch in cut(BEACON, 1):
        tracker.flows(batch)
        rows += tracker.advance()
    assert [row.state for row in rows + tracker.end()] == ["opened", "closed"]


def test_tries_and_settings_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="can't be"):
        Tracker(MODEL).tries([Try(BEGIN, "10.0.0.1", "10.0.0.2", "22/tcp", 10**30, 0)])
    with pytest.raises(ValueError, match="horizon must be"):
        Settings(horizon=0)
    with pytest.raises(ValueError, match="horizon must be"):
        Settings(horizon=float("nan"))
    with pytest.raises(ValueError, match="max_pairs must be"):
        Settings(max_pairs=0)


def test_hosts_that_were_sought_for_nothing_are_counted_once_each():
    found = judged(harmless(), tries=[*scan(300), *(replace(each, ts=each.ts + 20 * SECOND) for each in scan(300))])
    host = found["originator", "10.0.0.66", None, None]
    assert host["scan"] == pytest.approx(np.log(3), abs=0.01)
    assert host["failed"] == pytest.approx(np.log(601), abs=0.01)
    # One that has had an answer before has not been sought for nothing.
    answered = [
        flows([1 + each / 1000], -4, orig="10.0.0.66", resp=one.resp, resp_p="445/tcp", uid=f"A{each}")
        for each, one in enumerate(scan(290))
    ]
    later = [replace(each, ts=each.ts + 60 * SECOND) for each in scan(300)]
    assert judged(*answered, tries=later)["originator", "10.0.0.66", None, None]["scan"] == 0
