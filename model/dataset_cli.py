"""``mmtt dataset``."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.group(short_help="Data sets to train on, from captures and labels.")
def dataset() -> None:
    """Data sets to train on, from captures and what is known of their flows."""


@dataset.command(short_help="Captures and labels to Parquet.")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Directory for the data set.")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), default=os.cpu_count() or 1, show_default="cores", help="Processes.")
def build(manifest: Path, out: Path, jobs: int) -> None:
    """Turn the captures that MANIFEST names (a YAML file, or a directory with captures.tsv) into rows of Parquet.

    \b
    kind: server_names     # Zeek's ssl.log, quic.log and dns.log say what is what
    directory: captures    # of your own network
    logs: logs             # of the same traffic
    malicious: false       # if you are sure of it
    domains: {intra.example.org: {service: web, application: Intranet}}

    Other kinds: iscx (the ISCX VPN-nonVPN and Tor collections, by their files' names), tables (captures.tsv and flows.tsv.zst).
    Then: mmtt train small --data OUT -o BUNDLE. The same command goes on where an interrupted one stopped.
    """
    try:
        from .build import build as make
        from .errors import DatasetError
        from .labels import Taxonomy, TaxonomyError
        from .sources import read_manifest
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"`mmtt dataset` needs {error.name}, which is not installed; type: pip install 'mmtt[train]'"
        ) from None
    try:
        report = make(read_manifest(manifest, Taxonomy()), out, jobs, lambda line: click.echo(line, err=True))
    except (DatasetError, TaxonomyError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    windows = report["windows"]
    click.echo(f"{out}: {report['captures']:,} captures, {windows.get('kept', 0):,} windows, {windows.get('labelled', 0):,} labelled, "
               f"{windows.get('too short', 0):,} too short, {len(report['unreadable'])} captures could not be read (see dataset.yaml)")
