"""Where lines go, with real files, sockets and a real Redis."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import certificates
import pytest

from mmtt_agent.sinks import SinkError, open_sink
from mmtt_agent.sinks.places import FORMS

REDIS = shutil.which("redis-server")


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def numbered(first: int, n: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % number for number in range(first, first + n))


class Listener:
    """A program that reads what comes on a Unix socket.

    Attributes:
        got: what has come, by connection (a stream) or by message.
    """

    def __init__(self, path, kind=socket.SOCK_STREAM, reads=True):
        self.got: list[bytes] = []
        self._kind, self._end = kind, threading.Event()
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(str(path))
        self.socket.settimeout(0.05)
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        if reads:
            self._thread.start()

    def _run(self):
        while not self._end.is_set():
            try:
                if self._kind == socket.SOCK_DGRAM:
                    self.got.append(self.socket.recv(1 << 20))
                    continue
                connection, _ = self.socket.accept()
            except TimeoutError:
                continue
            self.connections.append(connection)
            connection.settimeout(0.05)
            self.got.append(b"")
            while not self._end.is_set():
                try:
                    part = connection.recv(1 << 16)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if not part:
                    break
                self.got[-1] += part

    def close(self):
        self._end.set()
        if self._thread.ident:
            self._thread.join()
        for each in (*self.connections, self.socket):
            each.close()


@contextmanager
def listening(*arguments, **options):
    listener = Listener(*arguments, **options)
    try:
        yield listener
    finally:
        listener.close()


def test_standard_output_gets_lines_after_what_was_printed(capfdbinary):
    code = "from mmtt_agent.sinks import open_sink\nprint('first')\ns = open_sink('-')\ns.write(b'{}\\n')\ns.close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"first\n{}\n"


@pytest.mark.parametrize("prefix", ["", "file:"])
def test_a_file_is_added_to(tmp_path, prefix):
    path = tmp_path / "eve.json"
    for number in range(2):
        sink = open_sink(f"{prefix}{path}")
        sink.write(numbered(number, 1))
        sink.close()
    assert path.read_bytes() == numbered(0, 2)


def test_half_a_line_of_a_crash_does_not_become_part_of_the_next(tmp_path):
    path = tmp_path / "eve.json"
    path.write_bytes(b'{"n":0}\n{"n"')
    sink = open_sink(str(path))
    assert path.read_bytes() == b'{"n":0}\n{"n"', "nothing is written before there is something to write"
    sink.write(numbered(1, 1))
    sink.close()
    assert path.read_bytes() == b'{"n":0}\n{"n"\n{"n":1}\n'


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path):
    path, old = tmp_path / "eve.json", tmp_path / "eve.json.1"
    sink = open_sink(str(path))
    sink.write(numbered(0, 1))
    path.rename(old)
    sink.write(numbered(1, 1))
    sink.reopen()
    sink.write(numbered(2, 1))
    sink.close()
    assert old.read_bytes() == numbered(0, 2)
    assert path.read_bytes() == numbered(2, 1)


def test_a_file_that_cannot_be_made_anew_goes_on_where_it_was(tmp_path):
    path = tmp_path / "logs" / "eve.json"
    path.parent.mkdir()
    sink = open_sink(str(path))
    path.parent.rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError) as raised:
        sink.reopen()
    assert raised.value.filename == str(path) and str(path) in sink.problem
    sink.write(numbered(0, 1))
    sink.close()
    assert (tmp_path / "old" / "eve.json").read_bytes() == numbered(0, 1)


def test_a_full_disk_is_an_error_and_leaves_whole_lines_only(tmp_path):
    path = tmp_path / "eve.json"
    sink = open_sink(str(path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
        sink.write(numbered(0, 4))
        with pytest.raises(OSError, match="large") as raised:
            sink.flush()
        assert raised.value.filename == str(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert sink.dropped == 2 and str(path) in sink.problem
    sink.write(numbered(9, 1))
    sink.close()
    assert path.read_bytes() == numbered(0, 2) + numbered(9, 1)


def test_a_named_pipe_is_a_file_too(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    sink = open_sink(str(path))
    sink.write(numbered(0, 3))
    sink.close()
    reader.join()
    assert got == [numbered(0, 3)]


@pytest.mark.parametrize("prefix", ["unix", "unix_stream"])
def test_a_stream_gets_all_lines(tmp_path, prefix):
    with listening(tmp_path / "s") as listener:
        sink = open_sink(f"{prefix}:{tmp_path / 's'}")
        for begin in range(0, 50_000, 500):
            sink.write(numbered(begin, 500))
        sink.flush()
        sink.close()
        until(lambda: listener.got and len(listener.got[0]) == len(numbered(0, 50_000)))
        assert listener.got == [numbered(0, 50_000)]
    assert sink.dropped == 0 and sink.problem == ""


def test_a_datagram_socket_gets_a_message_a_line(tmp_path):
    with listening(tmp_path / "s", socket.SOCK_DGRAM) as listener:
        sink = open_sink(f"unix_dgram:{tmp_path / 's'}")
        sink.write(numbered(0, 2000))
        sink.close()
        until(lambda: len(listener.got) == 2000)
        assert b"".join(listener.got) == numbered(0, 2000)
    assert sink.dropped == 0


def test_a_line_too_long_for_a_datagram_is_counted_and_the_others_come(tmp_path):
    with listening(tmp_path / "s", socket.SOCK_DGRAM) as listener:
        sink = open_sink(f"unix_dgram:{tmp_path / 's'}")
        sink.write(numbered(0, 1) + b"x" * (8 << 20) + b"\n" + numbered(1, 1))
        sink.close()
        until(lambda: len(listener.got) == 2)
    assert sink.dropped == 1 and "a line of 8,388,609 bytes" in sink.problem


@pytest.mark.parametrize(("prefix", "kind"), [("unix", socket.SOCK_STREAM), ("unix_dgram", socket.SOCK_DGRAM)])
def test_lines_wait_for_a_listener_that_comes_later_or_back(tmp_path, prefix, kind):
    path = tmp_path / "s"
    sink = open_sink(f"{prefix}:{path}")
    sink.write(numbered(0, 10))
    sink.flush()
    assert sink.dropped == 0 and "nobody listens there" in sink.problem
    with listening(path, kind) as listener:
        until(lambda: b"".join(listener.got) == numbered(0, 10))
        sink.write(numbered(10, 10))
        until(lambda: b"".join(listener.got) == numbered(0, 20))
    sink.write(numbered(20, 10))
    sink.flush()
    with listening(path, kind) as listener:
        until(lambda: b"".join(listener.got) == numbered(20, 10))
        sink.close()
    assert sink.dropped == 0


@pytest.mark.parametrize("prefix", ["unix", "unix_dgram"])
def test_without_a_listener_lines_are_counted_in_the_end(tmp_path, prefix):
    sink = open_sink(f"{prefix}:{tmp_path / 's'}")
    sink.write(numbered(0, 10))
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < 2
    assert sink.dropped == 10 and str(tmp_path / "s") in sink.problem


def test_what_waits_is_bounded_and_the_oldest_lines_make_room(tmp_path, monkeypatch):
    path = tmp_path / "s"
    sink = open_sink(f"unix:{path}")
    monkeypatch.setattr(sink, "_most", 1000)
    sink.write(numbered(0, 1))
    sink.flush()
    begin = time.monotonic()
    for number in range(1, 1000):
        sink.write(numbered(number, 1))
    assert time.monotonic() - begin < 1
    with listening(path) as listener:
        sink.close()
        until(lambda: listener.got and listener.got[0].endswith(numbered(999, 1)))
    got = [json.loads(line)["n"] for line in listener.got[0].splitlines()]
    # The first one was on its way.
    assert got[0] == 0 and got[1:] == list(range(1001 - len(got), 1000))
    assert len(got) + sink.dropped == 1000 and sink.dropped > 800


@pytest.mark.parametrize(("prefix", "kind"), [("unix", socket.SOCK_STREAM), ("unix_dgram", socket.SOCK_DGRAM)])
def test_a_listener_that_does_not_read_holds_up_nobody_for_long(tmp_path, monkeypatch, prefix, kind):
    with listening(tmp_path / "s", kind, reads=False):
        sink = open_sink(f"{prefix}:{tmp_path / 's'}", patience=0.3)
        monkeypatch.setattr(sink, "_most", 100_000)
        begin = time.monotonic()
        for number in range(0, 200_000, 100):
            sink.write(numbered(number, 100))
        sink.flush()
        assert 0.2 < time.monotonic() - begin < 5
        assert sink.dropped > 1000 and "has taken nothing for 0.3 seconds" in sink.problem
        begin = time.monotonic()
        sink.close()
        assert time.monotonic() - begin < 3


def test_a_slow_listener_is_waited_for(tmp_path, monkeypatch):
    with listening(tmp_path / "s", reads=False) as listener:
        sink = open_sink(f"unix:{tmp_path / 's'}", patience=1.5)
        monkeypatch.setattr(sink, "_most", 100_000)

        def read_slowly():
            connection, _ = listener.socket.accept()
            listener.connections.append(connection)
            listener.got.append(b"")
            while part := connection.recv(50_000):
                listener.got[0] += part
                time.sleep(0.02)

        reader = threading.Thread(target=read_slowly)
        reader.start()
        for number in range(0, 100_000, 1000):
            sink.write(numbered(number, 1000))
        sink.close()
        reader.join()
        assert listener.got == [numbered(0, 100_000)]
        assert sink.dropped == 0


def test_a_line_cut_off_with_the_connection_comes_again_in_whole(tmp_path):
    path, line = tmp_path / "s", b"x" * 3_000_000 + b"\n"
    sink = open_sink(f"unix:{path}")
    with listening(path, reads=False) as listener:
        sink.write(numbered(0, 1) + line + numbered(1, 1))
        connection, _ = listener.socket.accept()
        first = connection.recv(100_000)
        assert first.startswith(numbered(0, 1)) and not first.endswith(b"\n")
        connection.close()
    with listening(path) as listener:
        sink.close()
        until(lambda: listener.got and listener.got[0].endswith(numbered(1, 1)))
        assert listener.got[0] == line + numbered(1, 1)
    assert sink.dropped == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
def test_a_socket_of_others_is_refused_at_once_and_said_what_to_do():
    """As root's `mmtt eve` and `mmtt sniff`, which goes on as nobody."""
    with TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        path = f"{made}/eve.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            os.chmod(path, 0o755)
            listener.listen()
            open_sink(f"unix:{path}").close()
            os.seteuid(65534)
            try:
                with pytest.raises(SinkError, match=r"the user nobody may not connect to it; .*--user"):
                    open_sink(f"unix:{path}")
            finally:
                os.seteuid(0)


