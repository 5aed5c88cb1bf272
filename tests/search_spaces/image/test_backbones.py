"""Pretrained nets: refused with the way out where there are none, otherwise the same features in training and graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.errors import FamilyUnavailable
from assay.families import Split, Target
from assay.model.compose import FoldModel, member_graph, predict_member
from assay.model.graph import Port, encode
from assay.nn.images.weights import installed
from assay.testing.context import ToyContext
from assay.testing.toy_image import SIDE, toy_pictures
from search_spaces.image._backbones import VARIABLE
from search_spaces.image.pretrained_backbone import PretrainedBackboneConfig, family


def test_without_weights_it_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table, y = toy_pictures(20, 2)
    monkeypatch.setattr("assay.nn.images.weights.installed", lambda: False)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert "set ASSAY_WEIGHTS_DIR to a folder" in family.missing()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FamilyUnavailable, match="holds no such files"):
        family.recipe(PretrainedBackboneConfig()).fit(table, y, Target("binary", 2), seed=0)


@pytest.mark.filterwarnings("ignore")
def test_a_local_folder_gives_features_that_the_graph_has_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(tmp_path / "weights")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert family.missing() == ""
    table, y = toy_pictures(60, 3)
    target = Target("multiclass", 3, "accuracy")
    chosen = PretrainedBackboneConfig(size=96)
    preparation, x = family.recipe(chosen).fit(table, y, target, seed=0)
    assert x.shape == (60, 16)
    predictor = family.fit(chosen, Split(x, y, x, y, target), ToyContext())
    folds = [FoldModel(preparation, predictor)]
    graph = member_graph(folds).renamed({"raw:image": "image"})
    import onnxruntime

    model = encode(graph, [Port("image", "uint8", ["N", SIDE, SIDE, 3])], [Port(graph.output, "float32", ["N", 3])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": preparation.pixels.transform(table)})[0]
    np.testing.assert_allclose(found, predict_member(folds, table), atol=1e-5)


@pytest.mark.skipif(not installed(), reason="there are no weights")
@pytest.mark.parametrize("stages", ["all", "middle"])
def test_the_weights_of_the_package_give_features_that_the_graph_has_too(
    monkeypatch: pytest.MonkeyPatch, stages: str
) -> None:
    import onnxruntime

    monkeypatch.delenv(VARIABLE, raising=False)
    table, y = toy_pictures(40, 3)
    target = Target("multiclass", 3, "accuracy")
    chosen = PretrainedBackboneConfig(size=96, stages=stages)
    preparation, x = family.recipe(chosen).fit(table, y, target, seed=0)
    assert x.shape == (40, {"all": 2088, "middle": 488}[stages])
    predictor = family.fit(chosen, Split(x, y, x, y, target), ToyContext())
    folds = [FoldModel(preparation, predictor)]
    graph = member_graph(folds).renamed({"raw:image": "image"})
    model = encode(graph, [Port("image", "uint8", ["N", SIDE, SIDE, 3])], [Port(graph.output, "float32", ["N", 3])])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": preparation.pixels.transform(table)})[0]
    np.testing.assert_allclose(found, predict_member(folds, table), atol=1e-4)
    assert (found.argmax(1) == y).mean() > 0.9
