"""``mmtt learn``: a site's own answers."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .. import endings, paths
from ..output import Unusable, say, shown
from .ask_cli import ask, feedback
from .budget_cli import threshold


@click.group(short_help="Teach mmtt the applications of this network.")
def learn() -> None:
    """Learn a network's own applications and services from the windows that an agent has recorded there (its setting
    record.directory) and the logs that its Zeek has written meanwhile.

    \b
    mmtt learn fit --windows DIR --logs DIR    learn, and measure on later days
    mmtt reload                                the agent takes it into use
    mmtt learn back BUNDLE                     take it back
    mmtt learn ask --windows DIR --logs DIR    say what is unknown
    mmtt learn feedback UID VERDICT --windows DIR
                                               say what a notice was
    mmtt learn threshold --alerts-per-day N    the thresholds that give so many alerts
    """


@learn.command(short_help="Learn, measure on later windows, and write a bundle.")
@click.option(
    "--windows", required=True, type=paths.PATH, metavar="DIR", help="Where the agent records (record.directory)."
)
@click.option(
    "--logs", required=True, type=paths.PATH, metavar="DIR", help="Where its Zeek writes logs, rotated ones too."
)
@click.option(
    "--notebook",
    type=paths.PATH,
    metavar="FILE",
    help="The site's own domains, and what `mmtt learn ask` was told.  [default: site.yaml in --windows]",
)
@click.option(
    "--bundle", type=paths.TEXT, metavar="DIR", help="The network to build on.  [default: the one shipped with mmtt]"
)
@click.option(
    "-o",
    "--output",
    type=paths.PATH,
    metavar="BUNDLE",
    help="Where the bundle is written; what is there is what runs, and is kept.  [default: bundle in --windows]",
)
@click.option("--force", is_flag=True, help="Write it even if it names the later windows worse than what runs.")
def fit(windows: Path, logs: Path, notebook: Path | None, bundle: str | None, output: Path | None, force: bool) -> None:
    """Learn this site's answers: windows get their names from Zeek's logs by uid (ssl, quic, http, conn, dns), and the
    network's knowledge of them, which stays as it is, learns those names.

    What comes of it is measured on the latest fifth of the windows, by answers that were learnt from the others, beside
    the bundle that runs; one that would be worse is not written. CARD.md in the bundle says it all. The agent runs it
    once its settings have `bundle: BUNDLE` and `mmtt reload` was typed.

    \b
    Exit status: 0 written
                 1 not written, as it would be worse, or for what the line on standard error says
                 2 wrong usage or bundle
    """
    # Threads for each product of small matrices cost more than they bring, the more so beside a Zeek that is busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from .. import bundle as bundles
    from ..classifier import Classifier
    from ..record import reading
    from ..record.rows import RecordError
    from ..servers import shipped
    from . import bundles as written
    from . import card, names, screen, teach
    from . import notebook as notebooks
    from .errors import LearnError, scikit_learn

    try:
        output = written.checked(output or windows / "bundle")
        base = bundles.load(bundle)
        Classifier(base, embeds=True)
    except (LearnError, bundles.BundleError) as error:
        raise Unusable(str(error)) from None
    try:
        running = bundles.load(str(output)) if written.there(output) else base
    except bundles.BundleError as error:
        raise Unusable(
            f"what runs can't be used: {error}. Go back: mmtt learn back {output}; or remove {output} to begin anew"
        ) from None
    try:
        scikit_learn()
        if notebook and not notebook.exists():
            raise LearnError(f"{notebook}: there is no such notebook; without --notebook it is site.yaml in --windows")
        noted = notebooks.read(notebook or windows / notebooks.FILE)
        recorded = reading.read(windows, say, embeddings=False)
        if not len(recorded):
            raise LearnError(f"{windows}: no window there can be read")
        known = names.known(logs, set(recorded.uid.tolist()), shipped().with_domains(noted.domains), say)
        for line in known.problems:
            say(line)
        material = teach.material(recorded, known, noted, say)
        del recorded, known  # as much as all else
        taught = teach.teach(material, base, running, say)
        screen.taught(taught)
        problem = taught.problem
        if problem and not force:
            raise LearnError(f"{problem}; {output} is as it was (--force writes it all the same)")
        if problem:
            say(f"{problem}; written all the same")
        with endings.cleaned_up():
            written.write(output, base, taught.site, card.card(taught, base, running), teach.about(taught))
    except (LearnError, RecordError, notebooks.NotebookError, bundles.BundleError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(shown(f"{output}: {bundles.load(str(output)).model}; CARD.md there has the figures"), err=True)


@learn.command(short_help="Go back to the bundle from before the latest fit.")
@click.argument("bundle", type=paths.PATH, metavar="BUNDLE")
def back(bundle: Path) -> None:
    """Exchange BUNDLE, where `mmtt learn fit` wrote, and the one that was there before: typed twice, it is as it was.
    `mmtt reload` has the agent take it into use."""
    from .. import bundle as bundles
    from . import bundles as written
    from .errors import LearnError

    try:
        with endings.cleaned_up():
            written.back(bundle)
        model = bundles.load(str(bundle)).model
    except (LearnError, bundles.BundleError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(shown(f"{bundle}: {model}"), err=True)


learn.add_command(ask)
learn.add_command(feedback)
learn.add_command(threshold)
