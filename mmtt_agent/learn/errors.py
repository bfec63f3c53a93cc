"""What ends a command of ``mmtt learn``."""

from __future__ import annotations


class LearnError(Exception):
    """It can't be learnt; the text is one line that names the place and the remedy."""


def scikit_learn() -> None:
    """Say what is missing before anything is read, where scikit-learn is not there.

    Raises:
        LearnError: it is not.
    """
    try:
        from sklearn.cluster import HDBSCAN  # noqa: F401 - since 1.3
    except ImportError:
        raise LearnError(
            "learning needs scikit-learn 1.3 or later, which is not installed; type: pip install 'mmtt[learn]'"
        ) from None
