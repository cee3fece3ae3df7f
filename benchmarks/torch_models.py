"""Parcae and Ouro in PyTorch, the way their authors' modelling code computes them; the peers of the benchmarks are built on it.

One forward serves every peer: how keys and values are kept is an argument (`attend(plane)` gives the attention of one plane), so that
eager PyTorch writes slices, a compiled step writes by index under a mask, and an exported graph returns the new rows. Fused q/k/v and
gate/up projections, preallocated K/V for every (iteration, layer) and scaled_dot_product_attention: the peers are not handicapped by
style. Weights are random. Architectures: Parcae (github.com/sandyresearch/parcae), Ouro (arXiv 2510.25741).
"""
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    """`forward(tokens, cos, sin, attend)`: logits of the last position. `planes` K/V planes of [batch, heads, positions, dim]."""

    def __init__(self, config, dtype, loops=None):
        super().__init__()
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(0)
        self.build(config, loops)
        self.requires_grad_(False)
        self.eval()

    def weight(self, *shape):
        return nn.Parameter((torch.randn(*shape, generator=self.generator) * 0.02).to(self.dtype))

    def ones(self, size):
        return nn.Parameter(torch.ones(size, dtype=self.dtype))

    def angles(self, positions):
        """Cosines and sines, f32 [positions, dim / 2]."""
        inverse = self.theta ** (-torch.arange(0, self.dim, 2, dtype=torch.float32) / self.dim)
        table = torch.outer(torch.arange(positions, dtype=torch.float32), inverse)
        return table.cos(), table.sin()

    def new_planes(self, batch, positions):
        """Keys and values of every plane, filled with random numbers."""
        shape = (batch, self.heads, positions, self.dim)
        one = torch.randn(shape, generator=self.generator).to(self.dtype)
        return [(one.clone(), one.clone()) for _ in range(self.planes)]


def rms(x, weight, eps):
    return F.rms_norm(x, (x.shape[-1],), weight, eps)


