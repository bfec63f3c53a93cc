"""What Zeek's logs say of recorded connections, joined by uid."""

import pytest
from site_memory import BEGIN, Site

from mmtt_agent import servers
from mmtt_agent.learn import names
from mmtt_agent.learn.errors import LearnError
from mmtt_agent.servers import Answer

SECOND = 1_000_000
OWN = {
    f"{kind}.intra.example.org": Answer("web", name)
    for kind, name in {"erp": "ERP", "files": "Files", "camera": "Cameras"}.items()
}
EXPECTED = {"erp": "ERP", "files": "Files", "camera": "Cameras"}


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path, kinds=["erp", "files", "camera", "erp"])


def known(site, said=None):
    table = servers.shipped().with_domains(OWN)
    return names.known(site.logs, site.uids, table, (said if said is not None else []).append)


def applications(found) -> dict[str, str | None]:
    return {uid: answer.application for uid, answer in found.answers.items()}


def all_named(site) -> dict[str, str]:
    return {uid: EXPECTED[kind] for uid, kind in zip(site.uids, site.kinds, strict=True)}


@pytest.mark.parametrize("form", ["tsv", "json"])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_server_s_name_is_what_it_is_called(site, form, rotated):
    for log, rows in (("conn", site.connections()), ("ssl", site.handshakes())):
        if rotated:
            site.log(rows[:2], f"2026-11-02/{log}.00:00:00-01:00:00.log.gz", form)
            site.log(rows[2:], f"{log}.log", form)
        else:
            site.log(rows, f"{log}.log", form)
    said = []
    found = known(site, said)
    assert applications(found) == all_named(site) and {*found.by.values()} == {"server's name"}
    assert found.counts["named by server's name"] == 4 and not found.problems
    assert said == [f"read {1 + rotated} conn.log", f"read {1 + rotated} ssl.log"]
    assert found.connections[site.uids[1]] == (site.ts[1], "10.0.0.1", "192.0.2.1", 443, "tcp", "ssl")


def test_quic_and_http_name_servers_too(site):
    site.log(site.connections(), "conn.log")
    rows = site.handshakes()
    site.log(rows[:1], "quic.log")
    site.log([{"ts": row["ts"], "uid": row["uid"], "host": row["server_name"]} for row in rows[1:]], "http.log")
    assert applications(known(site)) == all_named(site)


def test_a_connection_with_two_names_has_none(site):
    site.log(site.connections(), "conn.log")
    rows = site.handshakes()
    site.log([*rows, rows[0] | {"server_name": "files.intra.example.org"}, rows[1]], "ssl.log")
    found = known(site)
    assert {*found.answers} == {*site.uids[1:]}
    assert found.counts["of several servers' names, left out"] == 1 and found.counts["without a known name"] == 1


def test_the_protocol_names_what_has_no_name(site):
    rows = site.connections()
    rows[0]["service"], rows[1]["service"] = "ssh", None
    rows[2]["service"] = "ssl,smtp"
    site.log(rows, "conn.log")
    found = known(site)
    assert found.by == {site.uids[0]: "protocol", site.uids[2]: "protocol"}
    assert found.answers[site.uids[2]].service == "email"
    assert found.counts["without a known name"] == 2


def look_up(site, at: int, name: str, address: str = "192.0.2.0", orig: str = "10.0.0.1") -> dict:
    return {"ts": at, "uid": "CD", "id.orig_h": orig, "query": name, "answers": ["alias.example.org", address]}


def test_what_was_looked_up_just_before_names_what_has_no_name(site):
    rows = site.connections()
    site.log(rows, "conn.log")
    first, last = site.ts[0], site.ts[3]
    site.log(
        [
            look_up(site, first - 2 * SECOND, "files.intra.example.org"),
            look_up(site, first - SECOND, "erp.intra.example.org"),
            look_up(site, first + SECOND, "files.intra.example.org"),
            look_up(site, last - SECOND, "camera.intra.example.org", orig="10.0.0.2"),
            look_up(site, last - 3700 * SECOND, "camera.intra.example.org"),
        ],
        "dns.log",
    )
    found = known(site)
    # The last one has what was looked up after the first began, and less than an hour before.
    assert applications(found) == {site.uids[0]: "ERP", site.uids[3]: "Files"}
    assert {*found.by.values()} == {"name looked up before"}


def test_a_name_in_the_handshake_comes_before_a_look_up(site):
    site.log(site.connections(), "conn.log")
    site.log(site.handshakes(), "ssl.log")
    site.log([look_up(site, site.ts[0] - SECOND, "camera.intra.example.org")], "dns.log")
    assert applications(known(site)) == all_named(site)


def test_logs_of_another_sensor_are_told(site):
    site.log([row | {"uid": "X" + row["uid"]} for row in site.connections()], "conn.log")
    with pytest.raises(LearnError, match=r"none of 4 recorded connections is in its conn\.log"):
        known(site)


def test_a_directory_without_conn_log_is_told(site):
    site.log(site.handshakes(), "ssl.log")
    with pytest.raises(LearnError, match=r"holds no conn\.log"):
        known(site)


def test_a_damaged_conn_log_is_told_as_such(site):
    site.log(site.connections(), "conn.log.gz")
    path = site.logs / "conn.log.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(LearnError, match=r"conn\.log\.gz: damaged"):
        known(site)


def test_rows_that_can_not_be_read_are_told_and_the_others_used(site):
    site.write_logs()
    with (site.logs / "conn.log").open("a") as log:
        log.write("half a row\n")
    found = known(site)
    assert applications(found) == all_named(site)
    assert len(found.problems) == 1 and "a row could not be read, and is left out" in found.problems[0]


def test_columns_that_json_has_empty_are_nothing(site):
    site.log([row | {"service": None, "id.resp_p": None} for row in site.connections()], "conn.log", "json")
    assert {(each.service, each.resp_p) for each in known(site).connections.values()} == {("", 0)}


def test_without_logs_at_all_nothing_is_looked_up_for_nothing(site):
    site.log([row | {"ts": BEGIN} for row in site.connections()], "conn.log")
    found = known(site)
    assert not found.answers and found.counts["without a known name"] == 4
