"""docs/logs.md has each column, field, notice and metric, and no other."""

import re

import pytest
import zeek_scripts
from all_metrics import all_metrics
from places import ROOT, ZEEK_SCRIPTS

from mmtt_agent.classify.log import COLUMNS, COMMUNITY_ID, INCIDENT_COLUMNS

PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, cell by cell, without its head."""
    text = PAGE.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"((?:^\|.*\n)+)", text, re.MULTILINE)[1].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_columns_of_mmtt_log_are_those_of_zeek_and_of_classify():
    shown = [(row[0].strip("`"), row[1]) for row in table("## mmtt.log")]
    assert tuple(shown) == (*COLUMNS, COMMUNITY_ID)
    zeek = []
    for field in zeek_scripts.record(ZEEK_SCRIPTS / "log.zeek", "type Info: record {"):
        assert field.logged
        if field.type == "conn_id":
            parts = (("orig_h", "addr"), ("orig_p", "port"), ("resp_h", "addr"), ("resp_p", "port"))
            zeek += [(f"{field.name}.{name}", kind) for name, kind in parts]
        else:
            zeek.append((field.name, "enum" if field.type == "transport_proto" else field.type))
    assert zeek == shown


def test_columns_of_mmtt_incidents_log_are_those_of_zeek_and_of_classify():
    shown = [(row[0].strip("`"), row[1]) for row in table("## mmtt_incidents.log")]
    assert tuple(shown) == INCIDENT_COLUMNS
    fields = zeek_scripts.record(ZEEK_SCRIPTS / "incidents.zeek", "type IncidentInfo: record {")
    assert all(field.logged for field in fields)
    assert [(f.name, re.sub(r"vector of (\w+)", r"vector[\1]", f.type)) for f in fields] == shown


def test_fields_of_conn_log():
    found = zeek_scripts.record(ZEEK_SCRIPTS / "conn.zeek", "redef record Conn::Info += {")
    assert [(row[0].strip("`"), row[1]) for row in table("## conn.log")] == [(f.name, f.type) for f in found]


def test_statuses():
    shown = {row[0].strip("`") for row in table("### Status")}
    scripts = "".join(path.read_text(encoding="utf-8") for path in ZEEK_SCRIPTS.glob("*.zeek"))
    counted = set(re.findall(r'case "(\w+)":', scripts))
    assert shown == counted and shown == set(re.findall(r'\["?(\w+)"?\] = counts', "".join(scripts.split())) or counted)


def test_notices():
    shown = {row[0].strip("`").removeprefix("MMTT::") for row in table("## Notices")}
    assert shown == set(zeek_scripts.notices(ZEEK_SCRIPTS))


def test_telemetry_of_zeek():
    assert {row[0].strip("`") for row in table("### Zeek's")} == set(zeek_scripts.metrics(ZEEK_SCRIPTS))


def test_telemetry_of_the_agent():
    assert {row[0].strip("`") for row in table("### The agent's")} == all_metrics()


def test_the_page_is_looked_at():
    """The reader of tables finds rows, and tells a missing heading."""
    assert len(table("## mmtt.log")) == 21
    with pytest.raises(IndexError):
        table("## nothing.log")