def split(x, weight, heads):
    """Queries, keys and values [batch, heads, positions, dim]."""
    return F.linear(x, weight).view(x.shape[0], x.shape[1], 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def joined(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


class OuroLayer(nn.Module):
    def __init__(self, model, d, ff):
        super().__init__()
        self.wqkv, self.wo = model.weight(3 * d, d), model.weight(d, d)
        self.wgu, self.wdown = model.weight(2 * ff, d), model.weight(d, ff)
        self.norms = nn.ParameterList([model.ones(d) for _ in range(4)])
        self.heads, self.dim, self.eps, self.dtype = model.heads, model.dim, model.eps, model.dtype

    def rotate(self, x, cos, sin):
        low, high = x.float().chunk(2, -1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), -1).to(self.dtype)

    def forward(self, x, cos, sin, attend):
        n = self.norms
        q, k, v = split(rms(x, n[0], self.eps), self.wqkv, self.heads)
        a = attend(self.rotate(q, cos, sin), self.rotate(k, cos, sin), v)
        x = x + rms(F.linear(joined(a), self.wo), n[1], self.eps)
        gate, up = F.linear(rms(x, n[2], self.eps), self.wgu).chunk(2, -1)
        return x + rms(F.linear(F.silu(gate) * up, self.wdown), n[3], self.eps)


class Ouro(Model):
    def build(self, c, loops):
        d, self.heads = c["hidden_size"], c["num_attention_heads"]
        self.dim, self.eps, self.loops, self.theta = c["head_dim"], c["rms_norm_eps"], loops or c["total_ut_steps"], c["rope_theta"]
        self.vocab, self.width = c["vocab_size"], d
        self.embed, self.head = self.weight(self.vocab, d), self.weight(self.vocab, d)
        self.layers = nn.ModuleList([OuroLayer(self, d, c["intermediate_size"]) for _ in range(c["num_hidden_layers"])])
        self.norm, self.gate = self.ones(d), self.weight(1, d)
        self.planes = self.loops * len(self.layers)

    def forward(self, tokens, cos, sin, attend):
        x = F.embedding(tokens, self.embed)
        for iteration in range(self.loops):
            for index, layer in enumerate(self.layers):
                x = layer(x, cos, sin, attend(iteration * len(self.layers) + index))
            x = rms(x, self.norm, self.eps)
            torch.sigmoid(F.linear(x, self.gate))
        return F.linear(x[:, -1], self.head)


class ParcaeLayer(nn.Module):
    def __init__(self, model, d, ff, table):
        super().__init__()
        self.wqkv, self.wo = model.weight(3 * d, d), model.weight(d, d)
        self.wfc, self.wproj = model.weight(ff, d), model.weight(d, ff)
        self.norms = nn.ParameterList([model.ones(d), model.ones(d)])
        self.table = model.weight(model.vocab, d) if table else None
        self.gate = model.weight(model.heads, 32) if table else None
        self.heads, self.dim, self.eps, self.dtype = model.heads, model.dim, model.eps, model.dtype

    def rotate(self, x, cos, sin):
        even, odd = x.float()[..., 0::2], x.float()[..., 1::2]
        y = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
        return F.rms_norm(y, (self.dim,)).to(self.dtype)

    def forward(self, x, tokens, cos, sin, attend):
        y = rms(x, self.norms[0], self.eps)
        q, k, v = split(y, self.wqkv, self.heads)
        if self.table is not None:
            gate = 2 * torch.sigmoid(F.linear(y[..., :32], self.gate))
            extra = F.embedding(tokens, self.table).view(*gate.shape, self.dim)
            v = v + (gate.unsqueeze(-1) * extra).transpose(1, 2)
        x = x + F.linear(joined(attend(self.rotate(q, cos, sin), self.rotate(k, cos, sin), v)), self.wo)
        y = rms(x, self.norms[1], self.eps)
        return x + F.linear(0.5 * F.relu(F.linear(y, self.wfc)).square(), self.wproj)


class Parcae(Model):
    def build(self, c, loops):
        d, self.heads, self.eps, self.theta = c["n_embd"], c["num_attention_heads"], c["norm_eps"], 50000.0
        self.dim, self.loops = d // self.heads, loops or c["mean_recurrence"]
        self.vocab, self.width = c["vocab_size"], d
        counts = [c["n_layers_in_prelude"], c["n_layers_in_recurrent_block"], c["n_layers_in_coda"]]
        stored = [ParcaeLayer(self, d, c["intermediate_size"], i % 2 == (sum(counts) - 1) % 2) for i in range(sum(counts))]
        self.prelude = nn.ModuleList(stored[:counts[0]])
        self.core = nn.ModuleList(stored[counts[0]:counts[0] + counts[1]])
        self.coda = nn.ModuleList(stored[counts[0] + counts[1]:])
        self.embed, self.b, self.c = self.weight(self.vocab, d), self.weight(d, d), self.weight(d, d)
        self.ln_prelude, self.ln_f = self.ones(d), self.ones(d)
        self.a_log, self.dt_bias = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.full((d,), 0.2))
        self.start = nn.Parameter(0.02 * torch.randn(1, 1, d, generator=self.generator))
        self.planes = counts[0] + self.loops * counts[1] + counts[2]

    def block(self, layers, first, x, tokens, cos, sin, attend):
        for index, layer in enumerate(layers):
            x = layer(x, tokens, cos, sin, attend(first + index))
        return x

    def forward(self, tokens, cos, sin, attend):
        rest = tokens, cos, sin, attend
        e = rms(self.block(self.prelude, 0, F.embedding(tokens, self.embed), *rest), self.ln_prelude, self.eps)
        s = self.start.expand(tokens.shape[0], tokens.shape[1], -1)
        dt = F.softplus(self.dt_bias)
        for iteration in range(self.loops):
            u = torch.exp(-dt * torch.exp(self.a_log)) * s + dt * F.linear(e, self.b)
            s = self.block(self.core, len(self.prelude) + iteration * len(self.core), u.to(self.dtype), *rest)
        y = self.block(self.coda, self.planes - len(self.coda), F.linear(s, self.c), *rest)
        return F.linear(rms(y[:, -1], self.ln_f, self.eps), self.embed)


MODELS = {"parcae": Parcae, "ouro": Ouro}


def written_by_slice(planes, position):
    """Keys and values go into slices of the planes; attention sees exactly the positions there are."""
    def of_plane(plane):
        keys, values = planes[plane]

        def attend(q, k, v):
            end = position + q.shape[2]
            keys[:, :, position:end], values[:, :, position:end] = k, v
            if position == 0:
                return F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return F.scaled_dot_product_attention(q, keys[:, :, :end], values[:, :, :end])
        return attend
    return of_plane


def written_by_index(planes, position, mask):
    """The same with shapes that never change, for a compiler: `position` a tensor of one index, `mask` over the whole plane."""
    def of_plane(plane):
        keys, values = planes[plane]

        def attend(q, k, v):
            keys.index_copy_(2, position, k)
            values.index_copy_(2, position, v)
            return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return attend
    return of_plane


class Exported(nn.Module):
    """A decode step without side effects, for exporters: earlier keys and values come in as one tensor
    [planes, 2, batch, heads, positions, dim] under a mask, and the rows of this position go out beside the logits."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, tokens, cos, sin, mask, earlier):
        new = []

        def of_plane(plane):
            def attend(q, k, v):
                new.append(torch.stack((k, v)).squeeze(3))
                scale = q.shape[-1] ** -0.5
                old = q @ earlier[plane, 0].transpose(-1, -2) * scale + mask
                own = (q * k).sum(-1, keepdim=True) * scale
                weight = torch.softmax(torch.cat((old, own), -1), -1)
                return weight[..., :-1] @ earlier[plane, 1] + weight[..., -1:] * v
            return attend
        logits = self.model(tokens, cos, sin, of_plane)
        return logits, torch.stack(new)
