"""Checkpoints come back as they were written."""

from pathlib import Path

import numpy as np
import pytest

from assay.data.prepare import Recipe
from assay.errors import DataError
from assay.model import checkpoint
from assay.model.compose import ensemble_graph, member_graph, model_bytes
from tests.model.linear import CLASSES, TYPES, classifiers, people, terciles


def test_a_stored_member_gives_the_same_model_byte_for_byte(tmp_path: Path) -> None:
    table, signal = people(120)
    graph = member_graph(classifiers(table, terciles(signal), Recipe("quantile", True, "onehot")))
    arrays = {"oof": np.random.default_rng(0).random((120, 3)), "gate/expected": np.zeros((0, 3), np.float32)}
    checkpoint.save(tmp_path / "t.safetensors", graph, arrays, {"family": "linear", "score": 0.5, "gap": float("nan")})
    loaded = checkpoint.load(tmp_path / "t.safetensors")
    assert loaded.names == ("gate/expected", "oof") and loaded.info["family"] == "linear"
    np.testing.assert_array_equal(loaded.array("oof"), arrays["oof"])
    assert loaded.arrays["gate/expected"].shape == (0, 3)
    before, after = (model_bytes(ensemble_graph([g], [1], CLASSES), TYPES)[0] for g in (graph, loaded.graph))
    assert before == after
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.safetensors"]


def test_an_array_that_is_not_there_is_named(tmp_path: Path) -> None:
    table, signal = people(60)
    graph = member_graph(classifiers(table, terciles(signal), Recipe("standard", True), folds=1))
    checkpoint.save(tmp_path / "t", graph, {"oof": np.zeros(3)}, {})
    with pytest.raises(KeyError, match="nothing"):
        checkpoint.load(tmp_path / "t").array("nothing")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "x")


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, tmp_path / "x")
    with pytest.raises(DataError, match="not a checkpoint of this version"):
        checkpoint.load(tmp_path / "x")


def test_many_nodes_cost_as_much_to_pack_as_many_bytes(tmp_path: Path) -> None:
    table, signal = people(60)
    folds = {n: member_graph(classifiers(table, terciles(signal), Recipe("standard", True), folds=n)) for n in (1, 3)}
    found = {}
    for n, graph in folds.items():
        checkpoint.save(tmp_path / str(n), graph, {}, {})
        found[n] = checkpoint.packing_bytes(tmp_path / str(n), graph) - (tmp_path / str(n)).stat().st_size
    assert found[1] == checkpoint.BYTES_PER_NODE * len(folds[1].nodes) and found[3] > found[1]
