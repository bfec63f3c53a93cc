"""What the second model sees of a unit: few numbers, each with a meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .table import ORIGINATOR, PAIR, RESPONDER, Table

#: Columns of :func:`features`, in order.
FEATURES = (
    "mean",  # mean log-odds of the windows; 0 where there are none
    "top",  # the highest of them
    "number",  # ln(1 + connections with a verdict)
    "likeness",  # how alike the windows are, 0 to 1; 0 for one alone
    "regular",  # how much alike the times between connections are, 0 to 1; 0 below MIN_GAPS of them
    "tries",  # ln(1 + connections without a verdict)
    "failed",  # ln(1 + those of them that nobody answered or that were refused)
    "fan",  # ln(1 + pairs that a host has a part in); 0 for a pair
    "outward",  # ln of payload from the originator over payload to it, -5 to 5
    "none",  # 1 where no connection has a verdict
    "exploit",  # the share of exploits in what the windows may be; 0 for a bundle that knows none
    # Of an originator alone:
    "scan",  # ln of how many times SCAN pairs it has sought that were not answered or refused; 0 below
    # Of a pair alone:
    "beside_orig",  # mean log-odds of its originator's other pairs and DOUBT windows of NEUTRAL, at least VOUCHED
    "beside_resp",  # the same of its responder's
    "fan_resp",  # ln(1 + pairs of its responder)
    "udp",  # 1 for UDP
)
#: So many hosts or ports that don't answer a host may seek, as one in a peer-to-peer network does.
SCAN = 100
#: Log-odds that say nothing: about nine of ten harmless windows have less. So a host whose other pairs look harmless is
#: vouched for.
NEUTRAL = -1.0
#: How many such windows a host has to begin with.
DOUBT = 2.0
#: A host can't be vouched for beyond this: one that has fallen to malware goes on with its ordinary business.
VOUCHED = -2.0


def features(table: Table, unit: str, rows: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """float64 (rows, FEATURES), as of when each row was last faded; a pair's hosts must have been faded with it.

    Args:
        kinds: names of the units' kinds.
    """
    units = table.units[unit]
    columns = units.columns(rows)
    columns["exploit"] = (
        units.shares(rows)[:, list(kinds).index("exploit")] if "exploit" in kinds else np.zeros(len(rows))
    )
    if unit == ORIGINATOR:
        columns["scan"] = np.log(np.maximum(columns["sought"], SCAN) / SCAN)
    if unit == PAIR:
        hosts = table.hosts_of(rows)
        for name, role in (("beside_orig", ORIGINATOR), ("beside_resp", RESPONDER)):
            columns[name] = beside(table, rows, role, hosts[role])
        of = hosts[RESPONDER]
        columns["fan_resp"] = np.where(of >= 0, table.units[RESPONDER].columns(of)["fan"], np.log1p(1.0))
        columns["udp"] = table.are_udp(rows).astype(float)
    nothing = np.zeros(len(rows))
    return np.stack([columns.get(name, nothing) for name in FEATURES], 1)


def beside(table: Table, pairs: np.ndarray, role: str, hosts: np.ndarray) -> np.ndarray:
    """What is known of a host but for a pair of it; -1 in ``hosts``: it has no other."""
    own_odds, own_weight = table.units[PAIR].sums(pairs)
    host_odds, host_weight = table.units[role].sums(hosts)
    odds = np.where(hosts >= 0, host_odds - own_odds, 0)
    # What was taken away was added up in another order.
    weight = np.where(hosts >= 0, host_weight - own_weight, 0).clip(0)
    found: np.ndarray = np.maximum((odds + DOUBT * NEUTRAL) / (weight + DOUBT), VOUCHED)
    return found
