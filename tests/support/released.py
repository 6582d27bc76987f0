"""Files as the authors of UniAD, HVQ-Trans and RLR publish them: random tensors under the published names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def uniad_shapes(grid: int = 14, channels: int = 272) -> Shapes:
    """Names and shapes of UniAD's reconstruction part (four layers each, width 256)."""
    shapes: Shapes = {
        "pos_embed.row_embed.weight": (grid, 128),
        "pos_embed.col_embed.weight": (grid, 128),
        "transformer.decoder.norm.weight": (256,),
        "transformer.decoder.norm.bias": (256,),
        "input_proj.weight": (256, channels),
        "input_proj.bias": (256,),
        "output_proj.weight": (channels, 256),
        "output_proj.bias": (channels,),
    }
    for i in range(4):
        shapes |= layer_shapes(f"transformer.encoder.layers.{i}.", 256, ("self_attn",), 2)
        shapes |= layer_shapes(f"transformer.decoder.layers.{i}.", 256, ("self_attn", "multihead_attn"), 3)
        shapes[f"transformer.decoder.layers.{i}.learned_embed.weight"] = (grid * grid, 256)
    return shapes


def hvq_trans_shapes(categories: int = 15) -> Shapes:
    """Names and shapes of HVQ-Trans (OT variant)."""
    shapes: Shapes = {
        "quantize_conv_t.weight": (256, 272, 1, 1),
        "quantize_conv_t.bias": (256,),
        "pos_embed.row_embed.weight": (14, 128),
        "pos_embed.col_embed.weight": (14, 128),
        "decoder.norm.weight": (512,),
        "decoder.norm.bias": (512,),
        "input_proj.weight": (256, 272),
        "input_proj.bias": (256,),
    }
    for c in range(categories):
        for level in range(1, 6):
            book = f"quantize_list_{level}.{c}."
            width = 256 if level == 5 else 512
            shapes |= {f"{book}embed": (width, 512), f"{book}cluster_size": (512,), f"{book}embed_avg": (width, 512)}
        shapes |= {f"output_proj_list.{c}.weight": (272, 512), f"output_proj_list.{c}.bias": (272,)}
    for i in range(4):
        shapes |= layer_shapes(f"encoder.layers.{i}.", 256, ("self_attn",), 2)
        shapes |= layer_shapes(f"decoder.layers.{i}.", 512, ("self_attn", "multihead_attn"), 3)
    return shapes


def rlr_shapes(channels: int, tokens: int, width: int) -> Shapes:
    """Names and shapes of one level of RLR (four layers)."""
    shapes: Shapes = {
        "ref_mca": (1, tokens, channels),
        "embedding.project_embedding.project.weight": (width, channels, 1),
        "embedding.project_embedding.project.bias": (width,),
        "ref_mca_embedding.project_embedding.project.weight": (width, channels, 1),
        "ref_mca_embedding.project_embedding.project.bias": (width,),
        "encoder.norm.weight": (width,),
        "encoder.norm.bias": (width,),
        "projection.weight": (channels, width),
        "projection.bias": (channels,),
    }
    for i in range(4):
        layer = f"encoder.encode_layers.{i}."
        shapes |= attention_shapes(f"{layer}mca.", width) | attention_shapes(f"{layer}nsa.", width)
        shapes |= {f"{layer}ffn.fc1.weight": (4 * width, width), f"{layer}ffn.fc1.bias": (4 * width,)}
        shapes |= {f"{layer}ffn.fc2.weight": (width, 4 * width), f"{layer}ffn.fc2.bias": (width,)}
        shapes |= {f"{layer}norm{n}.{part}": (width,) for n in (1, 2) for part in ("weight", "bias")}
    return shapes


def layer_shapes(layer: str, width: int, attentions: tuple[str, ...], norms: int) -> Shapes:
    """A transformer layer of UniAD or HVQ-Trans: feed-forward 1024."""
    shapes: Shapes = {f"{layer}linear1.weight": (1024, width), f"{layer}linear1.bias": (1024,)}
    shapes |= {f"{layer}linear2.weight": (width, 1024), f"{layer}linear2.bias": (width,)}
    for name in attentions:
        shapes |= attention_shapes(f"{layer}{name}.", width)
    return shapes | {f"{layer}norm{n}.{part}": (width,) for n in range(1, norms + 1) for part in ("weight", "bias")}


def attention_shapes(prefix: str, width: int) -> Shapes:
    """Names and shapes of torch's multi-head attention."""
    return {
        f"{prefix}in_proj_weight": (3 * width, width),
        f"{prefix}in_proj_bias": (3 * width,),
        f"{prefix}out_proj.weight": (width, width),
        f"{prefix}out_proj.bias": (width,),
    }


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Small random tensors; sizes of clusters are positive."""
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.05 * torch.randn(shape, generator=generator).abs() for name, shape in shapes.items()}


def write_uniad(file: Path, tensors: Mapping[str, Tensor] | None = None, prefix: str = "module.", **more: Any) -> Path:
    """Write a file of UniAD: its own tensors, and some of the frozen backbone."""
    state = {f"{prefix}reconstruction.{k}": v for k, v in (tensors or random_tensors(uniad_shapes())).items()}
    state[f"{prefix}backbone._conv_stem.weight"] = torch.zeros(48, 3, 3, 3)
    state[f"{prefix}backbone._bn0.num_batches_tracked"] = torch.tensor(3)
    torch.save({"epoch": 1000, "arch": "UniAD_", "state_dict": state, **more}, file)
    return file


def write_hvq_trans(file: Path, categories: int = 15, tensors: Mapping[str, Tensor] | None = None) -> Path:
    """Write a file of HVQ-Trans, with a tensor of the backbone, which its training changed."""
    tensors = tensors or random_tensors(hvq_trans_shapes(categories))
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    state["module.enc._conv_stem.weight"] = torch.zeros(48, 3, 3, 3)
    torch.save({"epoch": 951, "state_dict": state}, file)
    return file


def write_rlr(file: Path, channels: tuple[int, int] = (72, 200), image_size: int = 256) -> Path:
    """Write a file of RLR: levels at strides 8 and 16, widths 256 and 512."""
    levels = [
        random_tensors(rlr_shapes(count, (image_size // stride) ** 2, 32 * stride), stride)
        for count, stride in zip(channels, (8, 16), strict=True)
    ]
    torch.save({"state_dict": levels}, file)
    return file
