"""What a lab's directory holds: a table as text, and a picture of each service's sizes and gaps."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from pathlib import Path

import zstandard

from . import LabError


def _flows(directory: Path) -> list[dict[str, str]]:
    try:
        data = (directory / "flows.tsv.zst").read_bytes()
    except FileNotFoundError:
        raise LabError(f"{directory}: no flows.tsv.zst; run `mmtt lab run SCENARIO.yaml -o {directory}` first") from None
    return list(csv.DictReader(io.StringIO(zstandard.decompress(data).decode()), delimiter="\t"))


def counts(directory: Path) -> str:
    """Flows and captures per service, implementation, link and malicious kind."""
    flows = _flows(directory)
    lines = [f"{len(flows)} flows in {len({flow['capture'] for flow in flows})} captures, "
             f"{sum(flow['malicious'] == '1' for flow in flows)} flows malicious"]
    for title, of, chosen in (
        ("service", lambda flow: flow["service"], lambda flow: flow["malicious"] == "0"),
        ("malicious kind", lambda flow: flow["kind"], lambda flow: flow["malicious"] == "1"),
    ):
        found: dict[str, list[dict]] = defaultdict(list)
        for flow in flows:
            if chosen(flow):
                found[of(flow)].append(flow)
        lines += ["", f"{title:22} {'flows':>7} {'captures':>8} {'links':>5} {'implementations':>15}"]
        for name, these in sorted(found.items()):
            lines.append(
                f"{name:22} {len(these):7} {len({flow['capture'] for flow in these}):8} "
                f"{len({flow['link'] for flow in these}):5} "
                f"{len({(flow['server_program'], flow['client_program']) for flow in these}):15}"
            )
    lines += ["", "link                     flows"]
    lines += [f"{name:22} {count:7}" for name, count in sorted(Counter(flow["link"] for flow in flows).items())]
    lines += ["", "implementation                      flows"]
    pairs = Counter(f"{flow['activity']} {flow['server_program']}/{flow['client_program']}" for flow in flows)
    lines += [f"{name:34} {count:6}" for name, count in sorted(pairs.items())]
    return "\n".join(lines)


def draw(directory: Path, most: int = 400) -> list[Path]:
    """A picture per service and malicious kind: first window's signed size over time, at most `most` flows of each."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise LabError("pictures need matplotlib; type: pip install 'mmtt[lab]', or use --no-pictures") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from mmtt_agent.capture import read_capture

    truth = {}
    for flow in _flows(directory):
        ends = ((flow["src_ip"], flow["src_port"]), (flow["dst_ip"], flow["dst_port"]))
        truth[(flow["capture"], flow["first_seen_ms"], *sorted(ends))] = flow["kind"] or flow["service"]
    series: dict[str, list] = defaultdict(list)
    for name in sorted({key[0] for key in truth}):
        capture = read_capture(directory / "captures" / name)
        found, windows = capture.connections, capture.windows
        originators, responders = found.addresses(slice(None))
        for row, connection in enumerate(windows.connection):
            length = int(windows.series.lengths[row])
            if windows.window[row] or length < 4:
                continue
            orig, resp = originators[connection], responders[connection]
            ends = ((orig, str(found.orig_p[connection])), (resp, str(found.resp_p[connection])))
            label = truth.get((name, str(found.ts[connection] // 1000), *sorted(ends)))
            if label and len(series[label]) < most:
                series[label].append((windows.series.sizes[row, :length], windows.series.times[row, :length]))
    folder = directory / "report"
    folder.mkdir(exist_ok=True)
    made = []
    for label, these in sorted(series.items()):
        figure, axes = plt.subplots(figsize=(7, 4))
        for sizes, times in these:
            axes.plot(times / 1e6 + 1e-4, sizes, ".", markersize=2, alpha=0.35, color="tab:blue")
        axes.set(xscale="log", xlabel="seconds since the first payload packet", title=f"{label} ({len(these)} flows)",
                 ylabel="payload bytes (+ client, − server)", ylim=(-1600, 1600))
        axes.axhline(0, color="grey", linewidth=0.5)
        figure.tight_layout()
        path = folder / f"{label}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        made.append(path)
    return made
