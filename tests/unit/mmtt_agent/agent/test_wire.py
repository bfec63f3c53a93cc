"""The wire codec: what Zeek sends becomes events, what it should not send becomes one kind of error."""

import json

import numpy as np
import pytest
from fake_zeek import (
    all_sent,
    classify,
    count,
    event,
    flow,
    flows,
    one_try,
    plain,
    string,
    tries,
    value,
    vector,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtt_agent.agent import wire
from mmtt_agent.agent.wire import Classify, WireError
from mmtt_agent.classifier import Verdicts
from mmtt_agent.incidents import Incident, Try

TOPIC = "mmtt/agent/a"


def batch_of(*made: str, batch_id: int = 7) -> Classify:
    decoded = wire.decode(classify(TOPIC, batch_id, list(made)))
    assert isinstance(decoded, Classify)
    return decoded


def only_problem(text: str) -> str:
    """What is wrong with a flow, which must spoil neither of its neighbours."""
    batch = batch_of(flow("C1"), text, flow("C3"))
    assert list(batch.problems) == [1]
    assert len(batch.series) == 2 and batch.uids[::2] == ["C1", "C3"]
    assert "\n" not in batch.problems[1] and len(batch.problems[1]) < 200
    return batch.problems[1]


def changed(**keys) -> str:
    content = json.loads(flow("C2", 1)) | keys
    return json.dumps({key: v for key, v in content.items() if v is not ...})


# What is right.


def test_a_batch():
    batch = batch_of(flow("C1", 2, [5, -65535, 65535, -1], [0, 0, 7, 60_000_000]), *flows(63))
    assert (batch.topic, batch.reply_topic, batch.batch_id) == (TOPIC, "mmtt/node/zeek", 7)
    assert len(batch) == len(batch.series) == 64 and batch.problems == {}
    assert (batch.uids[0], batch.windows[0]) == ("C1", 2)
    assert batch.series.sizes[0, :5].tolist() == [5, -65535, 65535, -1, 0]
    assert batch.series.times[0, :5].tolist() == [0, 0, 7, 60_000_000, 0]
    assert batch.series.lengths[0] == 4


def test_an_empty_batch():
    assert len(batch_of()) == 0


def test_acknowledgement_error_and_request():
    assert wire.decode('{"type":"ack","endpoint":"e","version":"8.2.2"}') == wire.Ack("e", "8.2.2")
    assert wire.decode('{"type":"error","code":"c","context":"t"}') == wire.Refused("c", "t")
    assert wire.decode(event("mmtt/agents", "MMTT::hello_request", count(wire.PROTOCOL))) == wire.HelloRequest()
    assert wire.decode(event("mmtt/agents", "Other::event", count(1))) == wire.Foreign("Other::event")


def test_bytes_as_well_as_text():
    assert isinstance(wire.decode(classify(TOPIC, 1, flows(2)).encode()), Classify)


def test_metadata_of_an_event_is_no_harm():
    body = json.loads(classify(TOPIC, 1, flows(1)))
    body["data"][2]["data"].append(vector(vector(count(1), value("timestamp", "2026-01-01T00:00:00.000"))))
    assert isinstance(wire.decode(json.dumps(body)), Classify)


# What is wrong with a flow.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "flow is not JSON"),
        ("{", "flow is not JSON"),
        ("null", "flow is null"),
        ("[]", "flow is an array"),
        ("7", "flow is a number"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 50_000, "nested too deep"),
        (f'{{"uid":{"9" * 5000}}}', "too long"),
        (changed(uid=...), "no uid"),
        (changed(window=...), "no window"),
        (changed(sizes=...), "no sizes"),
        (changed(times=...), "no times"),
        (changed(more=1), "key 'more'"),
        (changed(uid=5), "uid 5 is not"),
        (changed(uid=None), "uid None is not"),
        (changed(uid=""), "uid '' is not"),
        (changed(uid="a\nb"), "is not 1 to 64 printable"),
        (changed(uid="\ud800"), "is not 1 to 64 printable"),
        (changed(uid="C" * 65), "is not 1 to 64 printable"),
        (changed(window=4), "window 4"),
        (changed(window=-1), "window -1"),
        (changed(window=True), "window True"),
        (changed(window=0.0), "window 0.0"),
        (changed(sizes=None), "sizes is null"),
        (changed(sizes="abcd"), "sizes is a string"),
        (changed(sizes={}), "sizes is an object"),
        (changed(times=True), "times is a boolean"),
        (changed(sizes=[1, 2, 3, True]), "sizes holds True"),
        (changed(sizes=[1, 2, 3, 4.0]), "sizes holds 4.0"),
        (changed(sizes=[1, 2, 3, None]), "sizes holds None"),
        (changed(sizes=[1, 2, 3, [4]]), "sizes holds an array"),
        (changed(sizes=[1, 2, 3, float("nan")]), "sizes holds nan"),
        (changed(times=[0, 1, 2, float("inf")]), "times holds inf"),
        (changed(sizes=[1, 2, 3]), "3 sizes but 4 times"),
        (changed(sizes=[1, 2, 3], times=[0, 1, 2]), "3 packets"),
        (changed(sizes=[1] * 33, times=[0] * 33), "33 packets"),
        (changed(sizes=[], times=[]), "0 packets"),
        (changed(sizes=[1, 0, 3, 4]), "size 0"),
        (changed(sizes=[1, 65536, 3, 4]), "size 65536"),
        (changed(sizes=[1, -65536, 3, 4]), "size -65536"),
        (changed(sizes=[1, -(2**31), 3, 4]), "size -2147483648"),
        (changed(sizes=[1, -(2**63), 3, 4]), "size -92233"),
        (changed(sizes=[1, 2**32 + 1, 3, 4]), "size 42949"),
        (changed(sizes=[1, 10**400, 3, 4]), "a huge number"),
        (changed(times=[1, 2, 3, 4]), "first time is 1"),
        (changed(times=[-1, 2, 3, 4]), "first time is -1"),
        (changed(times=[0, 5, 4, 6]), "times go back from 5 to 4"),
        (changed(times=[0, 1, 2, 60_000_001]), "time 60000001"),
        (changed(times=[0, 1, 2, 2**64]), "time 18446744073709551616"),
        (changed(ts=...), "no ts"),
        (changed(ts="1.5"), "ts '1.5' is not seconds since 1970"),
        (changed(ts=True), "ts True"),
        (changed(ts=-1.0), "ts -1.0"),
        (changed(ts=float("nan")), "ts nan"),
        (changed(ts=float("inf")), "ts inf"),
        (changed(ts=10**400), "ts a huge number"),
        (changed(ends=...), "no ends"),
        (changed(ends=None), "ends None is not originator, responder and port"),
        (changed(ends="a b"), "ends 'a b' is not"),
        (changed(ends="a b c d"), "ends 'a b c d' is not"),
        (changed(ends="a\tb 443/tcp x"), "ends 'a\\tb 443/tcp x' is not"),
        (changed(ends="a b \ud800"), "ends 'a b \\ud800' is not"),
        (changed(ends="a " + "b" * 190 + " c"), "192 ASCII characters at most"),
    ],
)
def test_a_wrong_flow_is_told_and_spoils_no_other(text, problem):
    assert problem in only_problem(text)


