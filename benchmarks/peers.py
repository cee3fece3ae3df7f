"""The systems that the benchmarks time beside loopc. Each runs in a process of its own that loads its model once and runs on demand,
so that timings can alternate while thread pools stay apart.

A peer is a class with `needs` (modules), `install` (what brings them), `package` (whose version is reported) and `run()`: milliseconds of
each step of one round. Loading compiles; `compile_ms` is what that took. Unsupported says what a peer cannot do.
"""
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

import cases

#: what: decode (context: positions before the first step) or prefill (context: length of the prompt)
Case = namedtuple("Case", "model what dtype batch context steps threads loops", defaults=[None])


class Unsupported(Exception):
    pass


def timed(body):
    begin = time.perf_counter()
    body()
    return 1e3 * (time.perf_counter() - begin)


class TorchEager:
    package, needs, install = "torch", ["torch"], "pip install torch"
    compile_ms = 0.0

    def __init__(self, case):
        import torch
        import torch_models
        self.torch, self.parts, self.case = torch, torch_models, case
        kind = cases.spec_of(case.model)[1]
        if not kind or case.dtype not in ("f32", "bf16"):
            raise Unsupported(f"no {case.model} in {case.dtype}")
        torch.set_num_threads(case.threads)
        self.positions = case.context + (case.steps if case.what == "decode" else 0)
        self.model = getattr(torch_models, kind)(cases.config_of(case.model), self.model_type(), case.loops)
        self.planes = self.model.new_planes(case.batch, self.positions)
        self.cos, self.sin = self.model.angles(self.positions)
        self.tokens = torch.randint(0, self.model.vocab, (case.batch, self.positions), generator=self.model.generator)
        self.prepare()

    def model_type(self):
        return {"f32": self.torch.float32, "bf16": self.torch.bfloat16}[self.case.dtype]

    def prepare(self):
        pass

    def rows(self, begin, end):
        return self.tokens[:, begin:end], self.cos[begin:end], self.sin[begin:end]

    def step(self, position):
        return self.model(*self.rows(position, position + 1), self.parts.written_by_slice(self.planes, position))

    def prefill(self):
        return self.model(*self.rows(0, self.case.context), self.parts.written_by_slice(self.planes, 0))

    def run(self):
        with self.torch.inference_mode():
            if self.case.what == "prefill":
                return [timed(self.prefill) for _ in range(self.case.steps)]
            return [timed(lambda: self.step(self.case.context + i)) for i in range(self.case.steps)]


class TorchCompiled(TorchEager):
    """The whole step as one graph with the C++ wrapper. Ouro's 96 applications of a layer take the compiler more than ten minutes as one
    graph, so there each layer is a graph, made once."""

    def prepare(self):
        import torch._inductor.config as inductor
        torch, case = self.torch, self.case
        torch._dynamo.config.recompile_limit = 64
        inductor.cpp_wrapper = True
        inductor.fx_graph_cache = False
        layered = self.model.planes > 64
        if layered:
            for layer in self.model.layers:
                layer.compile(fullgraph=True, dynamic=False)

        def step(tokens, cos, sin, position, mask):
            return self.model(tokens, cos, sin, self.parts.written_by_index(self.planes, position, mask))

        def prefill(tokens, cos, sin):
            return self.model(tokens, cos, sin, self.parts.written_by_slice(self.planes, 0))
        body = step if case.what == "decode" else prefill
        self.body = body if layered else torch.compile(body, fullgraph=True, dynamic=False)
        if case.what == "decode":
            self.masks = torch.zeros(self.positions, 1, 1, 1, self.positions, dtype=self.model.dtype)
            for i in range(self.positions):
                self.masks[i, ..., i + 1:] = float("-inf")
        with torch.inference_mode():
            self.check()

    def check(self):
        """Compiles, and compares with the uncompiled model."""
        position = self.case.context
        self.compile_ms = timed(lambda: self.step(position) if self.case.what == "decode" else self.prefill())
        if self.case.what == "decode":
            self.torch.testing.assert_close(self.step(position).float(), super().step(position).float(), rtol=0.1, atol=0.1)

    def step(self, position):
        return self.body(*self.rows(position, position + 1), self.torch.tensor([position]), self.masks[position])

    def prefill(self):
        return self.body(*self.rows(0, self.case.context))


