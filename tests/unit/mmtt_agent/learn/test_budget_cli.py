"""`mmtt learn threshold` as its user sees it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mmtt_agent.agent import config
from mmtt_agent.classify.log import INCIDENTS, ROWS, ROWS_WITH_COMMUNITY_ID, JsonWriter, TsvWriter
from mmtt_agent.classify.row import IncidentRow, Row
from mmtt_agent.learn.cli import learn

HOUR = 3_600_000_000
BEGIN = 1_790_000_000_000_000 // (24 * HOUR) * 24 * HOUR
MODEL = "mmtt-3@59170249"
SERVICES = ("web", "iot", "tunnel")


def row(ts: int, service="web", score=0.1, **changes) -> Row:
    made = Row(
        ts, "C1", "10.0.0.1", 4711, "192.0.2.1", 443, "tcp", 0, 8, service, 0.9, "unknown", 0.2, score >= 0.9, score,
        None, "ok", None, MODEL, None, "",
    )  # fmt: skip
    return made._replace(**changes)


def traffic(first: int, n: int, seed: int = 0, rows_a_day: int = 3000) -> list[Row]:
    """Days of it, by day more than by night."""
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(first, first + n):
        for _ in range(rng.poisson(rows_a_day)):
            hour = min(23.99, rng.triangular(0, 14, 24))
            service = SERVICES[int(rng.choice(3, p=(0.8, 0.15, 0.05)))]
            log_odds = rng.normal(-3, 1.2) + (service == "iot") * rng.exponential(2.5)
            rows.append(
                row(
                    BEGIN + int((day * 24 + hour) * HOUR),
                    service,
                    round(float(1 / (1 + np.exp(-log_odds))), 4),
                    resp_h=f"192.0.2.{min(250, int(rng.zipf(1.5)))}",
                )
            )
    return sorted(rows)


def found(first: int, n: int, a_day: int, seed: int = 0) -> list[IncidentRow]:
    """Incidents of some days, opened, and closed with a score that may have grown."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(rng.poisson(n * a_day)):
        ts = BEGIN + int(rng.uniform(first * 24, (first + n) * 24) * HOUR)
        score = round(float(rng.uniform(0.75, 1)), 4)
        of = (("10.0.0.7", f"192.0.2.{number % 200}", 443), ("10.0.0.9", None, None))[int(rng.random() < 0.2)]
        for state, at, value in (("opened", ts, round(score * 0.9 + 0.075, 4)), ("closed", ts + HOUR, score)):
            rows.append(
                IncidentRow(
                    at,
                    f"I{first}x{number}",
                    state,
                    *of,
                    "scan",
                    max(value, 0.75),
                    9,
                    ts,
                    at,
                    1,
                    1,
                    "9 like ones",
                    ("C1",),
                    "",
                )
            )
    return rows


