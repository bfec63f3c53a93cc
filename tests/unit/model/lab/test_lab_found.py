"""Incidents held against the truth of a day: which is the attack's, after how many connections, and which are false."""

from __future__ import annotations

import numpy as np

from mmtt_agent.capture import Connections
from mmtt_agent.classify.row import IncidentRow, Row
from mmtt_agent.incidents import IncidentModel
from mmtt_model.lab.found import judge, report

_SECOND = 1_000_000
_HOST, _OTHER, _BAD, _GOOD = "10.77.0.1", "10.77.0.2", "198.18.0.1", "198.18.0.2"
_PAIRS = [
    {
        "orig": _HOST,
        "resp": _BAD,
        "activity": "beacon_https",
        "kind": "command_and_control",
        "begin": f"{10 * _SECOND}",
    },
    {"orig": _HOST, "resp": _GOOD, "activity": "web", "kind": "", "begin": "0"},
    {"orig": _OTHER, "resp": _GOOD, "activity": "ntp", "kind": "", "begin": "0"},
]
_MODEL = IncidentModel({}, "0.1%", {"50%": -4.0, "90%": -1.0}, ("command_and_control",))


def _day(attack="beacon_https", kind="command_and_control", period="60", jitter="0.3"):
    return {
        "capture": "a", "hours": "24", "hosts": "2", "attack": attack, "kind": kind, "period": period,
        "jitter": jitter, "sessions": "",
    }  # fmt: skip


def _connections():
    """Twenty to the bad server, a minute apart, and as many to the good one."""
    starts = np.repeat(np.arange(20) * 60 * _SECOND + 10 * _SECOND, 2)

    def address(text):
        return np.array([*[0] * 10, 255, 255, *map(int, text.split("."))], np.uint8)

    nothing = np.zeros(40, np.int64)
    values = {
        "ts": starts,
        "orig_h": np.array([address(_HOST)] * 40),
        "resp_h": np.array([address(_BAD), address(_GOOD)] * 20),
        "is_ipv6": np.zeros(40, bool),
    }
    return Connections(**{name: values.get(name, nothing) for name in Connections.__slots__})


def _incident(at, orig, resp, kind=None, state="opened", name="I1"):
    return IncidentRow(
        at * _SECOND, name, state, orig, resp, 443, kind, 0.9, 5, 10 * _SECOND, at * _SECOND, 0, 0, "", (), "a"
    )


def _flow(orig, resp, score):
    told = dict.fromkeys(Row._fields) | {"orig_h": orig, "resp_h": resp, "malicious_score": score}
    return Row(**told)


def test_an_attack_is_found_after_so_many_connections_and_called_what_it_is_called_at_last():
    incidents = [
        *[_flow(_HOST, _BAD, score) for score in (0.5, 0.1, None)],
        _flow(_HOST, _GOOD, 0.0),
        _incident(310, _HOST, _BAD),
        _incident(320, _HOST, _GOOD, "scan", name="I2"),
        _incident(500, _HOST, _BAD, "command_and_control", "grown"),
    ]
    result = judge(_day(), _PAIRS, _connections(), incidents, _MODEL)
    assert (result.connections, result.kind) == (6, "command_and_control")
    assert [what for _, what in result.false] == ["web"]
    text = report([result, judge(_day("", "", "", ""), _PAIRS[1:], _connections(), [], _MODEL)])
    assert "| beacon_https | 60 s | 30 % | 50 % | yes | 6 | 5 min | pair | command_and_control | yes |" in text
    assert "1 of 1 attacks found, 1 of these with the right kind." in text
    assert "Days without an attack: 0 false incidents in 48 host-hours." in text
    assert "what is not of it: 1 false incidents in 48 host-hours, one in 48: web 1." in text


def test_an_attack_that_is_not_found_says_how_many_connections_it_had():
    result = judge(_day(), _PAIRS, _connections(), [_incident(30, _OTHER, _GOOD)], _MODEL)
    assert result.first is None
    assert "| beacon_https | 60 s | 30 % | no verdict | no | (20) |  |  |  |  |" in report([result])


def test_an_incident_of_a_host_is_the_attacks_if_the_host_is():
    def is_found(*incident):
        return judge(_day(), _PAIRS, _connections(), [_incident(*incident)], _MODEL).first is not None

    assert is_found(70, _HOST, None) and is_found(70, None, _BAD)
    assert not is_found(5, _HOST, None), "before the attack has begun"
    assert not is_found(70, _OTHER, None) and not is_found(70, None, _GOOD)


def test_a_day_without_an_attack_has_false_incidents_alone():
    result = judge(_day("", "", "", ""), _PAIRS[1:], _connections(), [_incident(70, _HOST, None)], _MODEL)
    assert result.first is None and [what for _, what in result.false] == ["many"]
