"""What a lab's directory holds: a table as text, and a picture of each service's sizes and gaps."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from mmtt_agent.series import MIN_PACKETS

from ..data.lab_captures import read_labelled, read_truth
from . import LabError


def counts(directory: Path) -> str:
    """Flows and captures per service, malicious kind, link and implementation. Usable: with enough packets for a
    verdict.
    """
    flows = [row for rows in read_truth(directory).values() for row in rows]
    usable = [flow for flow in flows if int(flow["payload_packets"]) >= MIN_PACKETS]
    malicious = [flow for flow in usable if flow["malicious"] == "1"]
    per_capture: dict[str, set[str]] = defaultdict(set)
    for flow in usable:
        per_capture[flow["capture"]].add(flow["malicious"])
    both = sum(len(kinds) == 2 for kinds in per_capture.values())
    lines = [
        f"{len({flow['capture'] for flow in flows})} captures, {both} of them with benign and malicious flows",
        (
            f"{len(flows)} flows, {len(usable)} usable ({MIN_PACKETS} payload packets or more), {len(malicious)} of "
            "these malicious"
        ),
    ]
    for title, of, chosen in (
        ("service", lambda flow: flow["service"], [flow for flow in usable if flow["malicious"] == "0"]),
        ("malicious kind", lambda flow: flow["kind"], malicious),
        (
            "inside a tunnel",
            lambda flow: f"{flow['tunnel']}: {flow['inner_service']}",
            [flow for flow in usable if flow["tunnel"]],
        ),
    ):
        found: dict[str, list[dict[str, str]]] = defaultdict(list)
        for flow in chosen:
            found[of(flow)].append(flow)
        lines += ["", f"{title:34} {'usable':>7} {'captures':>8} {'links':>5} {'implementations':>15}"]
        for name, these in sorted(found.items()):
            lines.append(
                f"{name:34} {len(these):7} {len({flow['capture'] for flow in these}):8} "
                f"{len({flow['link'] for flow in these}):5} "
                f"{len({(flow['server_program'], flow['client_program']) for flow in these}):15}"
            )
    for title, of in (
        ("link", lambda flow: flow["link"]),
        ("implementation", lambda flow: f"{flow['activity']} {flow['server_program']}/{flow['client_program']}"),
    ):
        lines += ["", f"{title:42} {'usable':>7}"]
        lines += [f"{name:42} {count:7}" for name, count in sorted(Counter(map(of, usable)).items())]
    return "\n".join(lines)


def draw(directory: Path, most: int = 400) -> list[Path]:
    """A picture per service and malicious kind: first window's signed size over time, at most `most` flows of each."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise LabError("pictures need matplotlib; type: pip install 'mmtt[lab]', or use --no-pictures") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    series: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for _, capture, truth in read_labelled(directory):
        windows = capture.windows
        for row, connection in enumerate(windows.connection):
            length, flow = int(windows.series.lengths[row]), truth[connection]
            if windows.window[row] or length < MIN_PACKETS or flow is None:
                continue
            label = flow["kind"] or flow["service"]
            if len(series[label]) < most:
                series[label].append((windows.series.sizes[row, :length], windows.series.times[row, :length]))
    folder = directory / "report"
    folder.mkdir(exist_ok=True)
    made = []
    for label, these in sorted(series.items()):
        figure, axes = plt.subplots(figsize=(7, 4))
        for sizes, times in these:
            axes.plot(times / 1e6 + 1e-4, sizes, ".", markersize=2, alpha=0.35, color="tab:blue")
        axes.set(
            xscale="log",
            xlabel="seconds since the first payload packet",
            title=f"{label} ({len(these)} flows)",
            ylabel="payload bytes (+ client, \u2212 server)",
            ylim=(-1600, 1600),
        )
        axes.axhline(0, color="grey", linewidth=0.5)
        figure.tight_layout()
        path = folder / f"{label}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        made.append(path)
    return made
