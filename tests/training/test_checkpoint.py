from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate.errors import AblateError
from ablate.training.checkpoint import DamagedError, _Packed, load, save, set_aside


def state() -> dict[str, Any]:
    return {"key": "abc", "net": {"weight": torch.arange(6.0).view(2, 3)}, "curve": [{"epoch": 1}], "step": 7}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint.pt", state())
    loaded = load(tmp_path / "checkpoint.pt", key="abc", device="cpu")
    assert torch.equal(loaded["net"]["weight"], state()["net"]["weight"])
    assert (loaded["curve"], loaded["step"]) == ([{"epoch": 1}], 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_every_tensor_comes_back_with_its_numbers_type_and_order_in_memory(dtype: torch.dtype, tmp_path: Path) -> None:
    numbers = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5).to(dtype)
    tensors = {
        "plain": numbers,
        "channels_last": numbers.contiguous(memory_format=torch.channels_last),
        "transposed": numbers.transpose(0, 2),
        "with gaps": numbers[:, :, ::2],
        "expanded": numbers[:1].expand(7, 3, 4, 5),
        "part of another": numbers[1],
        "of one number": numbers[0, 0, 0, 0],
        "of none": numbers[:0],
    }
    path = tmp_path / "checkpoint.pt"
    save(path, {"key": "abc", "state": {0: [tensors]}})
    loaded = load(path, key="abc", device="cpu")["state"][0][0]
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor), name
        assert loaded[name].dtype == dtype
        if name not in ("with gaps", "expanded"):
            assert loaded[name].stride() == tensor.stride(), name
    before = loaded["plain"].clone()
    loaded["part of another"].fill_(1)
    assert torch.equal(loaded["plain"], before)  # no two share memory


def test_tensors_on_several_devices_are_kept_apart(tmp_path: Path) -> None:
    """As an averaged net on a GPU has them, whose counter stays on the processor; here the other device is meta."""
    packed = _Packed()
    packed.layout({"counter": torch.tensor(3.0), "weight": torch.empty(4, device="meta")})
    assert [{x.device.type for x in parts} for parts in packed.parts.values()] == [{"cpu"}, {"meta"}]


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_an_earlier_version_is_told_from_a_damaged_one(tmp_path: Path, version: int) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(f"ablate checkpoint {version}\n".encode() + bytes(100))
    with pytest.raises(DamagedError, match="earlier version"):
        load(tmp_path / "checkpoint.pt", key="abc", device="cpu")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_any_damage_is_found(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.pt"
    save(path, state())
    content = path.read_bytes()
    flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
    path.write_bytes({"cut": content[:-1], "flip": flipped, "empty": b"", "foreign": b"x" * 999}[damage])
    with pytest.raises(DamagedError, match="does not match its checksum"):
        load(path, key="abc", device="cpu")


def test_a_checkpoint_of_another_trial_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint.pt", state())
    with pytest.raises(DamagedError, match="belongs to trial abc, not xyz"):
        load(tmp_path / "checkpoint.pt", key="xyz", device="cpu")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code of the file was run",))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "checkpoint.pt", {"key": "abc", "trap": Trap()})
    with pytest.raises(pickle.UnpicklingError):
        load(tmp_path / "checkpoint.pt", key="abc", device="cpu")
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AblateError, match="the checkpoint cannot be written"):
        save(tmp_path / "file" / "checkpoint.pt", state())


def test_a_damaged_checkpoint_is_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"damaged")
    aside = set_aside(path)
    assert not path.exists()
    assert aside.read_bytes() == b"damaged"
