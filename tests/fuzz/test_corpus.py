"""What fuzzing has found interesting, or wrong once, again."""

import zipfile
from pathlib import Path

import pytest
from targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_taken_or_refused(target):
    with zipfile.ZipFile(CORPUS / f"{target}.zip") as corpus:
        assert len(corpus.namelist()) > 100
        for name in corpus.namelist():
            try:
                TARGETS[target](corpus.read(name))
            except BaseException as error:
                raise AssertionError(f"{target}, {name}: {error!r}") from error
