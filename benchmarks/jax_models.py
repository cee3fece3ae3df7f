"""The decode steps of torch_models in JAX, on the same parameters; keys and values are one donated array
[planes, 2, batch, heads, positions, dim]."""
import jax
import jax.numpy as jnp
from jax import lax


def array(tensor):
    kind = jnp.bfloat16 if str(tensor.dtype) == "torch.bfloat16" else jnp.float32
    return jnp.asarray(tensor.detach().float().numpy(), kind)


class Step:
    """`step(parameters, planes, token, cos, sin, mask, position)` gives logits and the new planes."""

    def __init__(self, model):
        self.model = model
        self.parameters = {name: array(value) for name, value in model.named_parameters()}
        self.compiled = jax.jit(self.forward, donate_argnums=1)

    def rms(self, x, gain=None, eps=None):
        y = x.astype(jnp.float32)
        y = y * lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + (self.model.eps if eps is None else eps))
        return y.astype(x.dtype) * gain if gain is not None else y

    def attend(self, planes, plane, q, k, v, mask, position):
        rows = jnp.stack((k, v)).astype(planes.dtype)[None, :, :, :, None]
        planes = lax.dynamic_update_slice(planes, rows, (plane, 0, 0, 0, position, 0))
        keys, values = planes[plane, 0], planes[plane, 1]
        scores = jnp.einsum("bhd,bhld->bhl", q, keys).astype(jnp.float32) * q.shape[-1] ** -0.5 + mask
        out = jnp.einsum("bhl,bhld->bhd", jax.nn.softmax(scores, -1).astype(values.dtype), values)
        return planes, out.reshape(out.shape[0], -1)

    def heads(self, x, weight):
        return (x @ weight.T).reshape(x.shape[0], 3, self.model.heads, -1).transpose(1, 0, 2, 3)


class Ouro(Step):
    def rotate(self, x, cos, sin):
        low, high = jnp.split(x.astype(jnp.float32), 2, -1)
        return jnp.concatenate((low * cos - high * sin, high * cos + low * sin), -1).astype(x.dtype)

    def forward(self, p, planes, token, cos, sin, mask, position):
        x, m = p["embed"][token], self.model
        for iteration in range(m.loops):
            for i in range(len(m.layers)):
                w = {name: p[f"layers.{i}.{name}"] for name in ("wqkv", "wo", "wgu", "wdown")}
                n = [p[f"layers.{i}.norms.{j}"] for j in range(4)]
                q, k, v = self.heads(self.rms(x, n[0]), w["wqkv"])
                planes, a = self.attend(planes, iteration * len(m.layers) + i, self.rotate(q, cos, sin), self.rotate(k, cos, sin), v, mask, position)
                x = x + self.rms(a @ w["wo"].T, n[1])
                gate, up = jnp.split(self.rms(x, n[2]) @ w["wgu"].T, 2, -1)
                x = x + self.rms((jax.nn.silu(gate) * up) @ w["wdown"].T, n[3])
            x = self.rms(x, p["norm"])
        return x @ p["head"].T, planes


class Parcae(Step):
    def rotate(self, x, cos, sin):
        even, odd = x[..., 0::2].astype(jnp.float32), x[..., 1::2].astype(jnp.float32)
        y = jnp.stack((even * cos - odd * sin, odd * cos + even * sin), -1).reshape(x.shape)
        return self.rms(y, eps=float(jnp.finfo(jnp.float32).eps)).astype(x.dtype)

    def block(self, p, group, count, first, x, planes, token, cos, sin, mask, position):
        for i in range(count):
            w = {name: p.get(f"{group}.{i}.{name}") for name in ("wqkv", "wo", "wfc", "wproj", "table", "gate", "norms.0", "norms.1")}
            y = self.rms(x, w["norms.0"])
            q, k, v = self.heads(y, w["wqkv"])
            if w["table"] is not None:
                gate = 2 * jax.nn.sigmoid(y[:, :32] @ w["gate"].T)
                v = v + gate[..., None] * w["table"][token].reshape(v.shape)
            planes, a = self.attend(planes, first + i, self.rotate(q, cos, sin), self.rotate(k, cos, sin), v, mask, position)
            x = x + a @ w["wo"].T
            y = 0.5 * jnp.square(jax.nn.relu(self.rms(x, w["norms.1"]) @ w["wfc"].T))
            x = x + y @ w["wproj"].T
        return x, planes

    def forward(self, p, planes, token, *rest):
        m = self.model
        x, planes = self.block(p, "prelude", len(m.prelude), 0, p["embed"][token], planes, token, *rest)
        e = self.rms(x, p["ln_prelude"])
        s = jnp.broadcast_to(p["start"][0], e.shape)
        dt = jax.nn.softplus(p["dt_bias"])
        for iteration in range(m.loops):
            u = jnp.exp(-dt * jnp.exp(p["a_log"])) * s + dt * (e @ p["b"].T)
            s, planes = self.block(p, "core", len(m.core), len(m.prelude) + iteration * len(m.core), u.astype(e.dtype), planes, token, *rest)
        y, planes = self.block(p, "coda", len(m.coda), m.planes - len(m.coda), s @ p["c"].T, planes, token, *rest)
        return self.rms(y, p["ln_f"]) @ p["embed"].T, planes