def test_the_wrong_kind_of_socket_is_named(tmp_path):
    with listening(tmp_path / "s", socket.SOCK_DGRAM):
        sink = open_sink(f"unix:{tmp_path / 's'}")
        sink.write(b"{}\n")
        sink.close()
    assert sink.dropped == 1 and "unix_dgram: for datagrams" in sink.problem


class Server:
    """A real Redis."""

    def __init__(self, place, *options, kind="--port"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = [
            REDIS,
            "--port",
            "0",
            kind,
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(place),
            *options,
        ]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def server(request, tmp_path):
    if REDIS is None:
        pytest.skip("no redis-server")
    pytest.importorskip("redis", reason="no library for Redis: pip install 'mmtt[suricata]'")
    running = Server(tmp_path, "--save", "", *getattr(request, "param", ()))
    yield running
    running.stop()


def client(server, **options):
    import redis

    return redis.Redis("127.0.0.1", server.port, protocol=2, **options)


def lines(data: bytes) -> list[bytes]:
    return data.splitlines()


@pytest.mark.parametrize("mode", ["", "?mode=list", "?mode=lpush", "?mode=rpush"])
def test_redis_lists(server, mode):
    sink = open_sink(f"redis://127.0.0.1:{server.port}/suricata{mode}")
    sink.write(numbered(0, 1200))
    sink.write(numbered(1200, 1))
    sink.flush()
    got = client(server).lrange("suricata", 0, -1)
    assert (got if "rpush" in mode else got[::-1]) == lines(numbered(0, 1201))
    sink.close()
    assert sink.dropped == 0 and sink.problem == ""


@pytest.mark.parametrize("mode", ["stream", "xadd"])
def test_a_redis_stream(server, mode):
    sink = open_sink(f"redis://127.0.0.1:{server.port}/a%2Fb?mode={mode}&db=3")
    sink.write(numbered(0, 3))
    sink.close()
    got = client(server, db=3).xrange("a/b")
    assert [fields for _, fields in got] == [{b"eve": line} for line in lines(numbered(0, 3))]


@pytest.mark.parametrize("mode", ["channel", "publish"])
def test_a_redis_channel(server, mode):
    listener = client(server).pubsub(ignore_subscribe_messages=True)
    listener.subscribe("suricata")
    listener.get_message(timeout=1)
    sink = open_sink(f"redis://127.0.0.1:{server.port}/suricata?mode={mode}")
    sink.write(numbered(0, 3))
    sink.close()
    got = []
    until(lambda: ((message := listener.get_message(timeout=0.1)) and got.append(message["data"])) or len(got) == 3)
    assert got == lines(numbered(0, 3))


def test_redis_that_comes_back_gets_what_came_meanwhile(server):
    sink = open_sink(f"redis://127.0.0.1:{server.port}/k?mode=rpush")
    sink.write(numbered(0, 1))
    sink.flush()
    server.stop()
    sink.write(numbered(1, 5))
    sink.flush()
    assert sink.dropped == 0 and f"redis://127.0.0.1:{server.port}/k: " in sink.problem
    server.start()
    sink.write(numbered(6, 5))
    until(lambda: client(server).llen("k") == 10)
    assert client(server).lrange("k", 0, -1) == lines(numbered(1, 10))
    sink.close()
    assert sink.dropped == 0


def test_a_redis_that_hangs_holds_up_nobody_for_long(server, monkeypatch):
    sink = open_sink(f"redis://127.0.0.1:{server.port}/k?mode=rpush", patience=0.3)
    monkeypatch.setattr(sink, "_most", 100_000)
    sink.write(numbered(0, 1))
    sink.flush()
    server.process.send_signal(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        for number in range(1, 20_000, 100):
            sink.write(numbered(number, 100))
        sink.flush()
        assert time.monotonic() - begin < 3
        assert sink.dropped > 1000 and ("imeout" in sink.problem or "taken nothing" in sink.problem)
    finally:
        server.process.send_signal(signal.SIGCONT)
    until(lambda: client(server).lindex("k", -1) == b'{"n":20000}')
    sink.close()


@pytest.mark.parametrize("server", [("--requirepass", "p@ss/word")], indirect=True)
def test_a_redis_password(server):
    sink = open_sink(f"redis://:p%40ss%2Fword@127.0.0.1:{server.port}/k")
    sink.write(b"{}\n")
    sink.close()
    assert client(server, password="p@ss/word").llen("k") == 1
    sink = open_sink(f"redis://:wrong-secret@127.0.0.1:{server.port}/k")
    sink.write(b"{}\n")
    sink.close()
    assert sink.dropped == 1 and "password" in sink.problem and "secret" not in sink.problem


def test_redis_over_tls_and_one_that_nobody_vouches_for(tmp_path, monkeypatch):
    if REDIS is None or shutil.which("openssl") is None:
        pytest.skip("no redis-server, or no openssl")
    pytest.importorskip("redis", reason="no library for Redis: pip install 'mmtt[suricata]'")
    certificates.make(tmp_path)
    files = ("--tls-cert-file", tmp_path / "zeek.pem", "--tls-key-file", tmp_path / "zeek.key")
    more = ("--tls-ca-cert-file", tmp_path / "ca.pem", "--tls-auth-clients", "no", "--save", "")
    running = Server(tmp_path, *map(str, files), *map(str, more), kind="--tls-port")
    try:
        for authority, dropped in (("ca", 0), ("other", 1)):
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / f"{authority}.pem"))
            sink = open_sink(f"rediss://127.0.0.1:{running.port}/k")
            sink.write(b"{}\n")
            sink.close()
            assert sink.dropped == dropped, sink.problem
        assert "certificate" in sink.problem.lower()
        assert client(running, ssl=True, ssl_ca_certs=str(tmp_path / "ca.pem")).llen("k") == 1
    finally:
        running.stop()


