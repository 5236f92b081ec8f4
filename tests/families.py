"""Families of networks as people use them today, each small and with random weights."""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from networks import images
from skorch import NeuralNetClassifier
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig

N_SAMPLES, N_CLASSES, N_TOKENS = 36, 4, 50

# Networks of torchvision


def resnet():
    return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=N_CLASSES)


def mobilenet():
    block = partial(InvertedResidualConfig, dilation=1, width_mult=1.0)
    blocks = [
        block(16, 3, 16, 16, True, "RE", 2),
        block(16, 3, 32, 24, False, "HS", 2),
        block(24, 5, 48, 24, True, "HS", 1),
    ]
    return models.MobileNetV3(blocks, 64, num_classes=N_CLASSES)


def efficientnet():
    blocks = [
        MBConvConfig(1, 3, 1, 8, 8, 2, 1, 1),
        MBConvConfig(4, 3, 2, 8, 16, 2, 1, 1),
    ]
    return models.EfficientNet(blocks, 0.0, num_classes=N_CLASSES)


def convnext():
    blocks = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)]
    return models.ConvNeXt(blocks, num_classes=N_CLASSES)


def swin():
    return models.SwinTransformer(
        [4, 4], 8, [2, 2], [2, 4], [2, 2], num_classes=N_CLASSES
    )


def vit():
    return models.VisionTransformer(16, 4, 2, 2, 12, 24, num_classes=N_CLASSES)


def densenet():
    return models.DenseNet(4, (2, 2), 8, num_classes=N_CLASSES)


# Networks of timm and of Hugging Face's transformers


def of_timm(name, **options):
    timm = pytest.importorskip("timm")
    return timm.create_model(name, pretrained=False, num_classes=N_CLASSES, **options)


def timm_vit():
    return of_timm(
        "vit_tiny_patch16_224", img_size=32, embed_dim=12, depth=2, num_heads=2
    )


def timm_swin():
    return of_timm(
        "swin_tiny_patch4_window7_224",
        img_size=32,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
    )


def timm_mixer():
    timm = pytest.importorskip("timm")
    options = {"patch_size": 8, "num_blocks": 2, "embed_dim": 8}
    return timm.models.MlpMixer(N_CLASSES, img_size=32, **options)


SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def of_transformers(kind, task, **options):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(num_labels=N_CLASSES, **options)
    return getattr(transformers, f"{kind}For{task}Classification")(config)


hf_image = partial(of_transformers, task="Image")
hf_text = partial(of_transformers, task="Sequence", vocab_size=N_TOKENS)


def hf_vit():
    return hf_image("ViT", image_size=16, patch_size=4, **SIZES)


def hf_convnext():
    sizes = {"hidden_sizes": [8, 12], "depths": [1, 2], "num_stages": 2}
    return hf_image("ConvNext", **sizes)


def hf_swin():
    sizes = {"embed_dim": 8, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}
    return hf_image("Swin", image_size=32, patch_size=4, **sizes)


def bert():
    return hf_text("Bert", **SIZES)


def distilbert():
    return hf_text("DistilBert", dim=8, n_layers=2, n_heads=2, hidden_dim=16)


def albert():
    return hf_text("Albert", embedding_size=4, **SIZES)


def gpt2():
    ends = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2}
    return hf_text("GPT2", n_embd=8, n_layer=2, n_head=2, **ends)


def lora():
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=["query", "value"]
    )
    return peft.get_peft_model(bert(), settings)


# Networks of torch's own layers


class TextLSTM(nn.Module):
    """The mean state of an LSTM over embedded tokens."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N_TOKENS, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, N_CLASSES)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x))[0].mean(dim=1))


class SeriesGRU(nn.Module):
    """The last state of a GRU over a series."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)
        self.head = nn.Linear(8, N_CLASSES)

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])


class MaskedEncoder(nn.Module):
    """torch's transformer encoder with a padding mask."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(N_TOKENS, 8, padding_idx=1)
        self.places = nn.Parameter(torch.randn(8, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, N_CLASSES)

    def forward(self, input_ids, attention_mask):
        x = self.embedding(input_ids) + self.places[: input_ids.shape[1]]
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        mask = attention_mask[..., None]
        return self.head((x * mask).sum(dim=1) / mask.sum(dim=1))


def mlp():
    first = [nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU()]
    return nn.Sequential(*first, nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, N_CLASSES))


# Ways to train, compile, export and quantise one of them


def trained_by_skorch():
    net = NeuralNetClassifier(mlp, max_epochs=1, train_split=None, verbose=0)
    return net.fit(ROWS, LABELS)


def trained_by_lightning():
    from lightning_network import trained

    return trained(mlp(), ROWS, LABELS)


def exported(net):
    options = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
    return torch.export.export(net, (torch.from_numpy(ROWS),), **options).module()


def quantised(net):
    return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def quantised_by_torchao(net):
    torchao = pytest.importorskip("torchao.quantization")
    torchao.quantize_(net, torchao.Int8WeightOnlyConfig())
    return net


def dequantised(net):
    net = copy.deepcopy(net)
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.weight = nn.Parameter(layer.weight.dequantize())
    return net


# Inputs


def tokens(n_samples=N_SAMPLES, length=8):
    """Draw token ids and their mask, as a tokenizer returns them."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, length + 1, size=n_samples)
    lengths[:3] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    ids = rng.integers(5, N_TOKENS, size=(n_samples, length))
    return {"input_ids": np.where(mask, ids, 1), "attention_mask": mask}


