"""A service's state for Prometheus: what its ``status`` says, as its text format; what it has none of is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

#: Of every answer of /metrics.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Name, help, and where in the status the number is.
_COUNTERS = (
    ("windows_received", "Windows that Zeek has sent, or that were found", ("windows", "received")),
    ("windows_lost", "Windows in hand when a connection, or a worker, was lost", ("windows", "lost")),
    ("batches", "Batches that Zeek has sent", ("windows", "batches")),
    ("malicious", "Verdicts that say malicious", ("malicious",)),
    ("connections", "Connections to Zeek so far", ("zeek", "connections")),
    ("windows_recorded", "Windows with a verdict that were written to record.directory", ("record", "recorded")),
    ("windows_not_recorded", "Windows with a verdict that could not be", ("record", "dropped")),
    ("record_problems", "Parts of the memory that could not be written", ("record", "problems")),
    ("record_removed", "Parts of the memory that were too old or too much", ("record", "removed")),
    ("packets", "Packets that the kernel has seen", ("capture", "packets")),
    ("packets_dropped", "Of these, lost as they came faster than they are looked into", ("capture", "dropped")),
    ("flows", "Connections seen", ("capture", "flows", "seen")),
    ("flows_evicted", "Connections given up as there were too many", ("capture", "flows", "evicted")),
    ("workers_restarted", "Workers that ended before their time", ("capture", "restarts")),
    ("windows_too_short", "Windows with too few packets for a verdict", ("windows", "too_short")),
    ("rows_written", "Rows handed over to where they go", ("output", "written")),
    ("rows_lost", "Rows that could not be", ("output", "lost")),
    ("tries", "Connections without a verdict that count as evidence", ("evidence", "tries")),
)
_GAUGES = (
    ("windows_in_hand", "Windows taken and not yet answered", ("windows", "in_hand")),
    ("windows_queued", "Windows that wait for the model", ("windows", "queued")),
    ("zeek_connected", "Whether Zeek is connected", ("zeek", "connected")),
    ("zeek_nodes", "Nodes of Zeek that sent something within a minute", ("zeek", "nodes")),
    ("flows_open", "Connections that are followed now", ("capture", "flows", "open")),
    ("evidence_pairs", "Pairs of hosts that evidence is kept of", ("evidence", "pairs")),
    ("open_incidents", "Incidents that are open", ("evidence", "open")),
    ("record_waiting_windows", "Windows that wait to be written to record.directory", ("record", "waiting")),
    ("record_bytes", "Of all that lies in record.directory", ("record", "bytes")),
    ("drift", "Latest windows from those that this site was learnt from, in standard deviations", ("drift", "shift")),
    ("drift_usual", "The same, the farthest among those that it was learnt from", ("drift", "usual")),
    ("drift_unknown", "Share of the latest windows without an application", ("drift", "unknown")),
    ("drift_changed", "Whether it is time to learn this site again", ("drift", "changed")),
    ("healthy", "Whether /health says so", ("healthy",)),
)
_LABELLED = (
    ("windows_answered", "Answers by status", "status", ("windows", "answered")),
    ("messages_refused", "Messages of Zeek's that were not used, by reason", "reason", ("refused",)),
    ("verdicts", "Verdicts by service", "service", ("services",)),
    ("applications", "Verdicts by application", "application", ("applications",)),
    ("malicious_kinds", "Verdicts that say malicious and of what kind, by kind", "kind", ("malicious_kinds",)),
    ("incidents", "Incidents by what was told of them: that they opened, grew, closed", "state", ("incidents",)),
    ("evidence_left_out", "Evidence that is not kept, by reason", "reason", ("evidence", "left_out")),
    ("packets_left_out", "Packets that are not looked into, by cause", "cause", ("capture", "left_out")),
    ("reloads", "Reloads of the bundle by result", "result", ("reloads",)),
)


class _Status:
    """A collector of prometheus_client."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()

        def at(path: tuple[str, ...]) -> Any:
            value: Any = status
            try:
                for key in path:
                    value = value[key]
            except KeyError:
                return None
            return value

        for name, text, path in _COUNTERS:
            if (number := at(path)) is not None:
                yield CounterMetricFamily(f"mmtt_agent_{name}", text, value=number)
        for name, text, path in _GAUGES:
            if (number := at(path)) is not None:
                yield GaugeMetricFamily(f"mmtt_agent_{name}", text, value=float(number))
        for name, text, label, path in _LABELLED:
            if (numbers := at(path)) is not None:
                family = CounterMetricFamily(f"mmtt_agent_{name}", text, labels=[label])
                for key, number in numbers.items():
                    family.add_metric([key], number)
                yield family
        info = GaugeMetricFamily("mmtt_agent_info", "The agent and its model", labels=["version", "agent", "model"])
        info.add_metric([status["version"], status["agent"], status["model"]], 1)
        yield info


class Exposition:
    """What /metrics answers."""

    def __init__(self, status: Callable[[], dict[str, Any]], histograms: CollectorRegistry) -> None:
        self._registry, self._histograms = CollectorRegistry(), histograms
        self._registry.register(_Status(status))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry) + generate_latest(self._histograms)