def test_a_wrong_flow_keeps_the_name_it_has():
    batch = batch_of(flow("C1"), changed(sizes=[0] * 4), changed(uid=5), "nonsense")
    assert batch.uids == ["C1", "C2", "", ""]
    assert batch.windows == [0, 1, 1, 0]


def test_whose_a_flow_is():
    good = batch_of(
        flow("C1", ts=1700000000.1234565, orig="aa", resp_p="53/udp"), flow("C2", ts=5, orig="", resp="")
    ).good
    assert good.ts.tolist() == [1_700_000_000_123_456, 5_000_000] and good.ts.dtype == np.int64
    assert (good.orig, good.resp[0], good.resp_p) == (["aa", ""], "5e7a0123456789abcdef0002", ["53/udp", ""])
    # The same where one of them spoils the batch.
    batch = batch_of(flow("C1", orig="aa"), "nonsense", flow("C2", orig="bb", ts=2.5))
    assert (batch.good.orig, batch.good.ts.tolist()) == (["aa", "bb"], [1_700_000_000_250_000, 2_500_000])
    assert batch.places(2) == [0, 2]


# Connections without a verdict, and the end of a capture.


def test_tries():
    found = wire.decode(tries(TOPIC, [one_try(), one_try(1.5, "a", "b", "22/tcp", 0, 2)]))
    assert isinstance(found, wire.Tries) and (found.topic, found.reply_topic) == (TOPIC, "mmtt/node/zeek")
    assert found.tries[1] == Try(1_500_000, "a", "b", "22/tcp", 0, 2)
    assert (found.tries[0].ts, found.tries[0].failed) == (1_700_000_000_250_000, 3)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "try '.*' is not a time, originator, responder, port and two counts"),
        (one_try(failed=-1), "is not a time"),
        (one_try(failed=10**9), "is not a time"),
        (one_try(ts=-1), "is not a time"),
        (one_try(ts=float("nan")), "is not a time"),
        (one_try(orig="a\n"), "is not a time"),
        (one_try(orig=""), "is not a time"),
        (one_try() + "\n", "is not a time"),
        (one_try() + " 1", "is not a time"),
        (flow(), "is not a time"),
    ],
)
def test_a_wrong_try_spoils_its_message(line, problem):
    with pytest.raises(WireError, match=problem):
        wire.decode(tries(TOPIC, [one_try(), line]))


