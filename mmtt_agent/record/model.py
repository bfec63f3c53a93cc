"""The model of whoever records: its verdicts hold the embeddings that are remembered, where its network gives any."""

from __future__ import annotations

from collections.abc import Callable

from ..bundle import Bundle, BundleError
from ..classifier import Classifier


def embedding(bundle: Bundle, say: Callable[[str], None]) -> Classifier:
    """A classifier that embeds; of a bundle from before there were embeddings, which is said, one that does not.

    Raises:
        BundleError: the bundle can't be used.
    """
    try:
        return Classifier(bundle, embeds=True)
    except BundleError:
        # If it was for another reason this one says so.
        classifier = Classifier(bundle)
    say(
        f"{bundle.path}: the network gives no embeddings, as those of mmtt 0.6.0 and later do: "
        "windows are recorded without"
    )
    return classifier
