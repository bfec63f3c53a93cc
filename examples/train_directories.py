"""A model of one's own captures, of which each directory holds one kind.

    python examples/train_directories.py -o MY-BUNDLE chat/Mattermost=captures/mattermost voip/Jitsi=captures/jitsi

SERVICE/APPLICATION=DIRECTORY: all flows in that directory's captures are taken for that. With a `!` before the `=` they
are taken for malicious, too. Services are those of mmtt's taxonomy. Needs: pip install 'mmtt[train]'
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

try:
    import numpy as np

    from mmtt_agent import bundle
    from mmtt_agent.capture import SUFFIXES, Capture
    from mmtt_model import config, run
    from mmtt_model.data.build import build
    from mmtt_model.data.errors import DatasetError
    from mmtt_model.data.labels import Labels
    from mmtt_model.data.sources import Entry
    from mmtt_model.data.taxonomy import Taxonomy
except ModuleNotFoundError as error:
    sys.exit(f"this needs {error.name}, which is not installed; type: pip install 'mmtt[train]'")


@dataclass(frozen=True)
class Kind:
    """A directory, and what its captures show."""

    directory: Path
    labels: Labels

    @classmethod
    def parse(cls, text: str) -> "Kind":
        labels, _, directory = text.partition("=")
        service, _, application = labels.removesuffix("!").partition("/")
        if not (service and application and directory):
            raise argparse.ArgumentTypeError(f"{text!r} is not SERVICE/APPLICATION=DIRECTORY")
        if service not in Taxonomy().services:
            raise argparse.ArgumentTypeError(f"{service!r} is no service; there are: {', '.join(Taxonomy().services)}")
        return cls(Path(directory), Labels(service, application, labels.endswith("!")))


class Directories:
    """What mmtt_model.data.sources.Source asks for: captures, and the labels of their windows."""

    checksums = False  # most captures of one's own come from a host that offloads them

    def __init__(self, kinds: list[Kind]) -> None:
        self._captures = {
            path: kind
            for kind in kinds
            for path in sorted(kind.directory.rglob("*"))
            if path.name.lower().endswith(SUFFIXES)
        }
        for kind in kinds:
            if kind not in self._captures.values():
                raise DatasetError(f"{kind.directory}: holds no capture ({', '.join(SUFFIXES)})")

    def digest(self) -> str:
        """Changes with the captures and their labels: what was built of others is not used again."""
        about = [(str(path), path.stat().st_size, kind.labels) for path, kind in self._captures.items()]
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def entries(self) -> list[Entry]:
        return [Entry(str(path), path, origin=str(kind.directory)) for path, kind in self._captures.items()]

    def labels(self, entry: Entry, capture: Capture, rows: np.ndarray) -> tuple[list[Labels], dict[str, int]]:
        return [self._captures[entry.path].labels] * len(rows), {"named by directory": len(rows)}


def named(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; is a variable not set?")
    return Path(text)


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", type=Kind.parse, metavar="SERVICE/APPLICATION=DIRECTORY")
    parser.add_argument("-o", "--out", type=named, required=True, help="directory for the bundle")
    parser.add_argument("--config", type=named, default=Path("small"), help="what to train, as for `mmtt train`")
    told = parser.parse_args()
    try:
        report = build(Directories(told.kinds), told.out / "data", 2, say)
        say(f"{report['windows']['labelled']} labelled windows")
        settings = config.read(config.shipped(told.config))
        # Only what ships: no further seeds, nothing left out.
        settings = replace(settings, evaluation=config.Evaluation())
        run.run(settings, told.out / "data", None, told.out, say, "python examples/train_directories.py")
    except (DatasetError, config.ConfigError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename or told.out}: {error.strerror}")
    made = bundle.load(told.out)
    print(f"{told.out}: {made.model} knows {', '.join(made.services)}")


if __name__ == "__main__":
    main()