class Exporting(TorchEager):
    """Decoding with an exported graph; its K/V tensor belongs to the host, which stores the rows that a step returns."""

    def model_type(self):
        return self.torch.float32

    def prepare(self):
        if self.case.what != "decode":
            raise Unsupported("decoding only: the exported graph is one step")
        torch = self.torch
        self.earlier = torch.stack([torch.stack(plane) for plane in self.planes])
        del self.planes
        self.host = self.earlier.numpy()
        self.masks = torch.zeros(self.positions, 1, 1, 1, self.positions)
        for i in range(self.positions):
            self.masks[i, ..., i:] = -1e30
        graph = self.parts.Exported(self.model).eval()
        example = *self.rows(self.case.context, self.case.context + 1), self.masks[self.case.context], self.earlier
        with torch.no_grad():
            wanted = graph(*example)[0]
            begin = time.perf_counter()
            self.compile(graph, example)
            self.compile_ms = 1e3 * (time.perf_counter() - begin)
        torch.testing.assert_close(torch.from_numpy(self.step(self.case.context)), wanted, rtol=0.1, atol=0.1)
        self.model = None

    def arrays(self, position):
        rows = *self.rows(position, position + 1), self.masks[position]
        return [value.contiguous().numpy() for value in rows] + [self.host]

    def step(self, position):
        logits, new = self.infer(self.arrays(position))
        self.host[:, :, :, :, position] = new
        return logits


class OpenVino(Exporting):
    package, needs, install = "openvino", ["openvino", "torch"], "pip install openvino torch"

    def compile(self, graph, example):
        import openvino
        self.runtime = openvino
        model = openvino.convert_model(graph, example_input=example)
        model.reshape({port: list(value.shape) for port, value in zip(model.inputs, example)})
        settings = {"INFERENCE_PRECISION_HINT": self.case.dtype, "INFERENCE_NUM_THREADS": self.case.threads, "PERFORMANCE_HINT": "LATENCY"}
        self.request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def infer(self, arrays):
        for index, value in enumerate(arrays):
            self.request.set_input_tensor(index, self.runtime.Tensor(value, shared_memory=True))
        self.request.infer()
        return self.request.get_output_tensor(0).data.copy(), self.request.get_output_tensor(1).data


class OnnxRuntime(Exporting):
    package, needs = "onnxruntime", ["onnxruntime", "onnx", "onnxscript", "torch"]
    install = "pip install onnxruntime onnx onnxscript torch"

    def prepare(self):
        if self.case.dtype != "f32":
            raise Unsupported("its CPU kernels compute in f32")
        super().prepare()

    def compile(self, graph, example):
        import onnxruntime
        names = ["tokens", "cos", "sin", "mask", "earlier"]
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.case.threads
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "step.onnx"
            self.torch.onnx.export(graph, example, path, input_names=names, output_names=["logits", "new"], dynamo=True, external_data=True,
                                   verbose=False)
            self.session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        known = {value.name for value in self.session.get_inputs()}
        self.names = [(index, name) for index, name in enumerate(names) if name in known]

    def infer(self, arrays):
        return self.session.run(None, {name: arrays[index] for index, name in self.names})


class Jax(TorchEager):
    """The whole step under jit, iterations unrolled; the planes are donated, so that they are updated in place."""
    package, needs, install = "jax", ["jax", "torch"], "pip install jax torch"

    def prepare(self):
        if self.case.what != "decode":
            raise Unsupported("decoding only")
        import jax
        import jax_models
        self.jax, self.array = jax, jax_models.array
        self.step_in_jax = getattr(jax_models, type(self.model).__name__)(self.model)
        position = self.case.context
        wanted = super().step(position).float()
        self.state = self.array(self.torch.stack([self.torch.stack(plane) for plane in self.planes]))
        self.compile_ms = timed(lambda: self.step(position))
        found = self.torch.tensor(self.jax.device_get(self.step(position).astype("float32")))
        self.torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1)

    def step(self, position):
        tokens, cos, sin = self.rows(position, position + 1)
        mask = self.torch.where(self.torch.arange(self.positions) <= position, 0.0, -1e30)
        logits, self.state = self.step_in_jax.compiled(self.step_in_jax.parameters, self.state, tokens[:, 0].numpy(), cos.numpy(), sin.numpy(),
                                                       mask.numpy(), position)
        return logits.block_until_ready()


