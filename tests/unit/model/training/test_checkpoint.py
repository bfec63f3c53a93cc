"""A checkpoint gives back what was kept, and a file that can't be one is told and passed over."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

import safetensors.torch

from mmtt_model.training.checkpoint import load, save


def trained():
    """A state as training has it, with a transposed tensor, an optimizer of whole-numbered parameters, no tensor and a
    nan.
    """
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return {
        "key": "k", "epoch": 7, "best": float("nan"), "seconds": 0.1 + 0.2, "none": None,
        "model": {
            "weight": layer.weight.detach().t(), "half": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3),
        },
        "optimizer": optimizer.state_dict(),
    }  # fmt: skip


def test_what_was_kept_comes_back_to_the_bit(tmp_path):
    kept, said = trained(), []
    save(tmp_path / "c.safetensors", kept)
    back = load(tmp_path / "c.safetensors", "k", said.append)
    assert (back["epoch"], back["seconds"], back["none"], said) == (7, 0.1 + 0.2, None, [])
    assert back["best"] != back["best"]
    for name, tensor in kept["model"].items():
        assert torch.equal(back["model"][name], tensor) and back["model"][name].dtype == tensor.dtype
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.5)
    optimizer.load_state_dict(back["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert torch.equal(optimizer.state[layer.weight]["exp_avg"], kept["optimizer"]["state"][0]["exp_avg"])
    assert {path.name for path in tmp_path.iterdir()} == {"c.safetensors"}


def test_any_reader_of_safetensors_can_read_it(tmp_path):
    kept = trained()
    save(tmp_path / "c.safetensors", kept)
    read = safetensors.torch.load_file(tmp_path / "c.safetensors")
    assert torch.equal(read["model/weight"], kept["model"]["weight"])


@pytest.mark.parametrize(
    "damage", ["nothing in it", "cut short", "no JSON", "of something else", "a tensor missing", "other key"]
)
def test_a_file_that_is_none_of_this_run_is_told_and_passed_over(tmp_path, damage):
    path, said = tmp_path / "c.safetensors", []
    assert load(path, "k", said.append) is None and not said
    save(path, trained())
    whole = path.read_bytes()
    if damage == "nothing in it":
        path.write_bytes(b"")
    elif damage == "cut short":
        path.write_bytes(whole[:-8])
    elif damage == "no JSON":
        safetensors.torch.save_file({"a": torch.ones(1)}, path, {"mmtt": "{"})
    elif damage == "of something else":
        safetensors.torch.save_file({"a": torch.ones(1)}, path)
    elif damage == "a tensor missing":
        path.write_bytes(whole.replace(b"model/weight", b"model/weighs"))
    assert load(path, "other" if damage == "other key" else "k", said.append) is None
    assert said == [f"{path}: damaged, or of other data or settings; begun anew"]


def test_what_can_not_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "c.safetensors"
    save(path, trained())
    (tmp_path / ".c.safetensors.new").mkdir()
    with pytest.raises(IsADirectoryError):
        save(path, trained() | {"epoch": 8})
    assert load(path, "k", lambda _: None)["epoch"] == 7
