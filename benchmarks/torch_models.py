"""Parcae and Ouro in eager PyTorch, the way their authors' modelling code computes a decode step.

Used as the peer of `decode.py`: one token a step, a preallocated K/V tensor for every (iteration, layer), fused q/k/v and gate/up
projections and scaled_dot_product_attention, so the peer is not handicapped by style. Shapes: x [batch, 1, width].
Architectures: Parcae (github.com/sandyresearch/parcae), Ouro (arXiv 2510.25741).
"""
import torch
import torch.nn.functional as F


class Step:
    """Weights and caches of a model; `token(position)` runs one decode step for the whole batch."""

    def __init__(self, config, dtype, batch, context, loops):
        self.dtype, self.batch, self.context = dtype, batch, context
        self.generator = torch.Generator().manual_seed(0)
        self.build(config, loops)

    def weight(self, *shape):
        return (torch.randn(*shape, generator=self.generator) * 0.02).to(self.dtype)

    def ones(self, size):
        return torch.ones(size, dtype=self.dtype)

    def cache(self, heads, dim):
        shape = (self.batch, heads, self.context, dim)
        return [torch.randn(shape, generator=self.generator).to(self.dtype) for _ in range(2)]

    def angles(self, dim, base):
        inverse = base ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        table = torch.outer(torch.arange(self.context, dtype=torch.float32), inverse)
        self.cos, self.sin = table.cos(), table.sin()

    def attend(self, q, k, v, cache, position):
        keys, values = cache
        keys[:, :, position:position + 1] = k.transpose(1, 2)
        values[:, :, position:position + 1] = v.transpose(1, 2)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), keys[:, :, :position + 1], values[:, :, :position + 1])
        return out.transpose(1, 2).reshape(self.batch, 1, -1)


class Ouro(Step):
    def build(self, c, loops):
        d, ff, self.heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
        self.dim, self.eps, self.loops = c["head_dim"], c["rms_norm_eps"], loops or c["total_ut_steps"]
        self.embed, self.head = self.weight(c["vocab_size"], d), self.weight(c["vocab_size"], d)
        self.layers = [dict(qkv=self.weight(3 * d, d), o=self.weight(d, d), gu=self.weight(2 * ff, d), down=self.weight(d, ff),
                            norms=[self.ones(d) for _ in range(4)]) for _ in range(c["num_hidden_layers"])]
        self.norm, self.gate = self.ones(d), self.weight(1, d)
        self.caches = [[self.cache(self.heads, self.dim) for _ in self.layers] for _ in range(self.loops)]
        self.angles(self.dim, c["rope_theta"])

    def rotate(self, x, position):
        low, high = x.float().chunk(2, -1)
        cos, sin = self.cos[position], self.sin[position]
        return torch.cat((low * cos - high * sin, high * cos + low * sin), -1).to(self.dtype)

    def rms(self, x, w):
        return F.rms_norm(x, (x.shape[-1],), w, self.eps)

    def token(self, position):
        x = F.embedding(torch.full((self.batch, 1), 7), self.embed)
        for caches in self.caches:
            for layer, cache in zip(self.layers, caches):
                n = layer["norms"]
                q, k, v = F.linear(self.rms(x, n[0]), layer["qkv"]).view(self.batch, 1, 3, self.heads, self.dim).unbind(2)
                a = self.attend(self.rotate(q, position), self.rotate(k, position), v, cache, position)
                x = x + self.rms(F.linear(a, layer["o"]), n[1])
                gate, up = F.linear(self.rms(x, n[2]), layer["gu"]).chunk(2, -1)
                x = x + self.rms(F.linear(F.silu(gate) * up, layer["down"]), n[3])
            x = self.rms(x, self.norm)
            torch.sigmoid(F.linear(x, self.gate))
        return F.linear(x, self.head)


class Parcae(Step):
    def build(self, c, loops):
        d, ff, self.heads, self.eps = c["n_embd"], c["intermediate_size"], c["num_attention_heads"], c["norm_eps"]
        self.dim, self.loops = d // self.heads, loops or c["mean_recurrence"]
        prelude, core, coda = c["n_layers_in_prelude"], c["n_layers_in_recurrent_block"], c["n_layers_in_coda"]
        total, vocab = prelude + core + coda, c["vocab_size"]

        def block(stored):
            w = dict(qkv=self.weight(3 * d, d), o=self.weight(d, d), fc=self.weight(ff, d), proj=self.weight(d, ff),
                     norms=[self.ones(d), self.ones(d)])
            if stored % 2 == (total - 1) % 2:
                w.update(table=self.weight(vocab, d), gate=self.weight(self.heads, 32))
            return w
        blocks = [block(i) for i in range(total)]
        self.prelude, self.core, self.coda = blocks[:prelude], blocks[prelude:prelude + core], blocks[prelude + core:]
        self.embed, self.b, self.c = self.weight(vocab, d), self.weight(d, d), self.weight(d, d)
        self.ln_prelude, self.ln_f = self.ones(d), self.ones(d)
        self.a_log, self.dt_bias = torch.zeros(d), torch.full((d,), 0.2)
        make = lambda group: [self.cache(self.heads, self.dim) for _ in group]
        self.caches = make(self.prelude), [make(self.core) for _ in range(self.loops)], make(self.coda)
        self.start = self.weight(self.batch, 1, d)
        self.angles(self.dim, 50000.0)

    def rotate(self, x, position):
        even, odd = x.float()[..., 0::2], x.float()[..., 1::2]
        cos, sin = self.cos[position], self.sin[position]
        y = torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
        return F.rms_norm(y, (self.dim,)).to(self.dtype)

    def blocks(self, group, caches, x, token, position):
        for w, cache in zip(group, caches):
            y = F.rms_norm(x, (x.shape[-1],), w["norms"][0], self.eps)
            q, k, v = F.linear(y, w["qkv"]).view(self.batch, 1, 3, self.heads, self.dim).unbind(2)
            if "table" in w:
                gate = 2 * torch.sigmoid(F.linear(y[..., :32], w["gate"]))
                v = v + gate.unsqueeze(-1) * F.embedding(token, w["table"]).view(self.batch, 1, self.heads, self.dim)
            x = x + F.linear(self.attend(self.rotate(q, position), self.rotate(k, position), v, cache, position), w["o"])
            y = F.rms_norm(x, (x.shape[-1],), w["norms"][1], self.eps)
            x = x + F.linear(0.5 * F.relu(F.linear(y, w["fc"])).square(), w["proj"])
        return x

    def token(self, position):
        token = torch.full((self.batch, 1), 7)
        prelude, core, coda = self.caches
        e = self.blocks(self.prelude, prelude, F.embedding(token, self.embed), token, position)
        e = F.rms_norm(e, (e.shape[-1],), self.ln_prelude, self.eps)
        s = self.start
        for caches in core:
            dt = F.softplus(self.dt_bias)
            u = torch.exp(-dt * torch.exp(self.a_log)) * s + dt * F.linear(e, self.b)
            s = self.blocks(self.core, caches, u.to(self.dtype), token, position)
        y = self.blocks(self.coda, coda, F.linear(s, self.c), token, position)
        return F.linear(F.rms_norm(y, (y.shape[-1],), self.ln_f, self.eps), self.embed)