class LlamaCpp:
    """Through the C interface: one decode of `batch` rows a step, or of the prompts in one call of 512 rows at most."""
    package, needs = "llama-cpp-python", ["llama_cpp", "gguf"]
    install = "pip install llama-cpp-python gguf (builds llama.cpp for this machine)"

    def __init__(self, case):
        import ctypes
        import llama_cpp
        from llama_file import llama_file
        self.c, self.case = llama_cpp, case
        self.scale = cases.llama_shape(case.model)["scale"]
        self.silence = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.silence, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.file = str(llama_file(case.model, case.dtype))
        begin = time.perf_counter()
        self.model = llama_cpp.llama_model_load_from_file(self.file.encode(), llama_cpp.llama_model_default_params())
        settings = llama_cpp.llama_context_default_params()
        positions = case.context + case.steps + 1
        settings.n_ctx = positions * case.batch
        settings.n_batch = settings.n_ubatch = max(512, case.batch)
        settings.n_seq_max = case.batch
        settings.n_threads = settings.n_threads_batch = case.threads
        settings.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.model or not self.context:
            raise Unsupported(f"{self.file} did not load")
        self.compile_ms = 1e3 * (time.perf_counter() - begin)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocab = cases.llama_shape(case.model)["vocab"]
        self.batch = llama_cpp.llama_batch_init(max(512, case.batch), 0, 1)

    def decode(self, rows):
        """rows: (sequence, position, wants logits)."""
        self.batch.n_tokens = len(rows)
        for i, (sequence, position, logits) in enumerate(rows):
            self.batch.token[i] = (7919 * position + 31 * sequence) % self.vocab
            self.batch.pos[i], self.batch.n_seq_id[i], self.batch.seq_id[i][0], self.batch.logits[i] = position, 1, sequence, logits
        if self.c.llama_decode(self.context, self.batch):
            raise SystemExit("llama_decode failed")

    def fill(self):
        rows = [(s, p, p + 1 == self.case.context) for s in range(self.case.batch) for p in range(self.case.context)]
        for begin in range(0, len(rows), 512):
            self.decode(rows[begin:begin + 512])
        self.c.llama_synchronize(self.context)

    def run(self):
        times = []
        if self.case.what == "prefill":
            for _ in range(self.case.steps):
                self.c.llama_memory_clear(self.memory, True)
                times.append(self.scale * timed(self.fill))
            return times
        self.c.llama_memory_clear(self.memory, True)
        self.fill()

        def step(index):
            self.decode([(s, self.case.context + index, True) for s in range(self.case.batch)])
            self.c.llama_synchronize(self.context)
        return [self.scale * timed(lambda: step(index)) for index in range(self.case.steps)]


PEERS = {"torch-eager": TorchEager, "torch-compiled": TorchCompiled, "openvino": OpenVino, "onnxruntime": OnnxRuntime, "jax": Jax, "llama.cpp": LlamaCpp}


class Worker:
    """A peer in its own process. `note` says why there is none."""

    def __init__(self, name, case, python=sys.executable):
        self.name, self.messages = name, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([python, __file__, name, json.dumps(case._asdict())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.messages, text=True, env=dict(os.environ, OMP_NUM_THREADS=str(case.threads)))
        answer = self.answer()
        self.note, self.version, self.compile_ms = answer.get("note"), answer.get("version"), answer.get("compile_ms")

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.messages.seek(0)
        lines = self.messages.read().strip().splitlines()
        return {"note": "failed: " + (lines[-1] if lines else "no message")}

    def run(self):
        """Median of the milliseconds of a round; None once it has failed."""
        if self.note:
            return None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.note = answer.get("note")
        return statistics.median(answer["times"]) if not self.note else None

    def change_loops(self, loops):
        """Milliseconds until a model with another loop count is ready, in the same process; None if it failed."""
        if self.note:
            return None
        self.process.stdin.write(f"loops {loops}\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.note = answer.get("note")
        return answer.get("compile_ms")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(name, case):
    """The process of a peer: one line for what was loaded, then one for each line that comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints does not belong to the answers

    def say(**answer):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    kind = PEERS[name]
    if not all(importlib.util.find_spec(module) for module in kind.needs):
        return say(note=f"not installed: {kind.install}")
    try:
        peer = kind(case)
    except Unsupported as reason:
        return say(note=str(reason))
    peer.run()  # the first round finds cold caches
    say(version=importlib.metadata.version(kind.package), compile_ms=peer.compile_ms)
    for line in sys.stdin:
        if line.startswith("loops "):  # what another loop count costs before its first step is done
            del peer
            peer = kind(case._replace(loops=int(line.split()[1])))
            say(compile_ms=peer.compile_ms)
        else:
            say(times=peer.run())


if __name__ == "__main__":
    serve(sys.argv[1], Case(**json.loads(sys.argv[2])))
