"""The lab's windows are trained on with the truth's labels, and nothing is scored on them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from click.testing import CliRunner
from synthetic import synthetic

from mmtt_model.cli.lab import lab
from mmtt_model.data.dataset import MISSING, DatasetError, Selection
from mmtt_model.data.lab_windows import lab_rows, with_lab
from mmtt_model.training.sampling import sampling


def test_lab_windows_join_the_training_part_alone(recorded):
    plain = synthetic()
    plain.services[0] = "web"
    both = with_lab(plain, recorded, Selection(lab_malicious=True), lambda _: None)
    added = lab_rows(both)
    assert added.sum() == 48 and len(both) == len(plain) + 48
    assert (both.rows("test") == plain.rows("test")).all() and (
        both.rows("validation") == plain.rows("validation")
    ).all()
    harmless = both.service[added & (both.malicious == 0)]
    assert {both.services[number] for number in harmless} == {"web"}
    # A beacon over HTTPS is no example of what the web is like.
    assert (both.service[added & (both.malicious == 1)] == MISSING).all()
    assert both.malicious[added].sum() == 8
    assert not (set(both.recording[added]) & set(plain.recording)) and not both.scored[added].any()
    assert {both.sites[site] for site in both.site[added]} == {"lab"} and both.timed[added].all()


def test_what_is_malicious_in_the_lab_is_taught_only_if_asked_for(recorded):
    both = with_lab(synthetic(), recorded, Selection(), lambda _: None)
    assert (both.malicious[lab_rows(both)] == MISSING).all()


def test_the_lab_is_drawn_as_often_as_told(recorded):
    both = with_lab(synthetic(), recorded, Selection(), lambda _: None)
    train = both.rows("train")
    for share in (0.3, 0.0):
        chance, counts = sampling(both, train, share)
        assert chance[lab_rows(both)[train]].sum() == pytest.approx(share)
        assert all(np.isfinite(count).all() for count in counts.values())


def test_what_is_no_lab_directory_says_what_to_run(tmp_path):
    with pytest.raises(DatasetError, match="mmtt lab run"):
        with_lab(synthetic(), tmp_path, Selection(), lambda _: None)
    (tmp_path / "flows.tsv.zst").write_bytes(b"not zstd")
    result = CliRunner().invoke(lab, ["report", str(tmp_path)])
    assert result.exit_code == 1 and "damaged" in result.output and np.size(result.output.splitlines()) == 1