def test_a_key_of_another_kind_is_named(server):
    client(server).set("k", "text")
    sink = open_sink(f"redis://127.0.0.1:{server.port}/k")
    sink.write(b"{}\n{}\n")
    sink.close()
    assert sink.dropped == 2 and "wrong kind of value" in sink.problem


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("", "names no file"),
        ("file:", "names no file"),
        ("/no/such/place/eve.json", "/no/such/place/eve.json: No such file or directory"),
        ("/", "/: Is a directory; name a file in it"),
        ("unix:", "names no socket"),
        ("unix:/" + "x" * 200, "use a shorter one"),
        ("unix:/etc/passwd", "/etc/passwd: not a socket; write file:/etc/passwd for a file"),
        ("tcp://host:1", FORMS),
        ("redis:///k", "names no host"),
        ("redis://h:1", "names no key; write redis://h:1/KEY"),
        ("redis://h/k?mode=set", "mode can't be 'set'; it is one of list,"),
        ("redis://h/k?db=x", "db can't be 'x'"),
        ("redis://h/k?size=1", "no such option: size; there are mode and db"),
        ("redis://u:secret/word@h/k", "in a password write %2F for /"),
        ("redis://h:99999/k", "its port is no number up to 65535"),
    ],
)
def test_what_is_no_place_gets_one_line_with_the_remedy(where, says):
    with pytest.raises(SinkError) as raised:
        open_sink(where)
    said = str(raised.value)
    assert says in said and "\n" not in said and "secret" not in said


def test_without_the_library_for_redis_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SinkError, match=r"pip install 'mmtt\[suricata\]'"):
        open_sink("redis://h/k")


def test_a_receiver_that_had_nothing_to_take_is_not_called_slow(tmp_path):
    path = tmp_path / "s"
    with listening(path) as listener:
        sink = open_sink(f"unix:{path}", patience=0.2)
        for number in range(3):
            sink.write(numbered(number, 1))
            sink.flush()
            time.sleep(0.3)
        until(lambda: len(b"".join(listener.got)) >= len(numbered(0, 3)))
        assert sink.problem == "" and sink.dropped == 0
        sink.close()