def test_more_than_64_tries():
    with pytest.raises(WireError, match="message of 65 tries; at most 64"):
        wire.decode(tries(TOPIC, [one_try()] * 65))


def test_the_end_of_a_capture():
    assert wire.decode(all_sent(TOPIC)) == wire.AllSent(TOPIC, "mmtt/node/zeek")
    assert plain(sent(wire.encode_finished("mmtt/node/a"))[1]) == ["MMTT::finished", [3]]


def test_two_flows_in_one_string_are_not_two_flows():
    one, two = flow("C1"), flow("C2")
    batch = batch_of(f"{one},{two[:-1]}", "}")
    assert list(batch.problems) == [0, 1]
    # Read together, these two strings would be two good flows.
    batch = batch_of(f'{one},{{"uid":[{{}}', f"{{}}],{two[1:]}")
    assert list(batch.problems) == [0, 1]


# What is wrong with a message.


def test_more_than_64_flows():
    with pytest.raises(WireError, match="batch of 65 flows; at most 64"):
        wire.decode(classify(TOPIC, 1, flows(65)))


def test_another_protocol():
    with pytest.raises(
        wire.UnknownProtocol, match="speaks protocol 1, this agent speaks 3; install matching versions of both"
    ):
        wire.decode(event(TOPIC, "MMTT::classify", count(1), value("boolean", True)))


GOOD = json.loads(classify(TOPIC, 1, flows(1)))


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("", "message is not JSON at character 0"),
        (b"\xff", "not UTF-8 at byte 0"),
        ("[]", "message is an array"),
        ("{}", "type None"),
        ('{"type":[]}', "type an array"),
        ('{"type":"ack"}', "no endpoint"),
        ('{"type":"error","code":1}', "no code"),
        ('{"type":"data-message"}', "no topic"),
        ('{"type":"data-message","topic":"t"}', "message is not a vector"),
        ('{"type":"data-message","topic":"t","@data-type":"vector","data":[]}', "Broker's format 1"),
        ("[" * 1_000_000, "nested too deep"),
        ("9" * 10_000, "too long"),
        (" " * (1 << 20) + "{}", "message of 1048578 bytes"),
        (event(TOPIC, "MMTT::classify"), "no protocol version"),
        (event(TOPIC, "MMTT::classify", string("1")), "protocol version is not a count"),
        (event(TOPIC, "MMTT::classify", count(-1)), "protocol version -1"),
        (event(TOPIC, "MMTT::classify", count(True)), "protocol version is not a count"),
        (event(TOPIC, "MMTT::classify", count(3)), "has 1 arguments, not 4"),
        (classify(TOPIC, -1, []), "batch id -1"),
        (classify(TOPIC, 1 << 64, []), "batch id 18446744073709551616"),
        (classify(TOPIC, 10**400, []), "batch id a huge number"),
        (classify(TOPIC, 1, [], "mmtt/sensor"), "reply topic 'mmtt/sensor'"),
        (classify(TOPIC, 1, [], "mmtt/node/"), "reply topic"),
        (classify(TOPIC, 1, [], "mmtt/node/a b"), "reply topic"),
        (classify(TOPIC, 1, [], "mmtt/node/" + "x" * 256), "reply topic"),
        (
            event(TOPIC, "MMTT::classify", count(3), string("mmtt/node/a"), count(1), vector(count(1))),
            "flow is not a",
        ),
    ],
)
def test_a_wrong_message_is_told_in_one_line(message, problem):
    with pytest.raises(WireError) as caught:
        wire.decode(message)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200) | st.text(max_size=200) | JSON.map(json.dumps))
