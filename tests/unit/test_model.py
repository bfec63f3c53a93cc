import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_model.architecture import Architecture, Model, ScaleEmbedding

from mmtt_agent import features
from mmtt_agent.series import SeriesBatch

SMALL = Architecture(width=16, heads=2, feed_forward=16, text_layers=1, image_layers=1)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Model(SMALL, services=5, applications=7).eval()


def _windows():
    return SeriesBatch.from_lists([[100, -200, 300, -400], [50] * 32], [[0, 10, 20, 30], list(range(32))])


def test_three_answers_per_window(model):
    service, application, malicious = model(*Model.inputs(_windows()))
    assert (service.shape, application.shape, malicious.shape) == ((2, 5), (2, 7), (2,))


def test_padding_is_not_read(model):
    """Whatever the embedding of padding is, the answers are the same."""
    before = model(*Model.inputs(_windows()))
    with torch.no_grad():
        model.text.size.tables[0][features.PAD].normal_()
        model.text.gap.tables[0][features.PAD].normal_()
        model.text.position[-28:].normal_()
    after = model(*Model.inputs(_windows()))
    for a, b in zip(before, after):
        torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(before[0][1], after[0][1]), "a full window does read all its places"


def test_a_window_is_answered_the_same_in_any_company(model):
    together = model(*Model.inputs(_windows()))
    for row in range(2):
        alone = model(*Model.inputs(_windows()[row : row + 1]))
        for a, b in zip(together, alone):
            torch.testing.assert_close(a[row], b[0], rtol=1e-4, atol=1e-5)


def test_both_the_sentence_and_the_picture_are_read(model):
    statistics, sizes, gaps, picture = Model.inputs(_windows())
    before = model(statistics, sizes, gaps, picture)[0]
    assert not torch.allclose(before, model(statistics, sizes, gaps, picture.flip(1))[0])
    assert not torch.allclose(before, model(statistics, sizes.flip(1), gaps, picture)[0])
    assert not torch.allclose(before, model(statistics.flip(1), sizes, gaps, picture)[0])


def test_words_share_what_is_learnt_with_their_neighbours_on_the_scale():
    embedding = ScaleEmbedding((1, 200, 200), width=8)
    word, neighbour, far, next_scale = torch.tensor([38, 37, 150, 201])
    before = [embedding(each).detach().clone() for each in (neighbour, far, next_scale)]
    embedding(word).sum().backward()
    with torch.no_grad():
        for table in embedding.tables:
            table -= table.grad
    after = [embedding(each) for each in (neighbour, far, next_scale)]
    assert [bool((a != b).any()) for a, b in zip(before, after)] == [True, False, False]


def test_every_parameter_learns(model):
    model.train()
    service, application, malicious = model(*Model.inputs(_windows()))
    (service.logsumexp(1).sum() + application.logsumexp(1).sum() + malicious.square().sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": 3},
        {"patch": 5},
        {"text_layers": 0},
        {"statistics_per_word": 5},
        {"dropout": 1.0},
        {"width": 6.5},
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Architecture(**wrong)