def log(path: Path, rows, of=ROWS, writer=TsvWriter) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as out:
        made = writer(out, of, several=False)
        for each in rows:
            made.write(each)
        made.close()
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A week, as zeekctl keeps it, and today in JSON."""
    place = tmp_path_factory.mktemp("logs")
    for day in range(6):
        name = f"2026-09-{21 + day}"
        log(place / name / "mmtt.00:00:00-00:00:00.log.gz", traffic(day, 1, day))
        log(place / name / "mmtt_incidents.00:00:00-00:00:00.log.gz", found(day, 1, 30, day), INCIDENTS)
    log(place / "current" / "mmtt.log", traffic(6, 1, 6), writer=JsonWriter)
    log(place / "current" / "mmtt_incidents.log", found(6, 1, 30, 6), INCIDENTS, JsonWriter)
    return place


def run(*arguments: object, status: int = 0):
    done = CliRunner().invoke(learn, ["threshold", *map(str, arguments)])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def as_json(*arguments: object, status: int = 0) -> dict:
    return json.loads(run("--format", "json", *arguments, status=status).stdout)


def one_line(*arguments: object, status: int) -> str:
    done = run(*arguments, status=status)
    assert done.stdout == ""
    return done.stderr


def test_flows_of_a_week(site):
    made = as_json("--flows", "--alerts-per-day", 20, site)
    assert made["model"] == MODEL and 6.9 < made["days"] <= 7
    total = made["rows"][-1]
    assert total["of"] == "all" and 17 <= total["a_day"] <= 20 and total["low"] < total["a_day"] < total["high"]
    assert {each["of"] for each in made["rows"][:-1]} == {*SERVICES}
    assert {*made["thresholds"]["malicious"]} == {"others", *SERVICES}
    # The least score that was called malicious is the threshold that ran.
    assert all(each["now"] >= 0.9 for each in made["rows"][:-1] if each["now"] is not None)
    # Noisy ones are no more than their share of what there is.
    iot = next(each for each in made["rows"] if each["of"] == "iot")
    assert iot["now_a_day"] > 0.5 * total["now_a_day"] and iot["a_day"] < 0.5 * total["a_day"]


def test_half_of_the_days_and_the_other_half(site):
    for first, second in ((range(3), range(3, 6)), (range(3, 6), range(3))):
        known, later = ([site / f"2026-09-{21 + day}" for day in days] for days in (first, second))
        thresholds = as_json("--flows", "--alerts-per-day", 20, *known)["thresholds"]["malicious"]
        rows = sorted(each for day in second for each in traffic(day, 1, day))
        until: dict[tuple, int] = {}
        told = 0
        for each in rows:
            key = each.resp_h, each.service
            if each.malicious_score >= thresholds.get(each.service, thresholds["others"]) and each.ts > until.get(
                key, 0
            ):
                until[key], told = each.ts + HOUR, told + 1
        assert 20 / 1.5 < told / len(later) < 20 * 1.5


def test_what_it_writes_are_settings_of_the_agent(site, tmp_path):
    out = tmp_path / "own.yaml"
    done = run("--flows", "--alerts-per-day", 10, site, "-o", out)
    assert "MMTT::malicious_flows = T" in done.stderr and str(out) in done.stderr
    assert yaml.safe_load(out.read_text())["thresholds"]["malicious"].keys() >= {"others"}
    assert config.load(out).thresholds.malicious.keys() >= {"others"}
    done = run("--alerts-per-day", 10, site, "-o", out)
    assert config.load(out).thresholds.incidents.keys() == {"pair", "originator"}
    assert "mmtt reload" in done.stderr


def test_incidents_are_raised_to_the_budget(site):
    made = as_json("--alerts-per-day", 10, site)
    *rows, total = made["rows"]
    assert 25 < total["now_a_day"] < 35 and 8.5 <= total["a_day"] <= 10
    assert {each["of"] for each in rows} == {"pair", "originator"}
    assert all(0.75 <= each["now"] < 0.8 < each["proposed"] for each in rows)


def test_incidents_of_exempt_hosts_are_left_out(site):
    *rows, total = as_json("--alerts-per-day", 10, "--exempt", "10.0.0.9", site)["rows"]
    assert [each["of"] for each in rows] == ["pair"] and 8.5 <= total["a_day"] <= 10


def test_incidents_that_are_few_enough_stay_as_they_are(site, tmp_path):
    out = tmp_path / "own.yaml"
    done = run("--alerts-per-day", 100, site, "-o", out, "--format", "json")
    assert json.loads(done.stdout)["thresholds"] == {"incidents": {}}
    assert "no more than that" in done.stderr and f"{out} is not written" in done.stderr
    assert not out.exists()


def test_a_site_without_incidents_has_nothing_to_change(tmp_path):
    log(tmp_path / "mmtt.log", traffic(0, 4))
    log(tmp_path / "mmtt_incidents.log", [], INCIDENTS)
    done = run("--alerts-per-day", 5, tmp_path, "--format", "json")
    (total,) = json.loads(done.stdout)["rows"]
    assert (total["of"], total["a_day"]) == ("all", 0.0) and 0 < total["high"] < 1
    assert "no more than that" in done.stderr


def test_a_table_says_what_to_put_where(site):
    text = run("--format", "table", "--flows", "--alerts-per-day", 20, site).stdout
    assert "thresholds:\n  malicious:\n    others: 0." in text and "proposed" in text and "mmtt reload" in text


def test_tsv_is_what_a_pipe_gets(site):
    head, *rows = run("--flows", "--alerts-per-day", 20, site).stdout.splitlines()
    assert head.split("\t") == ["of", "possible", "now", "now_a_day", "proposed", "a_day", "low", "high"]
    assert [row.split("\t")[0] for row in rows][-1] == "all" and len(rows) == 4
    assert len({row.count("\t") for row in (head, *rows)}) == 1


def test_incidents_are_found_beside_a_log_that_is_named(site):
    today = site / "2026-09-22" / "mmtt.00:00:00-00:00:00.log.gz"
    assert as_json("--alerts-per-day", 10, today)["rows"] == as_json("--alerts-per-day", 10, today.parent)["rows"]


def test_what_is_not_there(tmp_path, site):
    (tmp_path / "empty").mkdir()
    assert "no mmtt.log in" in one_line("--alerts-per-day", 5, tmp_path / "empty", status=2)
    assert "No such file or directory" in one_line("--alerts-per-day", 5, tmp_path / "absent", status=2)
    alone = log(tmp_path / "mmtt.log", traffic(0, 1))
    assert "no mmtt_incidents.log in" in one_line("--alerts-per-day", 5, alone, "--incidents", status=2)
    assert "Missing argument" in one_line("--alerts-per-day", 5, status=2)


def test_without_a_log_of_incidents_flows_are_judged_and_that_is_said(tmp_path):
    alone = log(tmp_path / "mmtt.log", traffic(0, 3))
    done = run("--alerts-per-day", 20, alone, "--format", "json")
    assert done.exit_code == 0 and json.loads(done.stdout)["thresholds"].keys() == {"malicious"}
    assert "no mmtt_incidents.log in" in done.stderr and "these are thresholds of single flows" in done.stderr


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "many"])
def test_numbers_that_are_none(site, number):
    assert "--alerts-per-day" in one_line("--alerts-per-day", number, site, status=2)


def test_rows_without_a_score(tmp_path):
    silent = [
        row(BEGIN + at * HOUR, status="no_agent", service=None, malicious=None, malicious_score=None, model=None)
        for at in range(48)
    ]
    line = one_line("--flows", "--alerts-per-day", 5, log(tmp_path / "mmtt.log", silent), status=1)
    assert "48 rows are without a score" in line and "mmtt doctor" in line


def test_a_file_that_is_another_log(tmp_path):
    path = tmp_path / "other.log"
    path.write_text("hello\nworld\n")
    assert "no rows that can be read; is it mmtt.log?" in one_line("--flows", "--alerts-per-day", 5, path, status=1)


def test_an_hour_says_nothing_of_a_day(tmp_path):
    rows = [row(BEGIN + at * HOUR // 1000, score=at / 1000) for at in range(1000)]
    line = one_line("--flows", "--alerts-per-day", 5, log(tmp_path / "mmtt.log", rows), status=1)
    assert "1.0 hours of traffic say nothing of a day: 6 are the least" in line


def test_half_a_day_is_used_and_said_to_be_little(tmp_path):
    rows = [each for each in traffic(0, 1) if each.ts < BEGIN + 12 * HOUR]
    done = run("--flows", "--alerts-per-day", 20, log(tmp_path / "mmtt.log", rows))
    assert "hours were seen: days that are not like these" in done.stderr
    line = one_line("--flows", "--alerts-per-day", 1, tmp_path / "mmtt.log", status=1)
    assert "less than one: log for 24 hours at least" in line


def test_nights_without_traffic_count_and_days_without_a_sensor_do_not(tmp_path):
    office = [each for each in traffic(0, 4) if 8 <= each.ts // HOUR % 24 < 20]
    assert 3.4 < as_json("--flows", "--alerts-per-day", 5, log(tmp_path / "mmtt.log", office))["days"] < 3.6
    away = [each for each in traffic(0, 14) if each.ts // HOUR // 24 - BEGIN // HOUR // 24 in (0, 1, 12, 13)]
    assert 3.9 < as_json("--flows", "--alerts-per-day", 5, log(tmp_path / "mmtt.log", away))["days"] <= 4


def test_a_clock_that_jumped(tmp_path):
    rows = traffic(0, 4)
    plain = as_json("--flows", "--alerts-per-day", 5, log(tmp_path / "a" / "mmtt.log", rows))
    jumped = [row(3 * HOUR, score=0.99), *rows, row(BEGIN * 2, score=0.99), row(BEGIN * 2 + HOUR, model="other@1")]
    done = run("--flows", "--alerts-per-day", 5, log(tmp_path / "b" / "mmtt.log", jumped), "--format", "json")
    assert json.loads(done.stdout) == plain
    assert "3 rows are more than 30 days from the others and left out: has the clock jumped?" in done.stderr


def test_of_several_models_the_latest_counts(tmp_path):
    old = [each._replace(model="mmtt-2@01234567", malicious_score=0.99) for each in traffic(0, 3)]
    new = traffic(3, 4)
    plain = as_json("--flows", "--alerts-per-day", 5, log(tmp_path / "new" / "mmtt.log", new))
    done = run("--flows", "--alerts-per-day", 5, log(tmp_path / "both" / "mmtt.log", old + new), "--format", "json")
    assert json.loads(done.stdout) == plain
    assert f"of another model and left out (mmtt-2@01234567): used is the latest, {MODEL}" in done.stderr
    log(tmp_path / "both" / "mmtt_incidents.log", found(0, 7, 20), INCIDENTS)
    done = run("--alerts-per-day", 5, tmp_path / "both", "--format", "json")
    assert json.loads(done.stdout)["days"] == plain["days"] and "did not answer, and left out" in done.stderr


def test_one_that_scores_the_highest_all_day_is_named(tmp_path):
    beacon = [row(BEGIN + at * HOUR // 2, score=1.0, resp_h=f"203.0.113.{at % 7}") for at in range(192)]
    path = log(tmp_path / "mmtt.log", sorted([*traffic(0, 4), *beacon]))
    line = one_line("--flows", "--alerts-per-day", 5, path, status=1)
    assert "no threshold gives so few: " in line and "203.0.113.0 (web): " in line and "MMTT::exempt_subnets" in line
    plain = as_json("--flows", "--alerts-per-day", 5, log(tmp_path / "plain" / "mmtt.log", traffic(0, 4)))
    assert (
        as_json("--flows", "--alerts-per-day", 5, path, "--exempt", "203.0.113.0/24")["thresholds"]
        == plain["thresholds"]
    )
    everything = ("--exempt", "10.0.0.0/8")
    line = one_line("--flows", "--alerts-per-day", 5, path, *everything, status=1)
    assert "no threshold gives so many: all flows together would raise 0.0" in line
    assert "not appear to be" in one_line("--flows", "--alerts-per-day", 5, path, "--exempt", "host", status=2)


def test_a_column_for_community_ids_changes_nothing(tmp_path):
    rows = traffic(0, 4)
    plain = log(tmp_path / "mmtt.log", rows)
    ids = log(tmp_path / "ids" / "mmtt.log", [r._replace(community_id="1:x=") for r in rows], ROWS_WITH_COMMUNITY_ID)
    assert as_json("--flows", "--alerts-per-day", 5, ids) == as_json("--flows", "--alerts-per-day", 5, plain)


def test_fewer_flows_than_alerts(tmp_path):
    line = one_line("--flows", "--alerts-per-day", 9000, log(tmp_path / "mmtt.log", traffic(0, 4)), status=1)
    assert "no threshold gives so many: all flows together would raise" in line


def test_rows_that_cant_be_read_are_counted_and_the_others_used(tmp_path):
    path = log(tmp_path / "mmtt.log", traffic(0, 4), writer=JsonWriter)
    with path.open("a") as out:
        out.write('{"ts": 1790000000.0, "malicious_score": 7}\n{"ts": "yesterday"}\n{half\n')
    done = run("--flows", "--alerts-per-day", 5, path, status=1)
    assert "3 rows could not be read, and are left out; the first, line " in done.stderr
    assert "malicious_score can't be 7" in done.stderr and done.stdout.startswith("of\t")


def test_a_log_is_not_written_over(site):
    path = site / "current" / "mmtt.log"
    before = path.read_bytes()
    assert "is one of the logs" in one_line("--flows", "--alerts-per-day", 5, site, "-o", path, status=2)
    assert path.read_bytes() == before
