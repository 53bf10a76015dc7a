"""The layouts in which foundation models are published, each told from timm's names."""

import re

import torch


def as_timm(state):
    return {**state, "head.weight": torch.ones(2, 2)}


def of_transformers(state):
    """Version 4's names of ViT and DINOv2."""
    told = {"mask_token": torch.ones(1, 1, 48), "pooler.dense.weight": torch.ones(1)}
    if "reg_token" in state:
        state = with_a_place_for_the_class(state)
        told["embeddings.register_tokens"] = state.pop("reg_token")
    vit = not any("ls1" in k for k in state)
    packed = state["blocks.0.mlp.fc1.weight"].shape[0] != state["blocks.0.mlp.fc2.weight"].shape[1]
    inner = ("intermediate.dense", "output.dense") if vit else ("mlp.fc1", "mlp.fc2")
    inner = ("mlp.weights_in", "mlp.weights_out") if packed else inner
    for key, value in state.items():
        key = re.sub(r"^blocks", "encoder.layer", key)
        key = key.replace("pos_embed", "embeddings.position_embeddings")
        key = key.replace("cls_token", "embeddings.cls_token")
        key = key.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        key = re.sub(r"^norm\.", "layernorm.", key)
        key = re.sub(r"ls(\d)\.gamma", r"layer_scale\1.lambda1", key)
        key = key.replace("attn.proj", "attention.output.dense")
        key = key.replace("mlp.fc1", inner[0]).replace("mlp.fc2", inner[1])
        if vit:
            key = key.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after")
        if "attn.qkv" in key:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                told[key.replace("attn.qkv", f"attention.attention.{part}")] = piece
        else:
            told[key] = value
    return told


def of_dinov2(state):
    if "reg_token" in state:
        state = with_a_place_for_the_class(state)
        state["register_tokens"] = state.pop("reg_token")
    if state["blocks.0.mlp.fc1.weight"].shape[0] != state["blocks.0.mlp.fc2.weight"].shape[1]:
        state = {k.replace("fc1", "w12").replace("fc2", "w3"): v for k, v in state.items()}
    return {**state, "mask_token": torch.ones(1, 48)}


def with_a_place_for_the_class(state):
    first = torch.randn(1, 1, 48)
    positions = torch.cat([first, state["pos_embed"]], 1)
    return {**state, "cls_token": state["cls_token"] - first, "pos_embed": positions}


def of_a_teacher(state):
    named = {f"backbone.{re.sub('^blocks', 'blocks.0', k)}": v for k, v in of_dinov2(state).items()}
    return {"teacher": {**named, "dino_head.mlp.0.weight": torch.ones(2)}, "iteration": 3}


def below(prefix, *others):
    def published(state):
        return {f"{prefix}{k}": v for k, v in state.items()} | dict.fromkeys(others, torch.ones(2))

    return published


def of_keep(state):
    named = {re.sub(r"(ls\d)\.gamma", r"\1.weight", k): v for k, v in state.items()}
    return below("visual.", "logit_scale", "text.encoder.weight", "visual_head.weight")(named)


def of_musk(state):
    """The names of torchscale, with a branch for text beside each layer."""
    rules = (
        (r"^cls_token", "vision_embed.cls_token"),
        (r"^patch_embed", "vision_embed"),
        (r"^pos_embed", "encoder.embed_positions.A.weight"),
        (r"^norm\.", "encoder.layer_norm.A."),
        (r"^blocks\.(\d+)\.norm1\.", r"encoder.layers.\1.self_attn_layer_norm.A."),
        (r"^blocks\.(\d+)\.norm2\.", r"encoder.layers.\1.final_layer_norm.A."),
        (r"^blocks\.(\d+)\.attn\.norm\.", r"encoder.layers.\1.self_attn.inner_attn_ln.A."),
        (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.out_proj.A."),
        (r"^blocks\.(\d+)\.mlp\.norm\.", r"encoder.layers.\1.ffn.A.ffn_layernorm."),
        (r"^blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.ffn.A."),
        (r"^blocks\.(\d+)\.attn\.qkv", r"encoder.layers.\1.self_attn.qkv"),
    )
    told = {"beit3.text_embed.weight": torch.ones(2), "vision_head.weight": torch.ones(2)}
    for key, value in state.items():
        for pattern, name in rules:
            key = re.sub(pattern, name, key)
        if key.endswith("embed_positions.A.weight"):
            value = torch.cat([torch.zeros(2, 48), value[0]])
        if ".qkv." in key:
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                told[f"beit3.{key.replace('qkv.', f'{part}_proj.A.')}"] = piece
        else:
            told[f"beit3.{key}"] = value
            told[f"beit3.{key.replace('.A.', '.B.')}"] = value
    return told


def of_dinov3(state):
    told = {"mask_token": torch.ones(1, 48), "rope_embed.periods": torch.ones(2)}
    for key, value in state.items():
        key = key.replace("reg_token", "storage_tokens").replace("fc1_g", "w1")
        key = key.replace("fc1_x", "w2").replace("fc2", "w3")
        told[re.sub(r"gamma_(\d)", r"ls\1.gamma", key)] = value
    return {**told, "blocks.0.attn.qkv.bias": torch.zeros(3 * 48)}


PUBLISHED = {
    "timm": as_timm,
    "hf_vit": of_transformers,
    "hf_dinov2": of_transformers,
    "hf_dinov2_reg": of_transformers,
    "dinov2_raw": of_dinov2,
    "dino_teacher": of_a_teacher,
    "conch": below("module.visual.trunk.", "text.x", "visual.attn_pool_contrast.q", "logit_scale"),
    "conch_v1_5": below("trunk.", "attn_pool_contrast.query", "ln_contrast.weight"),
    "keep": of_keep,
    "musk": of_musk,
    "dinov3_eva": of_dinov3,
}
