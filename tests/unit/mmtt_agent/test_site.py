"""A site's own answers in a bundle: kept whole, refused where damaged, and the same however windows come together."""

import dataclasses
import hashlib
import io
import zipfile

import numpy as np
import pytest
import yaml
from site_memory import WIDTH, embedding_bundle, series
from tiny_bundle import make_bundle, network

from mmtt_agent import bundle as bundles
from mmtt_agent.bundle import SITE, BundleError
from mmtt_agent.classifier import Classifier
from mmtt_agent.learn import bundles as written
from mmtt_agent.site import Answers, Site, SiteError, packed, unit, unpacked

KINDS = ["erp", "files", "camera"] * 70
K = 5


def answers(labels, random) -> Answers:
    n = len(labels)
    examples = unit(random.normal(0, 1, (3 * n, K)).astype(np.float32))
    weights, bias = random.normal(0, 3, (WIDTH, n)).astype(np.float32), np.zeros(n, np.float32)
    return Answers(tuple(labels), 0.75, 0.4, -1.0, weights, bias, examples, np.repeat(np.arange(n), 3))


def made() -> Site:
    """Answers of its own to both questions, some of them the network's, too; and two judged windows."""
    random = np.random.default_rng(9)
    return Site(
        answers={
            "service": answers(["web", "erp_service"], random),
            "application": answers(["Alpha", "ERP", "Files"], random),
        },
        services_of={"Alpha": ("web",), "ERP": ("erp_service", "chat"), "Files": ("web", "chat", "erp_service")},
        mean=random.normal(0, 1, WIDTH).astype(np.float32),
        scale=np.full(WIDTH, 2.0, np.float32),
        directions=random.normal(0, 1, (WIDTH, K)).astype(np.float32),
        judged=unit(random.normal(0, 1, (2, K)).astype(np.float32)),
        judged_malicious=np.array([True, False]),
        usual=np.zeros(K, np.float32),
        spread=np.ones(K, np.float32),
        unknown=0.25,
        until=7,
    )


@pytest.fixture
def base(tmp_path):
    return bundles.load(embedding_bundle(tmp_path / "base"))


@pytest.fixture
def directory(base, tmp_path):
    written.write(tmp_path / "bundle", base, made(), "# Card\n", {"mmtt": "0"})
    return tmp_path / "bundle"


def put(directory, data: bytes) -> None:
    """Another site.npz, with its SHA-256 in bundle.yaml."""
    (directory / SITE).write_bytes(data)
    content = yaml.safe_load((directory / "bundle.yaml").read_text())
    content["site"]["sha256"] = hashlib.sha256(data).hexdigest()
    (directory / "bundle.yaml").write_text(yaml.safe_dump(content))


def arrays(directory) -> dict:
    return unpacked((directory / SITE).read_bytes())


def zipped(**more) -> bytes:
    out = io.BytesIO()
    np.savez(out, **more)
    return out.getvalue()


def as_rows(verdicts):
    columns = (getattr(verdicts, name) for name in verdicts.__slots__)
    return list(zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True))


def test_what_is_loaded_says_what_was_saved(base, directory):
    loaded = bundles.load(directory)
    batch = series(KINDS)
    before = Classifier(dataclasses.replace(base, site=made())).classify(batch)
    after = Classifier(loaded).classify(batch)
    assert as_rows(before) == as_rows(after)
    assert {"Alpha", "Files"} <= {*after.application}
    assert (loaded.site.until, loaded.site.unknown) == (7, 0.25)
    assert loaded.model == f"{base.model}+{loaded.site.sha256[:8]}"
    assert packed(made()) == packed(loaded.site)


def test_a_verdict_is_the_same_however_windows_come_together(directory):
    classifier = Classifier(bundles.load(directory), embeds=True)
    batch = series(KINDS[:200])
    whole = as_rows(classifier.classify(batch))
    for many in (1, 3):
        parts = [as_rows(classifier.classify(batch[at : at + many])) for at in range(0, len(batch), many)]
        assert [row for part in parts for row in part] == whole


def test_of_nothing_it_says_nothing(directory):
    assert len(Classifier(bundles.load(directory)).classify(series([]))) == 0


@pytest.mark.parametrize("at", [0, 100, -30])
def test_a_changed_byte_is_told(directory, at):
    data = bytearray((directory / SITE).read_bytes())
    data[at] ^= 1
    (directory / SITE).write_bytes(data)
    refused(directory, "SHA-256 is")


def test_a_missing_file_is_told(directory):
    (directory / SITE).unlink()
    refused(directory, "No such file")


def test_a_missing_array_and_one_too_many_are_told(directory):
    kept = arrays(directory)
    put(directory, zipped(**{name: each for name, each in kept.items() if name != "spread"}))
    refused(directory, "lacks the array spread")
    put(directory, zipped(**kept, more=np.zeros(1)))
    refused(directory, "has the array more")


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("mean", np.zeros(WIDTH + 1, np.float32), "has mean of shape (17,), not (16,)"),
        ("scale", np.zeros(WIDTH, np.float32), "a scale that is not above 0"),
        ("scale", np.full(WIDTH, np.nan, np.float32), "with what is no number"),
        ("directions", np.zeros(WIDTH, np.float32), "has directions of shape (16,)"),
        ("judged", np.zeros((3, K), np.float32), "has judged of shape (3, 5), not (2, 5)"),
        ("judged_malicious", np.zeros((2, 1), bool), "has judged_malicious of shape (2, 1)"),
        ("judged_malicious", np.array(True), "has judged_malicious of shape ()"),
        ("service_label", np.array(0), "has service_label of shape ()"),
        ("service_label", np.array([0, 0, 0, 0, 0, 0]), "does not name each of 2 labels"),
        ("service_label", np.array([1, 1, 1, 0, 0, 0]), "does not name each of 2 labels"),
        ("service_label", np.zeros(6, np.float32), "has service_label of float32"),
        ("application_weights", np.zeros((WIDTH, 2), np.float32), "has application_weights of shape (16, 2)"),
        ("spread", np.array(["a"] * K), "has spread of <U1"),
    ],
)
def test_arrays_that_do_not_fit_are_told(directory, name, array, says):
    put(directory, zipped(**arrays(directory) | {name: array}))
    refused(directory, says)


