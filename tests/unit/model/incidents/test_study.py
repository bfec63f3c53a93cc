"""From evidence to a bundle's section and the card's figures."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from made_pairs import KINDS, TEMPERATURES, made

from mmtt_agent.incidents.features import FEATURES
from mmtt_model.card.incidents import incidents
from mmtt_model.incidents import measure
from mmtt_model.incidents.evidence import collect
from mmtt_model.incidents.peers import beacon
from mmtt_model.incidents.study import SHARES, of_evidence, percent, study

HARMLESS = np.linspace(-5, 1, 1000)


@pytest.fixture(scope="module")
def told():
    pairs, answers = made()
    return study(pairs, answers, TEMPERATURES, KINDS, HARMLESS, lambda line: None)


def test_the_section_holds_what_an_agent_needs(told):
    section = told.section
    assert section["share"] in section["pair"]["thresholds"] and [*section["quantiles"].values()] == sorted(
        section["quantiles"].values()
    )
    assert set(section["pair"]["weights"]) <= set(FEATURES) and section["pair"]["weights"]["mean"] > 0
    thresholds = [section["pair"]["thresholds"][percent(share)] for share in SHARES]
    assert thresholds == sorted(thresholds) and 0 < thresholds[0] <= thresholds[-1] <= 1


def test_it_finds_what_was_made_on_sites_that_it_has_not_seen(told):
    for sites in ("cross-validated", "test"):
        scores = told.figures["pair"][sites]["mmtt"]["all"]
        assert scores["auroc"] > 0.95 and scores["malicious"] and scores["sites"]
        low, high = scores["intervals"]["recall_at_1_percent"]
        assert 0 <= low <= scores["recall_at_1_percent"] <= high <= 1
    at = told.figures["pair"]["test"]["at"]["1%"]
    assert at["recall"] > 0.5 and 0 < at["connections"][1] < 20


def test_the_test_sites_have_no_say(told):
    pairs, answers = made()
    of_window = answers.part[pairs.capture[pairs.connection]]
    answers.logits["malicious"][of_window == 3] = 0
    again = study(pairs, answers, TEMPERATURES, KINDS, HARMLESS, lambda line: None)
    assert again.section == told.section and again.figures["pair"]["test"] != told.figures["pair"]["test"]


def test_a_part_is_scored_by_a_model_without_it():
    pairs, answers = made()
    evidence = collect(pairs, answers, TEMPERATURES, KINDS, lambda line: None)
    before = of_evidence(pairs, answers.part, evidence, HARMLESS).figures["pair"]["cross-validated"]["mmtt"]
    # Labels turned round in one part: its own scores hang on the others' labels alone.
    pair = evidence["pair"]
    turned = pair.label.copy()
    turned[answers.part[pair.capture] == 0] ^= 1
    evidence["pair"] = dataclasses.replace(pair, label=turned)
    after = of_evidence(pairs, answers.part, evidence, HARMLESS).figures["pair"]["cross-validated"]["mmtt"]
    assert after["all"]["auroc"] < before["all"]["auroc"]


def test_too_few_to_learn_from_is_no_model():
    pairs, answers = made(4)
    found = study(pairs, answers, TEMPERATURES, KINDS, HARMLESS, lambda line: None)
    assert not found.section and not found.figures and not incidents("tiny", found.figures)


def test_the_card_says_what_to_rely_on_and_what_is_lost(told):
    text = "\n".join(incidents("tiny", told.figures))
    for words in (
        "## Incidents",
        "At the default",
        "| **tiny** |",
        "95 % of it",
        "Against number of connections",
        "loses on",
        "host-hours",
    ):
        assert words in text, words


def test_false_incidents_are_of_harmless_captures_by_the_hour():
    pairs, _ = made(4)
    captures = np.flatnonzero(measure.harmless_captures(pairs))
    assert [pairs.captures[each] for each in captures] == ["0-0.pcap", "1-0.pcap", "2-0.pcap", "3-0.pcap"]
    found = measure.false_incidents(pairs, captures, np.arange(len(pairs.captures)))
    assert found["hours"] == 40 and found["rate"] == pytest.approx(8 * found["incidents"] / 40)
    assert found["interval"][0] <= found["rate"] <= found["interval"][1]


def test_regular_and_alike_is_a_beacon():
    regular = beacon(np.arange(20) * 60_000_000, np.full(20, 500))
    random = np.random.default_rng(1)
    other = beacon(np.cumsum(random.integers(1, 600, 20)) * 1_000_000, random.integers(100, 10_000, 20))
    assert regular == 1 and other < 0.8 and beacon(np.arange(3) * 60_000_000, np.full(3, 500)) == 0
