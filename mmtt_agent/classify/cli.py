"""``mmtt classify``: verdicts on captures, without Zeek."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from types import FrameType

import click

from .. import endings, paths
from ..community_id import MAX_SEED
from ..output import Unusable, say


@click.command(short_help="Verdicts on capture files, without Zeek.")
@click.argument("files", nargs=-1, metavar="FILE...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "json", "eve"]),
    help="What to print; eve: events as Suricata's, rows and incidents.  [default: table on a terminal, else tsv]",
)
@click.option(
    "-o",
    "--output",
    type=paths.PATH,
    metavar="DIR",
    help="Write mmtt.log and mmtt_incidents.log there, or with --format eve eve.json; print nothing.",
)
@click.option(
    "--to",
    type=paths.TEXT,
    metavar="PLACE",
    help="Add events of EVE to a file, print nothing; or send them: unix:PATH, unix_dgram:PATH, "
    "redis://HOST:PORT/KEY?mode=list.",
)
@click.option("--incidents", is_flag=True, help="Print the incidents instead of the rows.")
@click.option("--flows", default=20, show_default=True, type=click.IntRange(0), help="Flows in the table; 0 for all.")
@click.option(
    "-C",
    "--no-checksums",
    is_flag=True,
    help="Take packets with wrong checksums, too, as `zeek -C` does: for captures made with checksum offloading.",
)
@click.option("--community-id", is_flag=True, help="Say each flow's community ID; events of EVE always do.")
@click.option(
    "--community-id-seed", type=click.IntRange(0, MAX_SEED), metavar="N", help="Its seed, where others have one, too."
)
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="The model to run.  [default: the one shipped with mmtt]"
)
@click.option(
    "--false-positives",
    metavar="SHARE",
    help="Call as many flows malicious as makes this share of harmless ones false alarms: 1%, 0.1%.  "
    "[default: the model's choice]",
)
@click.option(
    "--record",
    type=paths.PATH,
    metavar="DIR",
    help="Add the windows and their verdicts to DIR, for `mmtt learn`: no address, port or name.",
)
@click.option(
    "--follow",
    type=paths.PATH,
    metavar="DIR",
    help="Take the captures that are written into DIR, each once it is finished, until told to stop.",
)
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="PATTERN",
    help="With --follow: names of the captures, such as 'snort.log.*'; may be repeated.  [default: what captures and "
    "their rotations are called]",
)
@click.option(
    "--state",
    type=paths.PATH,
    metavar="FILE",
    help="With --follow: where it is noted down what has been taken.  [default: mmtt_follow.json in the DIR of -o; "
    "without that nowhere, and the next start takes all]",
)
@click.option("--once", is_flag=True, help="With --follow: take what is finished now, and end.")
@click.option(
    "--to-the-end",
    is_flag=True,
    help="With --once: tell connections that are open in the last captures, too, as if none came after these.",
)
def classify(
    files: tuple[str, ...],
    form: str | None,
    output: Path | None,
    to: str | None,
    incidents: bool,
    flows: int,
    no_checksums: bool,
    community_id: bool,
    community_id_seed: int | None,
    bundle: str | None,
    false_positives: str | None,
    record: Path | None,
    follow: Path | None,
    matches: tuple[str, ...],
    state: Path | None,
    once: bool,
    to_the_end: bool,
) -> None:
    """Say of each connection in FILE... which service and application it is, and whether it looks malicious; and of
    all of them together, who is up to something with whom.

    FILE is a capture (pcap or pcapng, plain, .gz, .zst or .lz4), a directory to search for them (links to others in it
    are not followed), or - for standard input. What can't be read is reported, and the others still are. TSV and JSON
    are those of Zeek's mmtt.log, with --incidents those of mmtt_incidents.log; with several FILEs or a directory a last
    column `capture` says which file a row comes of.

    EVE has a line of JSON for each row, of event_type mmtt, and for each incident, of event_type mmtt_incident, with
    Suricata's names around them.

    Each file stands for itself: a flow that goes on in the next file of a rotation counts there as a new one. To have
    it whole join the files first: mergecap -w all.pcap FILE...

    With --follow the captures of DIR and below are taken as Suricata's pcap-log, tcpdump, dumpcap or netsniff-ng finish
    them, in order of time, each once. Those of a sequence are read as one: a flow that goes on in the next file counts
    once, and its row comes when its window is complete. Incidents are found over all of them. A file is finished when
    nobody has it open for writing (or, where that can't be told, when a newer one of its sequence is there, or it has
    not changed for 15 minutes). Rows are added to the logs of -o, or printed, when a file has been read to its end;
    what has been taken is noted down together with how far the logs were written then. So after whatever end, also a
    power cut, the same command goes on with no row lost and none twice (what was printed can't be taken back: there
    some may come twice). It first reads the last ten minutes of each sequence again, for the connections in them; one
    that began before counts as a new one, and evidence for incidents begins there. SIGHUP begins logs anew that were
    moved away, SIGTERM ends it.

    \b
    Exit status: 0 all captures read; with --follow also: told to stop by SIGTERM
                 1 some not, or damaged, or their rows could not be written, or recorded
                 2 wrong usage or bundle, DIR can't be written, or no capture in FILE...: nothing was read

    If whoever reads the rows stops, as head does, so does mmtt: without a word, by SIGPIPE (141).
    """
    from .. import bundle as bundles
    from . import run, sources
    from .progress import progress

    seed = community_id_seed or 0 if community_id or community_id_seed is not None or form == "eve" or to else None
    if follow:
        if files or record or form == "table":
            raise click.UsageError("--follow DIR takes no FILE, --record or table; leave them out")
        _check_output(form, output, to, incidents)
        form = form or ("eve" if to else "tsv")
        options = bundle, false_positives, not no_checksums
        if to_the_end and not once:
            raise click.UsageError("--to-the-end goes with --once")
        _follow(follow, matches, form, output, to, incidents, state, once, to_the_end, seed, *options)
        return
    if matches or state or once or to_the_end:
        raise click.UsageError("--match, --state, --once and --to-the-end go with --follow DIR")
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    terminal = sys.stdout.isatty()
    form = form or ("eve" if to else "tsv" if output or not terminal else "table")
    if output and form == "table":
        raise click.UsageError("-o writes logs: use --format tsv, json or eve with it")
    _check_output(form, output, to, incidents)
    found = sources.expand(files)
    if None in found.captures and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("- reads a capture from standard input, which is a terminal; pipe one in")
    logs = run.files(form, output) if output else []
    if lost := [path for path in found.captures if path and any(_same(path, log) for log in logs)]:
        raise click.UsageError(f"{lost[0]} would be written over by -o {output}; name another directory")
    if to and any(path and _same(path, Path(to.removeprefix("file:"))) for path in found.captures):
        raise click.UsageError(f"{to} is one of the captures; name another file")
    for line in (*found.problems, *found.notes):
        say(line)
    if not found.captures:
        sys.exit(Unusable.exit_code)
    from .. import record as records
    from .. import sinks
    from ..classifier import Classifier  # the network's runtime takes longer than to say what is wrong
    from ..record.model import embedding

    memory = sink = None
    try:
        chosen = bundles.load(bundle, false_positives)
        sink = sinks.open_sink(to or "-") if form == "eve" and not output else None
        classifier = embedding(chosen, say) if record else Classifier(chosen)
        if record:
            memory = records.Recorder(record, f"classify-{os.getpid()}", None, None, say, waits=True)
    except (bundles.BundleError, records.RecordError, sinks.SinkError) as error:
        raise Unusable(str(error)) from None
    finds_incidents = classifier.bundle.incidents is not None
    with (
        endings.cleaned_up(),
        closing(sink) if sink else nullcontext(),
        run.destination(
            form, output, flows, found.several, incidents, finds_incidents, sink, ids=seed is not None
        ) as write,
        progress(len(found.captures)) as told,
    ):
        remember = memory.put if memory else None
        try:
            read, problems = run.classify(
                found.captures, classifier, write, told, say, not no_checksums, remember, seed
            )
        finally:
            if memory:
                memory.close()
        if not read:
            if logs and logs[0].exists():
                say(f"no capture could be read: {logs[0]} is left as it was")
            sys.exit(1)  # inside the block, so that no empty log comes of it
    if not finds_incidents and (incidents or output or sink) and form != "table":
        say(f"the model {classifier.model} finds no incidents; those of mmtt 0.5.0 and later do")
    if sink and sink.dropped:
        say(f"{sink.dropped:,} events could not be delivered: {sink.problem}")
    if problems or found.problems or (memory and memory.dropped) or (sink and sink.dropped):
        sys.exit(1)


def _check_output(form: str | None, output: Path | None, to: str | None, incidents: bool) -> None:
    if output and incidents:
        raise click.UsageError("-o writes rows and incidents: leave --incidents out")
    if to and (output or form not in ("eve", None)):
        raise click.UsageError("--to sends events of EVE: leave -o and other formats out")


def _follow(
    directory: Path,
    matches: tuple[str, ...],
    form: str,
    output: Path | None,
    to: str | None,
    incidents: bool,
    state: Path | None,
    once: bool,
    to_the_end: bool,
    seed: int | None,
    bundle: str | None,
    false_positives: str | None,
    checksums: bool,
) -> None:
    from .. import bundle as bundles
    from .. import sinks
    from ..classifier import Classifier
    from .follow import output as outputs
    from .follow import run
    from .follow.state import NAME, StateError

    if not directory.is_dir():
        raise Unusable(f"{directory}: no directory with captures that is there")
    sink = None
    before = signal.signal(signal.SIGTERM, _stopped)
    try:
        chosen = bundles.load(bundle, false_positives)
        sink = sinks.open_sink(to or "-") if form == "eve" and not output else None
        with endings.cleaned_up(), closing(sink) if sink else nullcontext():
            all_read = run.follow(
                directory,
                matches,
                state or (output / NAME if output else None),
                lambda places: outputs.opened(form, output, places, incidents, seed is not None, sink),
                once,
                to_the_end,
                Classifier(chosen),
                say,
                checksums,
                seed,
            )
    except (bundles.BundleError, sinks.SinkError, StateError) as error:
        raise Unusable(str(error)) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    if sink and sink.dropped:
        say(f"{sink.dropped:,} events could not be delivered: {sink.problem}")
    if not all_read or (sink and sink.dropped):
        sys.exit(1)


def _stopped(number: int, _: FrameType | None) -> None:
    """Told to stop: what has been taken is noted down, and all that is held is let go of on the way out."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def _same(path: Path, other: Path) -> bool:
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
