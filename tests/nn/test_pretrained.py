"""Pretrained encoders read from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from assay.nn.pretrained import EncoderLayer, load_encoder
from assay.nn.text_encoder import FAR
from assay.nn.weights import FILES, VARIABLE, Weights, find_weights, why_not
from assay.testing.toy_text import tiny_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes((tiny_encoder() / name).read_bytes())
    return tmp_path


def test_a_layer_is_that_of_torch(folder: Path) -> None:
    encoder = load_encoder(Weights(folder))
    ours = encoder.layers[0]
    assert isinstance(ours, EncoderLayer)
    theirs = torch.nn.TransformerEncoderLayer(
        encoder.d, ours.attention.heads, ours.up.out_features, 0.0, "gelu", 1e-12, batch_first=True
    ).eval()
    parts = (ours.attention.query, ours.attention.key, ours.attention.value)
    pairs = {"self_attn.out_proj": ours.attention.out, "linear1": ours.up, "linear2": ours.down}
    pairs |= {"norm1": ours.norm1, "norm2": ours.norm2}
    state = {f"{name}.{what}": getattr(layer, what) for name, layer in pairs.items() for what in ("weight", "bias")}
    state |= {f"self_attn.in_proj_{what}": torch.cat([getattr(p, what) for p in parts]) for what in ("weight", "bias")}
    theirs.load_state_dict(state)
    h, away = torch.randn(3, 5, encoder.d), torch.tensor([[0, 0, 0, 0, 1]] * 3, dtype=torch.bool)
    with torch.no_grad():
        expected = theirs(h, src_key_padding_mask=away)[:, :4]
        found = ours(h, away.float()[:, None, None] * FAR)[:, :4]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.slow
def test_it_computes_what_the_transformers_library_computes(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertModel(transformers.BertConfig(**Weights(folder).config), add_pooling_layer=False).eval()
    tensors = {name: torch.from_numpy(a).to(torch.float16).float() for name, a in Weights(folder).tensors().items()}
    theirs.load_state_dict(tensors, strict=False)
    ids = torch.tensor([[5, 9, 3, 7], [4, 2, 0, 0]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
        found = load_encoder(Weights(folder))(torch.where(ids > 0, ids + 1, 0))
    real = (ids > 0).numpy()
    np.testing.assert_allclose(found.numpy()[real], expected.numpy()[real], atol=2e-5)


def test_the_folder_is_named_by_the_environment_or_lies_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(folder))
    found = find_weights()
    assert found is not None and found.folder == folder and why_not() == ""
    monkeypatch.setenv(VARIABLE, str(folder.parent))
    nested = find_weights()
    assert nested is not None and nested.folder.parent == folder.parent


def test_what_cannot_be_used_is_told_with_the_way_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(folder / "nowhere"))
    assert find_weights() is None and VARIABLE in why_not()
    monkeypatch.setenv(VARIABLE, str(folder))
    config = Weights(folder).config
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    assert "'gpt2'" in why_not() and "bert" in why_not()


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    config = Weights(folder).config
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    with pytest.raises(ValueError, match="do not fit"):
        load_encoder(Weights(folder))
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "silu"}))
    with pytest.raises(ValueError, match="not read here"):
        load_encoder(Weights(folder))
