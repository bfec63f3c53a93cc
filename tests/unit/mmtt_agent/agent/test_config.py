"""Settings: every key is known and every value checked, and what is wrong is told with file and line."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mmtt_agent.agent import config
from mmtt_agent.agent.config import Config, ConfigError, load

EXAMPLE = Path(config.__file__).parent / "install" / "mmtt-agent.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "agent.yaml"
        path.write_text(text)
        return path

    return write


def problem(path, overrides=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_example_shows_the_defaults():
    made = load(EXAMPLE, {"id": "a"})
    assert made == Config(id="a")


def test_the_example_shows_every_setting():
    text = EXAMPLE.read_text()
    uncommented = yaml.safe_load(
        "\n".join(line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ": " in line and line.endswith(
            ("agent-1", "bundle", "0.1%", "0.97", "0.8", "windows", ".pem", ".key", "_day: 20")) else line
            for line in text.splitlines())
    )  # fmt: skip

    def keys(content):
        return {k: keys(v) if isinstance(v, dict) else None for k, v in content.items()}

    def settings(owner):
        groups = {
            "incidents": config.Incidents,
            "thresholds": config.Thresholds,
            "record": config.Record,
            "reconnect": config.Reconnect,
            "tls": config.Tls,
            "log": config.Log,
            "metrics": config.Metrics,
        }
        return {
            name: settings(groups[name]) if name in groups and owner is Config else None
            for name in owner.__dataclass_fields__
        }

    assert keys(uncommented) == settings(Config)


def test_no_file_is_the_defaults():
    made = load(None)
    assert made.url == "ws://127.0.0.1:27759/v1/messages/json"
    assert (made.threads, made.credit) == (1, 4096)
    assert made.id


def test_an_empty_file(write):
    assert load(write("# nothing\n"), {"id": "a"}) == Config(id="a")
    assert load(write("log:\n"), {"id": "a"}) == Config(id="a")


def test_the_command_line_overrides_the_file(write):
    made = load(
        write("threads: 2\nlog:\n  format: text\n  level: debug\n"),
        {"threads": 3, "log.format": "json", "url": None},
    )
    assert (made.threads, made.log.format, made.log.level) == (3, "json", "debug")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("threads: 1\nthread: 2\n", 2, "unknown key 'thread'; known are url, id"),
        ("log:\n  formt: json\n", 2, "unknown key 'log.formt'; known are format"),
        ("threads: 1\n\nthreads: 2\n", 3, "threads is given twice"),
        ("threads: many\n", 1, "threads must be an integer from 1 to 256, not 'many'"),
        ("threads: 0\n", 1, "not '0'"),
        ("threads: true\n", 1, "not 'true'"),
        ("threads: 1.5\n", 1, "not '1.5'"),
        ("threads: [1]\n", 1, "not 'a list or mapping'"),
        ("threads:\n", 1, "threads must be"),
        ("threads: 1e99\n", 1, "threads must be"),
        ("id: two words\n", 1, "id must be 1 to 64 letters"),
        ("id: 5\n", 1, "id must be"),
        ("bundle: ''\n", 1, "bundle must be a path"),
        ("# a\nurl: http://127.0.0.1/\n", 2, "url must be ws://"),
        ("url: ws://\n", 1, "url must be"),
        ("url: ws://127.0.0.1:99999/\n", 1, "url must be"),
        ("url: ws://user:secret@127.0.0.1/\n", 1, "url must be"),
        ("url: ws://[::1/\n", 1, "url must be"),
        ("false_positives: 0.01\n", 1, "false_positives must be a share such as 1% or 0.1%, not '0.01'"),
        ("credit: 63\n", 1, "credit must be an integer from 64"),
        ("alerts_per_day: 0\n", 1, "alerts_per_day must be a number from 0.1 to 1000"),
        ("alerts_per_day: 5\nincidents: {share: 1%}\n", 1, "alerts_per_day, and incidents.share"),
        ("thresholds: {incidents: 0.9}\nalerts_per_day: 5\n", 2, "alerts_per_day, and incidents.share"),
        ("incidents:\n  horizon: 1\n", 2, "incidents.horizon must be seconds, from 600 to"),
        ("incidents:\n  max_pairs: 999\n", 2, "incidents.max_pairs must be an integer from 1000"),
        ("incidents:\n  share: 0.001\n", 2, "incidents.share must be a share such as 1% or 0.1%, not '0.001'"),
        ("incidents:\n  mute: x\n", 2, "unknown key 'incidents.mute'; known are horizon, max_pairs, share"),
        ("thresholds: 0.5\n", 1, "thresholds must hold 'key: value' lines"),
        ("thresholds:\n  malicious: 1.5\n", 2, "thresholds.malicious must be a number from 0 to 1, or such by service"),
        ("thresholds:\n  malicious: .nan\n", 2, "thresholds.malicious must be a number"),
        ("thresholds:\n  malicious: {web: high}\n", 2, "thresholds.malicious must be a number"),
        ("thresholds:\n  malicious: {web: 0.9, web: 0.8}\n", 2, "once for each: 'web' is there twice"),
        ("thresholds:\n  malicious: {}\n", 2, "thresholds.malicious must be a number"),
        ("thresholds:\n  incidents: {host: 0.9}\n", 2, "from 0 to 1, or such by pair or originator or responder"),
        ("thresholds:\n  malicious: 0.9\nfalse_positives: 1%\n", 2, "both say what is malicious: leave one out"),
        ("thresholds:\n  incidents: 0.9\nincidents:\n  share: 1%\n", 2, "both say what an incident is: leave one out"),
        ("id: {a: b}\n", 1, "id must be"),
        ("log:\n  format: {}\n", 2, "log.format must be"),
        ("reconnect: 5\n", 1, "reconnect must hold 'key: value' lines"),
        ("reconnect:\n  first: 2\n  longest: 1\n", 3, "longest must not be below"),
        ("reconnect:\n  first: .nan\n", 2, "reconnect.first must be seconds"),
        ("log:\n  format: xml\n", 2, "log.format must be text or json, not 'xml'"),
        ("log:\n  level: 3\n", 2, "log.level must be"),
        ("metrics:\n  listen: 27760\n", 2, "metrics.listen must be HOST:PORT or off"),
        ("metrics:\n  listen: ::1\n", 2, "metrics.listen must be"),
        ("metrics:\n  listen: a@127.0.0.1:1\n", 2, "metrics.listen must be"),
        ("stop_timeout: -1\n", 1, "stop_timeout must be seconds, from 0"),
        ("threads: !!python/object/apply:os.getcwd []\n", 1, "threads must be"),
        ("threads: !!int x\n", 1, "threads must be"),
        ("? [a, b]\n: 1\n", 1, "unknown key"),
        ("- threads\n", 1, "the file must hold"),
        ("threads\n", 1, "the file must hold"),
        ("a: b: c\n", 1, "not YAML"),
        ("threads: 1\n\tcredit: 64\n", 2, "not YAML"),
        ("url: ws://192.0.2.1:27759/v1/messages/json\n", 1, "wss:// or broker:// with tls.cert and tls.key"),
        ("url: wss://192.0.2.1:27759/v1/messages/json\n", 1, "wss:// or broker:// with tls.cert and tls.key"),
        ("tls:\n  ca: /etc\n", 2, "the url is not wss://"),
        ("url: wss://127.0.0.1/\ntls:\n  ca: /no/such\n", 3, "tls.ca: /no/such can't be read"),
        (f"url: wss://127.0.0.1/\ntls:\n  cert: {EXAMPLE}\n", 3, "must be given together"),
    ],
)
def test_what_is_wrong_names_file_and_line(write, text, line, says):
    path = write(text)
    found = problem(path)
    assert found.startswith(f"{path}:{line}: ")
    assert says in found


def test_thresholds_are_one_for_all_or_by_name(write):
    made = load(write("thresholds:\n  malicious: 0.9\n  incidents: {pair: 0.8, others: 1}\n")).thresholds
    assert made.malicious == {"others": 0.9} and made.incidents == {"pair": 0.8, "others": 1.0}
    made = load(write("thresholds:\n  malicious:\n    web: 0.9\nfalse_positives: 1%\n")).thresholds
    assert made.malicious == {"web": 0.9} and made.incidents is None


def test_a_file_that_is_not_there(tmp_path):
    assert problem(tmp_path / "absent.yaml") == f"{tmp_path}/absent.yaml: No such file or directory"
    assert "Is a directory" in problem(tmp_path)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_bytes(b"id: \xff")
    assert problem(path) == f"{path}: not UTF-8 at byte 4"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"threads": 0}, "--threads must be an integer from 1 to 256, not 0"),
        ({"id": "a b"}, "--id must be 1 to 64 letters"),
        ({"url": "nowhere"}, "--url must be ws://HOST"),
        ({"url": "ws://example.org/"}, "--url: Zeek knows no passwords"),
    ],
)
def test_a_wrong_option_is_named(overrides, says):
    assert problem(None, overrides).startswith(says)


def test_where_metrics_are(write):
    assert load(write("metrics:\n  listen: off\n")).metrics.listen is None
    assert load(write("metrics:\n  listen: '[::1]:9000'\n")).metrics.listen == ("::1", 9000)
    assert load(None, {"metrics.listen": "off"}).metrics.listen is None


def test_loopback():
    for host in ("127.0.0.1", "127.9.9.9", "[::1]", "localhost"):
        assert config.is_loopback(f"ws://{host}:1/")
    for host in ("10.0.0.1", "[::2]", "localhost.example.org"):
        assert not config.is_loopback(f"ws://{host}:1/")


@given(st.text(max_size=60) | st.sampled_from(["threads", "log", "tls", "url"]).flatmap(
    lambda key: st.text(max_size=20).map(lambda value: f"{key}: {value}")))  # fmt: skip
def test_no_text_raises_anything_else(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode(errors="replace"))
    try:
        assert isinstance(load(path), Config)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - not every text raises