def test_no_bytes_raise_anything_else(message):
    try:
        wire.decode(message)
    except WireError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not every message raises


@st.composite
def damaged(draw):
    """A good message in which one node, however deep, is another value; or the text is cut or has bytes changed."""
    content = json.loads(classify(TOPIC, 1, flows(2, packets=4)))
    node = content
    for _ in range(draw(st.integers(0, 12))):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or draw(st.integers(0, 4)) == 0:
            node[key] = draw(JSON)
            break
        node = node[key]
    text = json.dumps(content).encode()
    if draw(st.booleans()):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.binary(max_size=4)) + text[place + draw(st.integers(0, 4)) :]
    return text


@settings(max_examples=300)
@given(damaged())
def test_a_damaged_message_is_an_event_or_a_wire_error(message):
    try:
        decoded = wire.decode(message)
    except WireError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not every message raises
    else:
        if isinstance(decoded, Classify):
            check(decoded)


def check(batch: Classify) -> None:
    """Nothing in a batch breaks the rules of the series, and it can be answered."""
    good = len(batch) - len(batch.problems)
    assert len(batch.series) == good
    assert len(batch.uids) == len(batch.windows) == len(batch)
    series = batch.series
    filled = np.arange(32) < series.lengths[:, None]
    assert ((series.lengths >= 4) & (series.lengths <= 32)).all()
    assert (np.abs(series.sizes)[filled] >= 1).all() and (np.abs(series.sizes) <= 65535).all()
    assert not series.sizes[~filled].any() and not series.times[~filled].any()
    assert (np.diff(series.times)[filled[:, 1:]] >= 0).all() and not series.times[:, :1].any()
    answer = json.loads(wire.encode_verdicts(batch, verdicts(good)))
    assert len(plain(answer["data"])[2][1][2]) == len(batch)


FLOW_VALUES = st.lists(st.integers(-3, 70_000) | st.integers() | st.booleans() | st.floats() | st.none(), max_size=34)
FLOW_TIMES = FLOW_VALUES.map(lambda v: sorted(v, key=lambda x: (type(x) is not int, repr(x)))) | FLOW_VALUES
ANY_FLOW = st.fixed_dictionaries(
    {
        "uid": st.text(max_size=5) | JSON,
        "window": st.integers(-1, 5),
        "sizes": FLOW_VALUES,
        "times": FLOW_TIMES,
        "ts": st.floats() | st.integers(-1, 10**12) | st.booleans(),
        "ends": st.just("a b 443/tcp") | st.text(" ab\n", max_size=5) | JSON,
    }
).map(json.dumps)


# Large examples take a while to make, the more so with an older hypothesis or on a busy machine.
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANY_FLOW | st.integers(0, 99).map(lambda n: flows(1, n)[0]), max_size=8))
def test_flows_read_together_are_the_flows_read_one_by_one(made):
    uids, windows, good, problems = wire.decode_flows(made)
    batch = Classify(TOPIC, "mmtt/node/a", 1, uids, windows, good, problems)
    check(batch)
    single = [wire.decode_flows([each]) for each in made]
    assert uids == [each[0][0] for each in single]
    assert windows == [each[1][0] for each in single]
    assert problems == {place: each[3][0] for place, each in enumerate(single) if each[3]}
    assert good.series.sizes.tolist() == [row for each in single for row in each[2].series.sizes.tolist()]
    for name in ("ts", "orig", "resp", "resp_p"):
        assert list(getattr(good, name)) == [value for each in single for value in getattr(each[2], name)]


# What we send.


