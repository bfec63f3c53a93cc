"""Sessions on PostgreSQL and MariaDB over TLS: an application's pages of short queries, an analyst's large answers;
guessing.

A pool's connections stay open between pages, as an application server's do; a command-line client is a person's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from .. import behaviour
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..serving import open_to_others, run_server, running, wait_for_port
from ..workers import side_by_side

POSTGRESQL, MARIADB = 5432, 3306
_PASSWORD, _ROWS = "lab-words-only", 2000

ACTIVITIES = {
    "postgresql": Activity(
        "database",
        pairs(("postgresql",), ("psql", "psycopg", "pg8000")),
        application="PostgreSQL",
        tcp_ports=(POSTGRESQL,),
    ),
    "mariadb": Activity(
        "database", pairs(("mariadb",), ("mariadb-client", "pymysql")), application="MySQL", tcp_ports=(MARIADB,)
    ),
    "guess_postgresql": Activity(
        "database",
        pairs(("postgresql",), ("psql", "psycopg", "pg8000")),
        application="PostgreSQL",
        malicious="guess_postgresql",
        tcp_ports=(POSTGRESQL,),
    ),
}


# --- servers ---


def serve(part: Part) -> None:
    (_mariadb if part.activity == "mariadb" else _postgresql)(part)


def _own(part: Part, user: str) -> Path:
    """A folder of the server user's, and its key, which it may read only if it is its own."""
    folder = part.scratch / user
    folder.mkdir()
    for secret in ("cert.pem", "key.pem"):
        shutil.copy(part.secrets / secret, folder / secret)
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, user, user)
        path.chmod(0o700)
    open_to_others(part.scratch)
    return folder


def _as(user: str, *command: str) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]


