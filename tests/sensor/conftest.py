import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from bed import Bed, missing


@pytest.fixture(scope="session")
def why_not() -> str:
    return missing()


@pytest.fixture
def bed(why_not, tmp_path):
    if why_not:
        pytest.skip(why_not)
    with Bed(tmp_path) as made:
        yield made
