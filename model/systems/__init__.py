"""Other ways to answer the same questions, for comparison: trained on the same windows, scored on the same captures.

The networks are trained as ours is (the same draws, masked losses, a fixed schedule), by
their own definition where it says otherwise; each has a trunk of its own and a head for each task.
"""

from .cesnet import MMCesnetV2
from .flowpic import MiniFlowPic
from .fsnet import FSNet
from .nearest import nearest_neighbours
from .trees import boosted_trees, raw_points

#: Networks to compare with, by the name that the card gives them.
NETWORKS = {"mini-FlowPic CNN": MiniFlowPic, "FS-Net": FSNet, "mm-CESNET-v2": MMCesnetV2}

#: For how many times as many epochs as ours each is trained: until the validation sites' scores no longer rise.
EPOCHS = {"mini-FlowPic CNN": 2.5, "FS-Net": 0.5, "mm-CESNET-v2": 1.0}

__all__ = [
    "EPOCHS",
    "NETWORKS",
    "FSNet",
    "MMCesnetV2",
    "MiniFlowPic",
    "boosted_trees",
    "nearest_neighbours",
    "raw_points",
]
