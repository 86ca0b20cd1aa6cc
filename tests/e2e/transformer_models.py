"""Small transformers with random weights, built by the `transformers` package and exported by `torch`.

Each builder returns the module, its inputs by name, and the fields of its output to export.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

Arrays = dict[str, np.ndarray]
Built = tuple[torch.nn.Module, dict[str, torch.Tensor], list[str]]

OPSET = 20
TEXT = {
    "vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
}
SIGHT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SEQ2SEQ = {
    "vocab_size": 100, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128,
}


def _tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(2, 100, (batch, length))


def _bert() -> Built:
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 10:] = 0
    model = hf.BertModel(hf.BertConfig(**TEXT, max_position_embeddings=32))
    return model, {"input_ids": _tokens(2, 16), "attention_mask": mask}, ["last_hidden_state", "pooler_output"]


def _roberta() -> Built:
    model = hf.RobertaModel(hf.RobertaConfig(**TEXT, max_position_embeddings=40))
    return model, {"input_ids": _tokens(2, 12)}, ["last_hidden_state"]


def _vit() -> Built:
    model = hf.ViTForImageClassification(hf.ViTConfig(**SIGHT, image_size=32, patch_size=8, num_labels=10))
    return model, {"pixel_values": torch.randn(1, 3, 32, 32)}, ["logits"]


def _gpt2() -> Built:
    config = hf.GPT2Config(vocab_size=100, n_positions=32, n_embd=64, n_layer=2, n_head=4, use_cache=False,
                           bos_token_id=0, eos_token_id=1)
    return hf.GPT2LMHeadModel(config), {"input_ids": _tokens(1, 12)}, ["logits"]


def _llama() -> Built:
    config = hf.LlamaConfig(**TEXT, num_key_value_heads=2, max_position_embeddings=64, use_cache=False)
    return hf.LlamaForCausalLM(config), {"input_ids": _tokens(2, 12)}, ["logits"]


def _detr() -> Built:
    backbone = hf.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1],
                               layer_type="basic", out_features=["stage4"])
    sizes = {k: v for k, v in SEQ2SEQ.items() if k != "vocab_size"}
    config = hf.DetrConfig(use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
                           backbone_config=backbone, num_queries=10, num_labels=5, **sizes)
    return hf.DetrForObjectDetection(config), {"pixel_values": torch.randn(1, 3, 64, 64)}, ["logits", "pred_boxes"]


def _yolos() -> Built:
    config = hf.YolosConfig(**SIGHT, image_size=[64, 64], patch_size=16, num_detection_tokens=8, num_labels=4)
    return hf.YolosForObjectDetection(config), {"pixel_values": torch.randn(1, 3, 64, 64)}, ["logits", "pred_boxes"]


def _segformer() -> Built:
    config = hf.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 40, 64], num_attention_heads=[1, 2, 4, 8],
                                sr_ratios=[8, 4, 2, 1], decoder_hidden_size=64, num_labels=6)
    return hf.SegformerForSemanticSegmentation(config), {"pixel_values": torch.randn(1, 3, 64, 64)}, ["logits"]


def _whisper_encoder() -> Built:
    config = hf.WhisperConfig(**SEQ2SEQ, num_mel_bins=40, max_source_positions=50, pad_token_id=0)
    return hf.WhisperModel(config).encoder, {"input_features": torch.randn(1, 40, 100)}, ["last_hidden_state"]


def _bart() -> Built:
    config = hf.BartConfig(**SEQ2SEQ, max_position_embeddings=32, use_cache=False)
    inputs = {"input_ids": _tokens(2, 12), "decoder_input_ids": _tokens(2, 6)}
    return hf.BartModel(config), inputs, ["last_hidden_state"]


def _wav2vec2() -> Built:
    sizes = {**TEXT, "vocab_size": 32}
    config = hf.Wav2Vec2Config(**sizes, conv_dim=[32] * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
    return hf.Wav2Vec2Model(config), {"input_values": torch.randn(1, 2000)}, ["last_hidden_state"]


MODELS: dict[str, Callable[[], Built]] = {
    "bart": _bart, "bert": _bert, "detr": _detr, "gpt2": _gpt2, "llama": _llama, "roberta": _roberta,
    "segformer": _segformer, "vit": _vit, "wav2vec2": _wav2vec2, "whisper_encoder": _whisper_encoder, "yolos": _yolos,
}


class _Fields(torch.nn.Module):
    """A model with positional tensors in and a tuple of tensors out, which is what an export needs."""

    def __init__(self, model: torch.nn.Module, names: list[str], fields: list[str]) -> None:
        super().__init__()
        self.model, self.names, self.fields = model, names, fields

    def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: Any = self.model(**dict(zip(self.names, arguments, strict=True)))
        return tuple(getattr(found, field) for field in self.fields)


def export(name: str, path: Path) -> tuple[Arrays, Arrays]:
    """Write a model to `path`; returns its inputs and torch's own outputs."""
    torch.manual_seed(0)
    model, inputs, fields = MODELS[name]()
    module = _Fields(model, list(inputs), fields).eval()
    arguments = tuple(inputs.values())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = module(*arguments)
        torch.onnx.export(module, arguments, path, input_names=list(inputs), output_names=fields, dynamo=True,
                          opset_version=OPSET, verbose=False, external_data=False)
    return ({k: v.numpy() for k, v in inputs.items()},
            {k: v.numpy() for k, v in zip(fields, expected, strict=True)})
