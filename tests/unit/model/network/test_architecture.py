import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_agent import features
from mmtt_agent.series import SeriesBatch
from mmtt_model.network.architecture import Architecture, LineUp, Model, Neighbours, ScaleEmbedding

SMALL = Architecture(width=16, heads=2, feed_forward=16, text_layers=1, image_layers=1)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Model(SMALL, services=5, applications=7, kinds=3).eval()


def _windows():
    return SeriesBatch.from_lists([[100, -200, 300, -400], [50] * 32], [[0, 10, 20, 30], list(range(32))])


def test_four_answers_per_window(model):
    assert [answer.shape for answer in model(*Model.inputs(_windows()))] == [(2, 5), (2, 7), (2,), (2, 3)]


def test_padding_is_not_read(model):
    """Whatever the embedding of padding is, the answers are the same."""
    before = model(*Model.inputs(_windows()))
    with torch.no_grad():
        model.text.size.tables[0][features.PAD].normal_()
        model.text.gap.tables[0][features.PAD].normal_()
        model.text.position[-28:].normal_()
    after = model(*Model.inputs(_windows()))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(before[0][1], after[0][1]), "a full window does read all its places"


def test_a_window_is_answered_the_same_in_any_company(model):
    together = model(*Model.inputs(_windows()))
    for row in range(2):
        alone = model(*Model.inputs(_windows()[row : row + 1]))
        for a, b in zip(together, alone, strict=True):
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
            table.sub_(table.grad)
    after = [embedding(each) for each in (neighbour, far, next_scale)]
    assert [bool((a != b).any()) for a, b in zip(before, after, strict=True)] == [True, False, False]


@pytest.fixture
def packets():
    """Two windows of 32 and 3 packets, by what is behind these random numbers, and which places are filled."""
    torch.manual_seed(4)
    filled = (torch.arange(32)[None] < torch.tensor([32, 3])[:, None]).float()[..., None]
    return torch.randn(2, 32, SMALL.width), filled


def test_a_packet_sees_its_neighbours_and_nothing_beyond_them(packets):
    layer = Neighbours(SMALL).eval()
    values, filled = packets
    changed = values.clone()
    changed[0, 10] += torch.randn(SMALL.width)
    changed[1, 3] += 1  # nothing is there
    differ = (layer(values, filled) - layer(changed, filled)).abs().sum(2) > 1e-6
    assert differ[0].nonzero().flatten().tolist() == [8, 9, 10, 11, 12]
    assert differ[1].nonzero().flatten().tolist() == [3]


def test_the_line_up_is_of_packets_in_their_places(packets):
    line_up = LineUp(SMALL).eval()
    values, filled = packets
    swapped, beyond = values.clone(), values.clone()
    swapped[0, [3, 7]] = values[0, [7, 3]]
    beyond[1, 3:] += 1
    before = line_up(values, filled)
    assert not torch.allclose(before[0], line_up(swapped, filled)[0])
    assert torch.equal(before, line_up(beyond, filled))


@pytest.mark.parametrize("many", [2, 4])
def test_packets_that_are_read_as_one_word_shorten_the_sentence_and_their_padding_is_not_read(many):
    torch.manual_seed(3)
    model = Model(dataclasses.replace(SMALL, packets_per_word=many), 5, 7, 3).eval()
    sizes = [100, -200, 300, -400, 50][: 4 + many % 4 // 2]  # a word that is half filled, too
    inputs = Model.inputs(SeriesBatch.from_lists([sizes, [50] * 32], [list(range(len(sizes))), list(range(32))]))
    before, words = model(*inputs), -(-len(sizes) // many)
    read, blocked = model.text(*inputs[:3])
    assert read.shape[1] == model.text.statistic_words + 32 // many
    assert (blocked[0, 0, 0] == 0).sum() == model.text.statistic_words + words
    with torch.no_grad():
        model.text.size.tables[0][features.PAD].normal_()
        model.text.gap.tables[0][features.PAD].normal_()
        model.text.position[model.text.statistic_words + words :].normal_()
    for a, b in zip(before, model(*inputs), strict=True):
        torch.testing.assert_close(a[0], b[0])


def test_exact_sizes_are_left_out_in_training_alone():
    torch.manual_seed(3)
    model = Model(dataclasses.replace(SMALL, exact_dropout=0.5, dropout=0.0), 5, 7, 3)
    inputs = Model.inputs(SeriesBatch.from_lists([[100, -200, 300, -400]] * 64, [[0, 10, 20, 30]] * 64))

    def answers(training):
        return model.train(training)(*inputs)[0].detach()

    def alike(found, one):
        return torch.isclose(found, one, atol=1e-5).all(1)

    with torch.no_grad():
        model.text.size.tables[0].normal_()
    whole, shown = answers(False), answers(True)
    exact = alike(shown, whole[0])
    assert alike(whole, whole[0]).all() and 10 < exact.sum() < 54, "in training some windows are seen whole"
    coarse = shown[~exact][0]
    assert alike(shown[~exact], coarse).all()
    with torch.no_grad():
        model.text.size.tables[0].normal_()
    assert alike(answers(True), coarse).any() and not alike(answers(False), coarse).any(), "and some by coarse sizes"


def test_every_parameter_learns(model):
    model.train()
    service, application, malicious, kind = model(*Model.inputs(_windows()))
    named = (answer.logsumexp(1).sum() for answer in (service, application, kind))
    (sum(named) + malicious.square().sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": 3},
        {"patch": 5},
        {"text_layers": 0},
        {"statistics_per_word": 5},
        {"packets_per_word": 3},
        {"exact_dropout": 1.0},
        {"neighbours": 4},
        {"dropout": 1.0},
        {"width": 6.5},
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Architecture(**wrong)
