"""The example architectures in plain PyTorch: ResNet-50, a BERT encoder, MLP-Mixer; with random weights.

Owns the layers and nothing else: `make_models` seeds, calibrates and saves. Imported by functions only, since it
imports torch.
"""
# mypy: disallow-subclassing-any=False

import torch  # noqa: TID253 - this module is imported inside functions only
from torch import Tensor, nn  # noqa: TID253 - as above


class Bottleneck(nn.Module):
    """The 1x1, 3x3, 1x1 residual block of ResNet-50; the stride is on the 3x3 (the "v1.5" that is in use)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * 4
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet-50 (He et al., 2015): image float32 [N, 3, H, W] to logits [N, 1000]; any H and W from 32 up."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        blocks: list[Bottleneck] = []
        channels = 64
        for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for position in range(depth):
                blocks.append(Bottleneck(channels, width, stride if position == 0 else 1))
                channels = width * 4
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, 1000)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(image)).mean((2, 3)))


class EncoderLayer(nn.Module):
    """One post-norm transformer layer of BERT."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden)
        self.up = nn.Linear(hidden, hidden * 4)
        self.down = nn.Linear(hidden * 4, hidden)
        self.norm2 = nn.LayerNorm(hidden)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, length, hidden = x.shape
        split = (batch, length, self.heads, hidden // self.heads)
        query, key, value = (part(x).view(split).transpose(1, 2) for part in (self.query, self.key, self.value))
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = self.norm1(x + self.out(attended.transpose(1, 2).reshape(batch, length, hidden)))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))


class BertSmall(nn.Module):
    """A small BERT (Devlin et al., 2018): 4 layers, hidden size 256, 4 heads, a vocabulary of 8192.

    input_ids and attention_mask int64 [N, L], L up to 512, to the last hidden state [N, L, 256] and the pooled
    first token [N, 256].
    """

    def __init__(self, *, vocabulary: int = 8192, hidden: int = 256, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Embedding(512, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(EncoderLayer(hidden, heads) for _ in range(layers))
        self.pooler = nn.Linear(hidden, hidden)
        self.register_buffer("indices", torch.arange(512), persistent=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.words(input_ids) + self.positions(self.indices[: input_ids.shape[1]]))
        # The lowest finite number, not -inf: a row that is masked as a whole then averages instead of giving NaN.
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, bias)
        return x, torch.tanh(self.pooler(x[:, 0]))


class MixerBlock(nn.Module):
    """One block of MLP-Mixer: an MLP across patches, then one across channels."""

    def __init__(self, patches: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden)
        self.tokens = nn.Sequential(nn.Linear(patches, hidden // 2), nn.GELU(), nn.Linear(hidden // 2, patches))
        self.norm2 = nn.LayerNorm(hidden)
        self.channels = nn.Sequential(nn.Linear(hidden, hidden * 4), nn.GELU(), nn.Linear(hidden * 4, hidden))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class MlpMixer(nn.Module):
    """MLP-Mixer (Tolstikhin et al., 2021), 8 blocks of 256: image float32 [N, 3, 128, 128] to logits [N, 1000]."""

    def __init__(self, *, patch: int = 16, hidden: int = 256, blocks: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, hidden, patch, patch)
        self.blocks = nn.Sequential(*(MixerBlock((128 // patch) ** 2, hidden) for _ in range(blocks)))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, 1000)

    def forward(self, image: Tensor) -> Tensor:
        x = self.blocks(self.stem(image).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(1))
