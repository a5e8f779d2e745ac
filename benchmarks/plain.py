"""CRSDUN written as anyone would, to measure the library against: ``crsdun bench --against plain``.

NCHW memory, one PyTorch call for each step, a roll for each band, einsum attention, autograd as it comes. The layers
have the names of the library's own, so its weights fit; tests/networks/test_plain.py compares the results. Only the
published configuration, and sizes that are multiples of 32.

Legend: B batch · C bands · N classes · d width · H, W scene · h token size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crsdun.networks.crsdun import Crsdun
from crsdun.optics import CassiCamera, Estimate


class Camera:
    """A and Aᵀ of the single-disperser camera, band by band."""

    def __init__(self, camera: CassiCamera):
        assert camera.step is not None
        self.M, self.step, self.columns = camera.mask_per_band, int(camera.step), camera.measurement_width
        self.D = self.forward(self.M[None])
        self.D[self.D == 0] = 1

    def shift(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, self.columns - x.shape[-1]))
        return torch.stack([x[:, c].roll(self.step * c, -1) for c in range(x.shape[1])], 1)

    def unshift(self, y: Tensor) -> Tensor:
        C, _, W = self.M.shape
        return torch.stack([y.roll(-self.step * c, -1)[..., :W] for c in range(C)], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shift(self.M * x).sum(1)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.M * self.unshift(y)


class LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


def conv(inputs: int, outputs: int, kernel: int = 1, bias: bool = False, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias, groups=groups)


def down(d: int) -> nn.Conv2d:
    return nn.Conv2d(d, 2 * d, 4, 2, 1, bias=False)


class FeedForward(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.widen, self.mix, self.narrow = conv(d, 4 * d), conv(4 * d, 4 * d, 3, groups=4 * d), conv(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(F.gelu(self.mix(F.gelu(self.widen(x)))))


class WindowSpectralAttention(nn.Module):
    def __init__(self, d: int, base: int):
        super().__init__()
        self.scale, self.qkv, self.out = base**-0.5, conv(d, 3 * d), conv(d, d, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        B, d, H, W = x.shape
        q, k, v = self.qkv(x).view(B, 3, d, H // 8, 8, W // 8, 8).permute(1, 0, 3, 5, 2, 4, 6).flatten(5)
        attention = (torch.einsum("brsit,brsjt->brsij", q, k) * self.scale).softmax(-1)
        mixed = torch.einsum("brsij,brsjt->brsit", attention, v)
        return self.out(mixed.unflatten(-1, (8, 8)).permute(0, 3, 1, 4, 2, 5).reshape(B, d, H, W))


class ConvolutionalModulation(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.context = nn.Sequential(conv(d, d), conv(d, d, 11, groups=d))
        self.value, self.out = conv(d, d), conv(d, d, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.context(x) * self.value(x))


class SpatialAttention(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.hidden, self.gate, self.map = conv(d, d), conv(d, d, 3, groups=d), conv(d, 1, 3)
        self.out = conv(d, d, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.hidden(x)
        return self.out(torch.sigmoid(self.gate(h)) * F.gelu(self.map(h)))


class AttentionResidualBlock(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.norm1, self.modulation = LayerNorm(d), ConvolutionalModulation(d)
        self.norm2, self.attention = nn.GroupNorm(d, d), SpatialAttention(d)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.modulation(self.norm1(x))
        return x + self.attention(self.norm2(x))


class SpectralSpatialBlock(nn.Module):
    def __init__(self, d: int, base: int):
        super().__init__()
        self.position = conv(d, d, 5, bias=True, groups=d)
        self.norm1, self.attention = LayerNorm(d), WindowSpectralAttention(d, base)
        self.norm2, self.ffn = nn.GroupNorm(d, d), FeedForward(d)
        self.residual = AttentionResidualBlock(d)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        x = x + self.attention(self.norm1(x))
        x = x + self.ffn(self.norm2(x))
        return self.residual(x)


class WindowAttention(nn.Module):
    def __init__(self, d: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.position = nn.Parameter(torch.zeros(15**2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")).flatten(1)
        row, column = at[:, :, None] - at[:, None] + 7
        self.index = row * 15 + column

    def forward(self, x: Tensor) -> Tensor:
        B, d, H, W = x.shape
        windows = x.view(B, d, H // 8, 8, W // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(-1, 64, d)
        q, k, v = self.qkv(windows).unflatten(-1, (3, self.heads, d // self.heads)).permute(2, 0, 3, 1, 4)
        logits = torch.einsum("nhid,nhjd->nhij", q * (d // self.heads) ** -0.5, k)
        attention = (logits + self.position[self.index].permute(2, 0, 1)).softmax(-1)
        mixed = torch.einsum("nhij,nhjd->nihd", attention, v).flatten(-2)
        tiles = self.out(mixed).view(B, H // 8, W // 8, 8, 8, d)
        return tiles.permute(0, 5, 1, 3, 2, 4).reshape(B, d, H, W)


class SwinBlock(nn.Module):
    def __init__(self, d: int, heads: int, shift: int):
        super().__init__()
        self.shift = shift
        self.norm1, self.attention = LayerNorm(d), WindowAttention(d, heads)
        self.norm2, self.ffn = LayerNorm(d), FeedForward(d)

    def forward(self, x: Tensor) -> Tensor:
        x = x.roll((-self.shift, -self.shift), (2, 3))
        x = x + self.attention(self.norm1(x))
        x = x + self.ffn(self.norm2(x))
        return x.roll((self.shift, self.shift), (2, 3))


def swin(d: int, base: int) -> nn.Sequential:
    return nn.Sequential(SwinBlock(d, d // base, 0), SwinBlock(d, d // base, 4))


class TokenSelfAttention(nn.Module):
    def __init__(self, d: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.out = heads, conv(d, 3 * d), conv(d, d, bias=True)

    def forward(self, S: Tensor) -> Tensor:
        q, k, v = self.qkv(S).flatten(2).unflatten(1, (self.heads, 3, -1)).unbind(2)
        attention = torch.einsum("bhdi,bhdj->bhij", q * q.shape[2] ** -0.5, k).softmax(-1)
        return self.out(torch.einsum("bhij,bhdj->bhdi", attention, v).reshape(S.shape))


class SuperTokenAttention(nn.Module):
    def __init__(self, d: int, heads: int, token: int):
        super().__init__()
        self.token, self.refine = token, TokenSelfAttention(d, heads)

    def forward(self, X: Tensor, theta: Tensor) -> Tensor:
        (B, d, H, W), h = X.shape, self.token
        rows, columns = H // h, W // h
        pixels = X.view(B, d, rows, h, columns, h).permute(0, 2, 4, 3, 5, 1).reshape(B, rows * columns, h * h, d)
        with torch.no_grad():
            logits = torch.einsum("bmpd,bdkm->bmpk", pixels, around(F.avg_pool2d(theta, h)))
            Q = (logits * d**-0.5).softmax(-1)
        parts = torch.einsum("bmpk,bmpd->bdkm", Q, pixels).flatten(1, 2)
        weights = F.fold(Q.sum(2).transpose(1, 2), (rows, columns), 3, padding=1)
        S = self.refine(F.fold(parts, (rows, columns), 3, padding=1) / (weights + 1e-12))
        spread = torch.einsum("bmpk,bdkm->bmpd", Q, around(S))
        return spread.view(B, rows, columns, h, h, d).permute(0, 5, 1, 3, 2, 4).reshape(B, d, H, W)


def around(S: Tensor) -> Tensor:
    """(B,d,rows,columns) → (B,d,9,rows·columns)."""
    return F.unfold(S, 3, padding=1).unflatten(1, (S.shape[1], 9))


class CrossAggregation(nn.Module):
    def __init__(self, d: int, heads: int, token: int, own: bool):
        super().__init__()
        self.own, self.norm_pixels, self.norm_classes = own, LayerNorm(d), LayerNorm(d)
        self.attention = SuperTokenAttention(d, heads, token)
        self.norm, self.ffn = nn.BatchNorm2d(d), FeedForward(d)

    def forward(self, f: Tensor, e: Tensor) -> Tensor:
        X, theta = (f, e) if self.own else (e, f)
        f = f + self.attention(self.norm_pixels(X), self.norm_classes(theta))
        return f + self.ffn(self.norm(f))


class CrossAggregationBlock(nn.Module):
    def __init__(self, d: int, heads: int, token: int, blocks: int, own: bool):
        super().__init__()
        self.position = conv(2 * d, 2 * d, 5, bias=True, groups=2 * d)
        self.blocks = nn.ModuleList(CrossAggregation(d, heads, token, own) for _ in range(blocks))

    def forward(self, f: Tensor, e: Tensor) -> Tensor:
        both = torch.cat([f, e], 1)
        f, e = (both + self.position(both)).chunk(2, 1)
        for block in self.blocks:
            f = block(f, e)
        return f


class CubeProximalNetwork(nn.Module):
    def __init__(self, C: int, N: int, d: int, cross: bool):
        super().__init__()
        self.embed, self.embed_mask, self.out = conv(C, d, 3), conv(C, d, 3), conv(d, C, 3)
        self.encoder1, self.down1 = SpectralSpatialBlock(d, d), down(d)
        self.encoder2, self.down2 = SpectralSpatialBlock(2 * d, d), down(2 * d)
        self.bottleneck = SpectralSpatialBlock(4 * d, d)
        self.up2, self.fuse2 = nn.ConvTranspose2d(4 * d, 2 * d, 2, 2), conv(4 * d, 2 * d)
        self.up1, self.fuse1 = nn.ConvTranspose2d(2 * d, d, 2, 2), conv(2 * d, d)
        self.cross = cross
        if cross:
            self.other1 = conv(N, d, bias=True)
            self.other2 = nn.Sequential(conv(N, d, bias=True), down(d))
            self.node2, self.residual2 = CrossAggregationBlock(2 * d, 2, 4, 1, True), AttentionResidualBlock(2 * d)
            self.node1, self.residual1 = CrossAggregationBlock(d, 1, 8, 1, True), AttentionResidualBlock(d)
        else:
            self.node2, self.node1 = SpectralSpatialBlock(2 * d, d), SpectralSpatialBlock(d, d)

    def forward(self, z: Tensor, M: Tensor, theta: Tensor) -> Tensor:
        skip1 = self.encoder1(self.embed(z) * (1 + self.embed_mask(M)))
        skip2 = self.encoder2(self.down1(skip1))
        u = self.bottleneck(self.down2(skip2))
        u = self.fuse2(torch.cat([self.up2(u), skip2], 1))
        u = self.residual2(self.node2(u, self.other2(theta))) if self.cross else self.node2(u)
        u = self.fuse1(torch.cat([self.up1(u), skip1], 1))
        u = self.residual1(self.node1(u, self.other1(theta))) if self.cross else self.node1(u)
        return self.out(u) + z


class ClassProximalNetwork(nn.Module):
    def __init__(self, C: int, N: int, d: int, cross: bool):
        super().__init__()
        self.embed, self.out = conv(N, d, 3), conv(d, N, 3)
        self.encoder1, self.down1 = swin(d, d), down(d)
        self.encoder2, self.down2 = swin(2 * d, d), down(2 * d)
        self.bottleneck = swin(4 * d, d)
        self.up2, self.fuse2 = nn.ConvTranspose2d(4 * d, 2 * d, 2, 2), conv(4 * d, 2 * d)
        self.up1, self.fuse1 = nn.ConvTranspose2d(2 * d, d, 2, 2), conv(2 * d, d)
        self.cross = cross
        if cross:
            self.other1 = conv(C, d, bias=True)
            self.other2 = nn.Sequential(conv(C, d, bias=True), down(d))
            self.node2 = CrossAggregationBlock(2 * d, 2, 4, 2, False)
            self.node1 = CrossAggregationBlock(d, 1, 8, 2, False)
        else:
            self.node2, self.node1 = swin(2 * d, d), swin(d, d)

    def forward(self, xi: Tensor, x: Tensor) -> Tensor:
        skip1 = self.encoder1(self.embed(xi))
        skip2 = self.encoder2(self.down1(skip1))
        u = self.bottleneck(self.down2(skip2))
        u = self.fuse2(torch.cat([self.up2(u), skip2], 1))
        u = self.node2(u, self.other2(x)) if self.cross else self.node2(u)
        u = self.fuse1(torch.cat([self.up1(u), skip1], 1))
        u = self.node1(u, self.other1(x)) if self.cross else self.node1(u)
        return self.out(u)


class Estimator(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.fusion = conv(inputs, 32, bias=True)
        self.mlp = nn.Sequential(conv(32, 32, bias=True), nn.ReLU(), conv(32, 32, bias=True), nn.ReLU(), conv(32, 4))
        self.offset = nn.Parameter(torch.tensor([1.0, 1.0, 0.01, 0.0]).view(4, 1, 1))

    def forward(self, known: Tensor) -> tuple[Tensor, ...]:
        return (self.mlp(F.adaptive_avg_pool2d(F.relu(self.fusion(known)), 1)) + self.offset).chunk(4, 1)


class Stage(nn.Module):
    def __init__(self, C: int, N: int, d: int, cross: bool):
        super().__init__()
        self.estimate = Estimator(C + N)
        self.cube_network, self.refine = CubeProximalNetwork(C, N, d, cross), AttentionResidualBlock(C)
        self.class_network = ClassProximalNetwork(C, N, d, cross)


class PlainCrsdun(nn.Module):
    """The published network for C bands and N classes; ``width`` is d, as many as bands where it is None."""

    def __init__(self, bands: int, classes: int, stages: int, width: int | None = None):
        super().__init__()
        C, N, d = bands, classes, width or bands
        self.classes = N
        self.initial, self.dictionary = conv(2 * C, C, bias=True), conv(N, C)
        self.recurrence, self.analysis = conv(N, N), conv(C, N)
        self.stages = nn.ModuleList(Stage(C, N, d, cross=k > 0) for k in range(stages))

    def forward(self, y: Tensor, camera: CassiCamera) -> Estimate:
        A = Camera(camera)
        M = A.M[None]
        x = self.initial(torch.cat([A.unshift(2 * y / M.shape[1]), M.expand(len(y), -1, -1, -1)], 1))
        theta = xi = x.new_zeros(len(y), self.classes, *x.shape[2:])
        cubes, logits = [], []
        for stage in self.stages:
            a, mu, b, gamma = stage.estimate(torch.cat([x, theta], 1))
            mixed = mu * x + (1 - mu) * self.dictionary(theta)
            z = mixed + A.adjoint((y - A.forward(mixed)) / (A.D + a.squeeze(1)))
            x = stage.refine(stage.cube_network(z, M, theta))
            v = self.recurrence(xi) + self.analysis(x) + gamma * theta
            xi = v.sign() * F.relu(v.abs() - b)
            theta = stage.class_network(xi, x) + xi
            cubes.append(x)
            logits.append(theta)
        return Estimate(cubes, logits)


def like(network: Crsdun) -> PlainCrsdun:
    """The same network with the same weights."""
    config = network.config
    plain = PlainCrsdun(config.bands, config.classes, config.stages, config.width)
    plain.load_state_dict(network.state_dict())
    return plain