ROWS = images(N_SAMPLES, (5,)) * 4 - 2
LABELS = np.arange(N_SAMPLES) % N_CLASSES
SERIES = images(N_SAMPLES, (6, 3)) * 4 - 2
TEXTS = tokens()
SMALL, LARGE = images(N_SAMPLES, (3, 16, 16)), images(N_SAMPLES, (3, 32, 32))


@dataclass(frozen=True)
class Family:
    """A network and its inputs, and what is expected not to work.

    ``wrap`` makes what is given to skgrad of the network that ``make`` makes, and
    ``floats`` the module of the same weights that autograd can differentiate.
    ``fails`` holds a pattern of the message by the name of the cell, and so does
    ``warns``. ``slow`` families take time, or are much like another one.
    """

    make: Callable[[], Any]
    X: Any
    wrap: Callable[[Any], Any] = lambda net: net
    floats: Callable[[Any, Any], nn.Module] = lambda net, given: net
    fails: Mapping[str, str] = field(default_factory=dict)
    warns: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False

    def networks(self):
        """Return what is given to skgrad, and a float64 copy for comparison."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other libraries, at their own doing
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                net = self.make()
            filled(getattr(net, "module_", net).eval())
            given = self.wrap(copy.deepcopy(net))
            floats = copy.deepcopy(self.floats(net, given)).double()
        return given, floats.requires_grad_(True)


def filled(net):
    """Draw weights that are 0 or tiny at first, so that all have a gradient."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.abs().max() < 1e-3:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5)
    return net


NO_PICKLE = {
    "pickled": r"model cannot be pickled.*torch\.jit, torch\.export or torchao"
}
HIDDEN = dict.fromkeys(
    ("layers", "recommended", "uniform"),
    r"model was made by torch\.(jit|export), which hides its layers",
)
NO_GRADIENT = dict.fromkeys(
    ("norms", "cosines", "geometric", "confounding"),
    r"model must let autograd reach its (parameters|input).*of quantised layers",
)
BY_BATCH = dict.fromkeys(
    ("layers", "recommended", "uniform"),
    r"model has layers that are quantised dynamically",
)
NO_COLUMN = dict.fromkeys(
    ("norms", "confounding"),
    r"model has quantised layers.*no gradient and no column",
)

FAMILIES = {
    "torchvision: ResNet": Family(resnet, LARGE, slow=True),
    "torchvision: MobileNetV3": Family(mobilenet, LARGE),
    "torchvision: EfficientNet": Family(efficientnet, SMALL),
    "torchvision: ConvNeXt": Family(convnext, LARGE),
    "torchvision: Swin": Family(swin, LARGE, slow=True),
    "torchvision: ViT": Family(vit, SMALL),
    "torchvision: DenseNet": Family(densenet, LARGE),
    "timm: ViT": Family(timm_vit, LARGE),
    "timm: ConvNeXt": Family(
        partial(of_timm, "convnext_atto", depths=(1,) * 4, dims=(8, 8, 16, 16)), LARGE
    ),
    "timm: Swin": Family(timm_swin, LARGE),
    "timm: MobileNetV3": Family(
        partial(of_timm, "mobilenetv3_small_050"), LARGE, slow=True
    ),
    "timm: MLP-Mixer": Family(timm_mixer, LARGE),
    "transformers: ViT": Family(hf_vit, {"pixel_values": SMALL}),
    "transformers: Swin": Family(hf_swin, {"pixel_values": LARGE}, slow=True),
    "transformers: ConvNeXt": Family(hf_convnext, {"pixel_values": LARGE}),
    "transformers: BERT": Family(bert, TEXTS),
    "transformers: DistilBERT": Family(distilbert, TEXTS, slow=True),
    "transformers: RoBERTa": Family(
        partial(hf_text, "Roberta", **SIZES), TEXTS, slow=True
    ),
    "transformers: DeBERTa v3": Family(
        partial(
            hf_text,
            "DebertaV2",
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            **SIZES,
        ),
        TEXTS,
        slow=True,
    ),
    "transformers: ALBERT": Family(albert, TEXTS),
    "transformers: GPT-2": Family(gpt2, TEXTS),
    "transformers: Llama": Family(
        partial(hf_text, "Llama", pad_token_id=1, num_key_value_heads=1, **SIZES), TEXTS
    ),
    "peft: LoRA on BERT": Family(lora, TEXTS),
    "torch: LSTM over tokens": Family(TextLSTM, TEXTS["input_ids"]),
    "torch: GRU over series": Family(SeriesGRU, SERIES),
    "torch: TransformerEncoder, mask": Family(MaskedEncoder, TEXTS),
    "torch: MLP over rows": Family(mlp, ROWS),
    "skorch: NeuralNetClassifier": Family(
        trained_by_skorch, ROWS, floats=lambda net, given: net.module_
    ),
    "Lightning: LightningModule": Family(trained_by_lightning, ROWS),
    "torch.compile": Family(mlp, ROWS, partial(torch.compile, backend="eager")),
    "torch.jit.script": Family(
        mlp, ROWS, torch.jit.script, warns=HIDDEN, fails=NO_PICKLE
    ),
    "torch.jit.trace": Family(
        mlp,
        ROWS,
        lambda net: torch.jit.trace(net, torch.from_numpy(ROWS)),
        warns=HIDDEN,
        fails=NO_PICKLE,
    ),
    "torch.export": Family(mlp, ROWS, exported, warns=HIDDEN, fails=NO_PICKLE),
    "torch.ao: dynamic int8": Family(
        mlp, ROWS, quantised, warns=BY_BATCH, fails=NO_GRADIENT
    ),
    "torchao: int8 weights": Family(
        mlp,
        ROWS,
        quantised_by_torchao,
        lambda net, given: dequantised(given),
        warns=NO_COLUMN,
        fails=NO_PICKLE,
    ),
}
