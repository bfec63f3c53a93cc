"""How a training goes, for TensorBoard: a figure of each kind per epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Writes to ``directory``, or nothing where that is None. What an interrupted training wrote after ``epoch`` is not
    shown.

    Raises:
        ModuleNotFoundError: tensorboard is not installed.
    """

    def __init__(self, directory: Path | None, epoch: int) -> None:
        self.writer: SummaryWriter | None = None
        if directory:
            # Imported here, as it is an extra of its own.
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(directory), purge_step=epoch + 1)

    def write(self, epoch: int, figures: Mapping[str, object]) -> None:
        """``figures``: numbers by name, in dicts within dicts if need be; what is no finite number is left out."""
        if self.writer:
            _write(self.writer, epoch, figures, "")
            self.writer.flush()

    def close(self) -> None:
        if self.writer:
            self.writer.close()


def _write(writer: SummaryWriter, epoch: int, figures: Mapping[str, object], within: str) -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            _write(writer, epoch, value, f"{within}{name}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            writer.add_scalar(f"{within}{name}", value, epoch)