def _postgresql(part: Part) -> None:
    own, programs = _own(part, "postgres"), Path("/usr/lib/postgresql/15/bin")
    data, word = own / "data", own / "word"
    word.write_text(_PASSWORD)
    word.chmod(0o644)
    subprocess.run(
        _as(
            "postgres",
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            "lab",
            "-A",
            "scram-sha-256",
            f"--pwfile={word}",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 0.0.0.0/0 scram-sha-256\n")
    settings = {
        "listen_addresses": part.address,
        "port": POSTGRESQL,
        "unix_socket_directories": own,
        "ssl": "on",
        "fsync": "off",
        "ssl_cert_file": own / "cert.pem",
        "ssl_key_file": own / "key.pem",
        "shared_buffers": "16MB",
        "max_connections": 40,
        "autovacuum": "off",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    table = (
        f"create table item as select n as id, md5(n::text) as name, repeat(md5((n * 7)::text), 1 + n % 24) as about, "
        f"n * 13 % 997 as price from generate_series(1, {_ROWS}) n; create table note (id serial, words text)"
    )
    with running(
        _as("postgres", str(programs / "postgres"), "-D", str(data), *words), stderr=subprocess.DEVNULL
    ) as server:
        wait_for_port(part.address, POSTGRESQL)
        subprocess.run(["psql", "-q", "-h", str(own), "-U", "lab", "-d", "postgres", "-c", table], check=True)
        part.ready()
        server.wait()


def _mariadb(part: Part) -> None:
    own = _own(part, "mysql")
    data, first = own / "data", own / "first.sql"
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--user=mysql",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    first.write_text(
        f"create user lab@'%' identified by '{_PASSWORD}' require ssl;\ngrant all on *.* to lab@'%';\n"
        "create database lab;\ncreate table lab.note (id int auto_increment primary key, words text);\n"
        "create table lab.item as select seq as id, md5(seq) as name, repeat(md5(seq * 7), 1 + seq % 24) as about, "
        f"seq * 13 % 997 as price from lab.seq_1_to_{_ROWS};\n"
    )
    first.chmod(0o644)
    run_server(
        part,
        [
            "mariadbd",
            "--no-defaults",
            "--user=mysql",
            f"--datadir={data}",
            f"--bind-address={part.address}",
            f"--port={MARIADB}",
            f"--socket={own}/socket",
            f"--pid-file={own}/pid",
            f"--ssl-cert={own}/cert.pem",
            f"--ssl-key={own}/key.pem",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            "--skip-name-resolve",
            f"--init-file={first}",
        ],
        MARIADB,
    )


# --- clients ---


def act(part: Part) -> None:
    if part.activity == "guess_postgresql":
        check(part)
        _guess(part)
        return
    draw = part.draw
    if part.client in ("psql", "mariadb-client"):
        side_by_side(part, [lambda: _person(part, draw)])
    # A pool: some connections at work in turn, one for reports.
    side_by_side(
        part, [partial(_pooled, part, Random(draw.random()), number == 0) for number in range(draw.randrange(2, 5))]
    )


def _page(draw: Random) -> list[str]:
    """The statements behind one page: look-ups by key, a list, at times something written."""
    made = [
        f"select id, name, price from item where id = {draw.randrange(1, _ROWS)}"
        for _ in range(draw.choice((1, 1, 2, 3, 6)))
    ]
    if draw.random() < 0.6:
        low = draw.randrange(1, _ROWS - 60)
        made.append(f"select * from item where id between {low} and {low + draw.choice((10, 20, 50))}")
    if draw.random() < 0.25:
        made.append(f"insert into note (words) values ('{draw.randbytes(draw.randrange(5, 300)).hex()}')")
    return made


def _report(draw: Random) -> str:
    return draw.choice(
        (
            "select * from item",
            f"select name, about from item where price < {draw.randrange(50, 900)}",
            "select price % 10, count(*), avg(price) from item group by 1",
        )
    )


def _statements(draw: Random, reports: bool) -> Iterator[tuple[list[str], float]]:
    """(statements, seconds until the next): pages as visitors come, or now and then a report."""
    while True:
        if reports:
            yield [_report(draw)], 0.5 + behaviour.think(draw)
        else:
            yield _page(draw), draw.expovariate(1 / 0.8)


def _connect(part: Part, word: str = _PASSWORD) -> Any:
    """A connection as PEP 249 has it, by one of three libraries."""
    if part.client == "pymysql":
        import pymysql

        return pymysql.connect(
            host=part.address,
            port=MARIADB,
            user="lab",
            password=word,
            database="lab",
            autocommit=True,
            ssl={"check_hostname": False, "verify_mode": False},
            connect_timeout=20,
        )
    if part.client == "psycopg":
        import psycopg

        return psycopg.connect(
            host=part.address,
            port=POSTGRESQL,
            user="lab",
            password=word,
            dbname="postgres",
            sslmode="require",
            connect_timeout=20,
            autocommit=True,
        )
    import pg8000.dbapi

    made = pg8000.dbapi.connect(
        "lab", host=part.address, port=POSTGRESQL, password=word, database="postgres", ssl_context=True, timeout=60
    )
    made.autocommit = True
    return made


def _pooled(part: Part, draw: Random, reports: bool) -> None:
    connection = _connect(part)
    cursor = connection.cursor()
    for statements, wait in _statements(draw, reports):
        for statement in statements:
            cursor.execute(statement)
            if statement.startswith("select"):
                cursor.fetchall()
        if not part.pause(wait):
            return


def _command(part: Part) -> list[str]:
    if part.client == "mariadb-client":
        return [
            "mariadb",
            "--no-defaults",
            "-h",
            part.address,
            "-P",
            str(MARIADB),
            "-u",
            "lab",
            f"-p{_PASSWORD}",
            "--ssl",
            "--skip-ssl-verify-server-cert",
            "--force",
            "lab",
        ]
    return [
        "psql",
        "-X",
        "-P",
        "pager=off",
        f"host={part.address} port={POSTGRESQL} user=lab dbname=postgres sslmode=require",
    ]


def _person(part: Part, draw: Random) -> None:
    """Types statements one by one, most of them small."""
    with running(_command(part), stdin=subprocess.PIPE, env=os.environ | {"PGPASSWORD": _PASSWORD}) as client:
        assert client.stdin, "a pipe"
        for number in itertools.count():
            statement = _report(draw) if number % 4 == 3 else draw.choice(_page(draw))
            client.stdin.write(statement.encode() + b";\n")
            client.stdin.flush()
            if not part.pause(0.3 + behaviour.think(draw) / 2):
                return
            if client.poll() is not None:
                raise ChildProcessError(f"ended with {client.returncode}")


def _guess(part: Part) -> None:
    """At most 60 words tried, each by a connection, one or three at a time."""
    draw = part.draw
    count = draw.choice((1, 3))

    def guesses(own: Random) -> None:
        for _ in range(60 // count):
            word = f"{own.getrandbits(own.randrange(24, 56)):x}"
            if part.client == "psql":
                subprocess.run(
                    [*_command(part), "-c", "select 1"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | {"PGPASSWORD": word},
                    timeout=40,
                    check=False,
                )
            else:
                # Refused, as it should be: each library has an error of its own for it.
                with contextlib.suppress(Exception):
                    _connect(part, word).close()
            if not part.pause(own.uniform(0.1, 0.8)):
                return

    side_by_side(part, [partial(guesses, Random(draw.random())) for _ in range(count)])