def verdicts(n: int) -> Verdicts:
    return Verdicts(
        ["web"] * n,
        np.full(n, 0.25),
        ['a "b"'] * n,
        np.full(n, 1.0),
        np.arange(n) % 2 == 0,
        np.full(n, 0.00004),
        ["scan" if i % 2 == 0 else "" for i in range(n)],
        np.full(n, -10.0),
        np.zeros((n, 0)),
        np.zeros((n, 16), np.float32),
        np.zeros((n, 0), np.float32),
    )


def sent(text: str):
    content = json.loads(text)
    (one, kind, body) = content["data"]
    assert content["type"] == "data-message" and content["@data-type"] == "vector"
    assert (one, kind) == (count(1), count(1))
    return content["topic"], body


def test_hello_tick_and_bye():
    topic, body = sent(wire.encode_hello("a", "m@1", 4096))
    assert topic == "mmtt/sensor"
    assert body == vector(
        string("MMTT::agent_hello"), vector(count(3), string("a"), string(TOPIC), string("m@1"), count(4096))
    )
    assert plain(sent(wire.encode_tick("a"))[1]) == ["MMTT::tick", [3, "a"]]
    assert plain(sent(wire.encode_bye("a"))[1]) == ["MMTT::agent_bye", [3, "a"]]
    assert json.loads(wire.encode_subscriptions("a")) == [TOPIC, "mmtt/agents"]


def test_the_layout_of_a_verdict_is_frozen():
    topic, body = sent(wire.encode_verdicts(batch_of(flow('C"1', 3)), verdicts(1), incidents=["Iabc"]))
    assert topic == "mmtt/node/zeek"
    assert body == vector(
        string("MMTT::verdicts"),
        vector(
            count(3),
            count(7),
            vector(
                vector(
                    string('C"1'),
                    count(3),
                    string("ok"),
                    string("web"),
                    value("real", 0.25),
                    string('a "b"'),
                    value("real", 1.0),
                    value("boolean", True),
                    value("real", 0.0),
                    string("scan"),
                    string("Iabc"),
                )
            ),
        ),
    )


def test_every_flow_is_answered_in_order():
    batch = batch_of(flow("C1"), "nonsense", flow("C3"), flow("C4"), flow("C5"))
    records = plain(sent(wire.encode_verdicts(batch, verdicts(2), range(3, 5)))[1])[1][2]
    assert [r[9] for r in records] == ["scan", "", "", "", ""]
    assert [(r[0], r[2]) for r in records] == [
        ("C1", "ok"), ("", "error"), ("C3", "ok"), ("C4", "shed"), ("C5", "shed"),
    ]  # fmt: skip
    assert records[4][3:] == ["", 0, "", 0, False, 0, "", ""]


def test_without_verdicts_every_flow_is_an_error():
    records = plain(sent(wire.encode_verdicts(batch_of(*flows(3)), None))[1])[1][2]
    assert [r[2] for r in records] == ["error"] * 3


def test_reals_have_a_decimal_point():
    # Zeek's reader takes a JSON number without one for an integer and refuses the record.
    text = wire.encode_verdicts(batch_of(flow()), verdicts(1))
    assert '"real","data":1.0000' in text and '"real","data":0.0000' in text


def test_the_layout_of_an_incident_is_frozen():
    found = Incident(
        1_700_000_000_000_001, "I0123456789AB", "opened", "originator", "aa", None, "22/tcp", "", 0.98765, 41,
        1_699_999_999_000_000, 5, 1 << 40, 0, "41 connections", ("C1", "C2"),
    )  # fmt: skip
    topic, body = sent(wire.encode_incidents("mmtt/node/a", [found]))
    assert topic == "mmtt/node/a"
    assert body == vector(
        string("MMTT::incidents"),
        vector(
            count(3),
            vector(
                vector(
                    value("real", 1_700_000_000.000001),
                    string("I0123456789AB"),
                    string("opened"),
                    string("originator"),
                    string("aa"),
                    string(""),
                    string("22/tcp"),
                    string(""),
                    value("real", 0.9877),
                    count(41),
                    value("real", 1_699_999_999.0),
                    value("real", 0.000005),
                    count(1 << 40),
                    count(0),
                    string("41 connections"),
                    vector(string("C1"), string("C2")),
                )
            ),
        ),
    )
    assert '"data":0.000005' in wire.encode_incidents("mmtt/node/a", [found])
