# ruff: noqa
"""An acoustic model in the manner of torchaudio's Conformer: log-mel frames to characters."""

import torch
from torch import Tensor, nn


class ConvolutionModule(nn.Module):
    def __init__(self, dim: int, kernel: int = 7) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(dim)
        self.sequential = nn.Sequential(
            nn.Conv1d(dim, 2 * dim, 1),
            nn.GLU(dim=1),
            nn.Conv1d(dim, dim, kernel, padding=(kernel - 1) // 2, groups=dim),
            nn.BatchNorm1d(dim),
            nn.SiLU(),
            nn.Conv1d(dim, dim, 1),
            nn.Dropout(0.1),
        )

    def forward(self, input: Tensor) -> Tensor:
        x = self.layer_norm(input)
        x = x.transpose(1, 2)
        x = self.sequential(x)
        return x.transpose(1, 2)


class FeedForwardModule(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.sequential = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, dim),
            nn.Dropout(0.1),
        )

    def forward(self, input: Tensor) -> Tensor:
        return self.sequential(input)


class ConformerLayer(nn.Module):
    def __init__(self, dim: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.ffn1 = FeedForwardModule(dim, hidden)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout=0.1)
        self.self_attn_dropout = nn.Dropout(0.1)
        self.conv_module = ConvolutionModule(dim)
        self.ffn2 = FeedForwardModule(dim, hidden)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, input: Tensor) -> Tensor:
        x = self.ffn1(input) * 0.5 + input
        residual = x
        x = self.self_attn_layer_norm(x)
        x, _ = self.self_attn(query=x, key=x, value=x, need_weights=False)
        x = self.self_attn_dropout(x) + residual
        residual = x
        x = x.transpose(0, 1)
        x = self.conv_module(x)
        x = x.transpose(0, 1)
        x = residual + x
        x = self.ffn2(x) * 0.5 + x
        return self.final_layer_norm(x)


class SpeechModel(nn.Module):
    def __init__(self, num_mels: int = 40, dim: int = 32, layers: int = 1, symbols: int = 29):
        super().__init__()
        self.subsample = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()
        )
        self.linear = nn.Linear(8 * (((num_mels - 1) // 2 - 1) // 2), dim)
        self.layers = nn.ModuleList(ConformerLayer(dim, 2 * dim, 4) for _ in range(layers))
        self.output = nn.Linear(dim, symbols)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.subsample(frames.unsqueeze(1))
        x = self.linear(x.permute(0, 2, 1, 3).flatten(2))
        x = x.transpose(0, 1)
        for layer in self.layers:
            x = layer(x)
        return self.output(x.transpose(0, 1)).log_softmax(dim=-1)