class Boom:
    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


def test_a_pickle_is_not_run(directory):
    put(directory, zipped(**arrays(directory) | {"spread": np.array([Boom()], object)}))
    refused(directory, "can't be read (Object arrays cannot be loaded")


@pytest.mark.parametrize("data", [b"", b"no zip", zipped(mean=np.zeros(3))[:60]])
def test_what_is_no_archive_is_told(directory, data):
    put(directory, data)
    refused(directory, "can't be read")


def archive(packing: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return out.getvalue()


def test_members_that_are_no_arrays_are_told(directory):
    put(directory, archive(mean=b"not an array"))
    refused(directory, "can't be read")


def test_a_damaged_packed_member_is_told():
    data = bytearray(archive(zipfile.ZIP_DEFLATED, mean=zipped(mean=np.arange(1000.0))))
    data[200:240] = bytes(40)
    with pytest.raises(SiteError, match="can't be read"):
        unpacked(bytes(data))


def test_an_array_that_claims_to_be_endless_is_told():
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with pytest.raises(SiteError, match="can't be read"):
        unpacked(archive(mean=head.getvalue()))


def test_an_archive_too_large_is_told(monkeypatch):
    monkeypatch.setattr("mmtt_agent.site._MAX_BYTES", 100)
    with pytest.raises(SiteError, match="more than a site's part can be"):
        unpacked(zipped(mean=np.zeros(100)))


def test_a_network_without_embedding_is_told(directory, tmp_path):
    plain = network()
    make_bundle(tmp_path / "other", plain)
    content = yaml.safe_load((directory / "bundle.yaml").read_text())
    content["model_sha256"] = hashlib.sha256(plain).hexdigest()
    (directory / "bundle.yaml").write_text(yaml.safe_dump(content))
    (directory / "model.onnx").write_bytes(plain)
    with pytest.raises(BundleError, match="the network gives no window_embedding; those of"):
        Classifier(bundles.load(directory))


def test_a_network_with_another_embedding_is_told(directory):
    wider = network(embedding=WIDTH + 1)
    content = yaml.safe_load((directory / "bundle.yaml").read_text())
    content["model_sha256"] = hashlib.sha256(wider).hexdigest()
    (directory / "bundle.yaml").write_text(yaml.safe_dump(content))
    (directory / "model.onnx").write_bytes(wider)
    with pytest.raises(BundleError, match="of 17 numbers, the site's own answers were learnt from 16"):
        Classifier(bundles.load(directory))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shares": {"service": 2.0, "application": 0.5}}, "site.shares.service must be from 0 to 1"),
        ({"thresholds": {}}, "site.thresholds.service is missing"),
        ({"services": ["web", "unknown"]}, "site.services holds 'unknown'"),
        ({"applications": [{"name": "ERP", "services": ["nothing"]}]}, "names 'nothing', which is not among"),
        ({"applications": [{"name": "ERP", "services": ["web"]}]}, "has application_weights of shape (16, 3)"),
        ({"until": "soon"}, "site.until must be an integer"),
    ],
)
def test_what_bundle_yaml_says_wrongly_is_told(directory, change, says):
    content = yaml.safe_load((directory / "bundle.yaml").read_text())
    content["site"] |= change
    (directory / "bundle.yaml").write_text(yaml.safe_dump(content))
    refused(directory, says)


def test_what_somebody_judged_counts_for_what_is_like_it():
    site = made()
    back = np.linalg.pinv(site.directions)
    embedding = (site.judged @ back) * site.scale + site.mean
    added = site.seen(embedding).judgement()
    assert added[0] == pytest.approx(8, abs=0.1) and added[1] == pytest.approx(-8, abs=0.1)


def refused(directory, says: str) -> None:
    """In one line that names a file of the bundle."""
    with pytest.raises(BundleError) as caught:
        bundles.load(directory)
    line = str(caught.value)
    assert says in line and "\n" not in line and line.startswith(f"{directory}/")


def test_what_is_unlike_all_that_the_site_knows_is_the_network_s_to_name(base):
    """One of a site's labels is always the best: it must not take the network's answers for what the site never had."""
    batch = series(KINDS)

    def said(alike: float):
        changed = {task: dataclasses.replace(each, alike=alike, threshold=0.0) for task, each in made().answers.items()}
        site = dataclasses.replace(made(), answers=changed)
        verdicts = Classifier(dataclasses.replace(base, site=site)).classify(batch)
        return verdicts.service, verdicts.application

    alone = Classifier(base).classify(batch)
    assert said(1.0) == (alone.service, alone.application)
    assert said(-1.0) != (alone.service, alone.application)
