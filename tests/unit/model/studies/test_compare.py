import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_model import systems
from mmtt_model.config import Config, Evaluation, Training
from mmtt_model.data.labels import MISSING
from mmtt_model.network.architecture import Architecture
from mmtt_model.studies.compare import compare
from mmtt_model.training.trainings import Trainings

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_table_has_each_network_and_ours_by_halves_with_a_score_per_seed(tmp_path):
    config = Config(
        architecture=TINY["architecture"],
        training=Training(epochs=1, windows=32, batch=32, pretraining=1),
        evaluation=Evaluation(seeds=2, without_lab=True, halves=True, networks=True),
    )
    more = synthetic()
    public = dataclasses.replace(more, split=np.where((more.split == 0) & (more.capture < 10), MISSING, more.split))
    datasets = {"the public captures and the lab's": more, "the public captures": public}
    found, about = compare(config, Architecture(**config.architecture), datasets, Trainings(tmp_path, lambda _: None))
    ours = "mmtt-1 without pretraining"
    wanted = {*systems.NETWORKS, ours, f"{ours}, trained on the public captures", f"{ours}, text only",
              f"{ours}, image only", f"{ours}, a model for each task"}  # fmt: skip
    assert wanted < set(found)
    assert all(len(found[name]) == 2 for name in wanted) and len(found["5 nearest neighbours"]) == 1
    assert about["time"] > 0
    assert set(about["trained on"]) >= set(systems.NETWORKS) and set(about["trained on"].values()) <= set(datasets)
