"""What of a capture was left out, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

#: Causes, in the order in which they are told. Others (:attr:`Capture.counts`) are told as what is wrong with the file.
CAUSES = {
    "not_ip": "not IP",
    "other_transport": "neither TCP nor UDP",
    "not_decoded": "in a protocol that isn't looked into",
    "link_type": "of a link type that can't be read",
    "empty": "without a byte",
    "before_1970": "from before 1970",
    "impossible_time": "with a time that can't be (more than 100,000 years from 1970)",
    "truncated_link_header": "cut short before the IP header",
    "truncated_ip": "cut short inside the IP packet",
    "truncated_header": "cut short inside the TCP or UDP header",
    "cut_tcp_options": "cut short inside the TCP options (by the capture's snapshot length)",
    "cut_fragment": "fragments cut short",
    "lost_fragment": "fragments whose others are missing",
    "unknown_ip_version": "of an IP version other than 4 and 6",
    "ip_length_zero": "with an IP length of 0, as captured before a network card splits them (-C takes them)",
    "ip6_length_zero": "with an IPv6 payload length of 0 (jumbograms, or captured before a network card splits them)",
    "bad_ip_header": "with a damaged IP header",
    "bad_tcp_header": "with a damaged TCP header",
    "bad_tunnel": "with a damaged tunnel header",
    "nested_too_deep": "in too many tunnels",
    "wrong_checksum": "with a wrong checksum (-C takes them)",
}
#: Counted by protocol, told together.
_TOGETHER = dict.fromkeys(("bad_ip_checksum", "bad_tcp_checksum", "bad_udp_checksum"), "wrong_checksum")
#: Kinds of a cause that are told by name at most.
_MOST_KINDS = 6


def left_out(counts: Mapping[str, int], kinds: Mapping[str, Mapping[str, int]]) -> str:
    """What was left out of a capture, in one line; empty if nothing was.

    Args:
        counts: packets by what became of them; ``packets`` is how many there were.
        kinds: of a cause, how many by kind.
    """
    by_cause: Counter[str] = Counter()
    for name, number in counts.items():
        if (cause := _TOGETHER.get(name, name)) in CAUSES:
            by_cause[cause] += number
    parts = []
    for cause, text in CAUSES.items():
        if by_cause[cause]:
            of = sorted(kinds.get(cause, {}).items(), key=lambda item: (-item[1], item[0]))
            named = [f"{name} {number:,}" if len(of) > 1 else name for name, number in of[:_MOST_KINDS]]
            if len(of) > _MOST_KINDS:
                named.append(f"others {sum(number for _, number in of[_MOST_KINDS:]):,}")
            parts.append(f"{by_cause[cause]:,} {text}" + (f" ({', '.join(named)})" if named else ""))
    return f"left out of {counts['packets']:,} packets: {', '.join(parts)}" if parts else ""
