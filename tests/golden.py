"""Numbers of every command, from fixed inputs, to show that a change of form changes none.

    python tests/golden.py run OUT --workers 2      # or --only CASE, which may be repeated
    python tests/golden.py compare BEFORE AFTER     # exit code 1 if a number differs

`run` calls ``python -m dynanoise`` with the package on the path. OUT/CASE.numbers.json holds rows
and settings under canonical names, numbers as hexadecimal floats, without times, versions and
prose; OUT/digests.json their digests. The cases `show_...` read ``results`` of the working folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

CANONICAL = {"contender": "method", "--contender": "--defense", "records": "results"}
"""Names of options, fields, files, arrays and values that were renamed: before, and after."""

VARYING = {"seconds", "hardware", "versions", "command", "workers", "format", "made"}
"""Fields that differ between runs or say how a file is written."""

LIMIT = 900
"""Seconds of a command, and of the gateway's start."""


def bench(options: str, protocols: str, methods: str) -> str:
    """A command line of `dynanoise bench`."""
    words = [f"--protocol {name}" for name in protocols.split()]
    words += [f"--defense {name}" for name in methods.split()]
    return " ".join(["bench", options, *words, "--workers WORKERS --out OUT"])


def audit(options: str) -> str:
    """A command line of `dynanoise audit`."""
    return f"audit {options} --json"


OTHERS = "adaptive adaptive_key adaptive_architecture adaptive_recipe adaptive_disjoint"
KEEPERS = "dynanoise_keyed cells calibrated_label"
FRESH = "--defense dynanoise(base_variance=0.3,lambda_scale=2,temperature=10)"
SAMPLES = FRESH.replace(")", ",samples=3,keep_label=True)")
TABLES = "--members in.npz --nonmembers out.npz"
KEPT = "breast_cancer cifar10 cifar10_queries digits digits_mismatch imagenet10"

SWEEP = "sweep temperature digits --values 1,2,10 --seeds 3 --store STORE --out OUT"
COMMANDS = {
    "bench_usual": bench(
        "digits --seeds 3 --store STORE",
        "paper adaptive adaptive_16",
        f"temperature static dynanoise {KEEPERS}",
    ),
    "sweep": f"{bench('digits --store STORE', 'paper', 'dynanoise')} && {SWEEP}",
    "bench_others": bench("digits --seeds 1 --store STORE", OTHERS, "dynanoise dynanoise_keyed"),
    "bench_trained": bench("digits --seeds 1 --store STORE", "adaptive", "relaxloss hamp"),
    "bench_peers": bench("digits --seeds 1 --store STORE", "paper", "memguard selena hamp dpsgd"),
    "bench_canaries": bench(
        "digits --canaries 60 --store STORE", "adaptive", "dynanoise dynanoise_keyed"
    ),
    "bench_near": bench(
        "images.npz --seeds 1 --store STORE", "adaptive_near adaptive", "dynanoise"
    ),
    "audit_one": audit("one.npz --fail-if auc>0.6 --out OUT"),
    "audit_one_fresh": audit(f"one.npz {FRESH} --queries 1 --queries 4 --seed 3 --out OUT"),
    "audit_table": audit("one.csv --out OUT"),
    "audit_eight": audit("eight.npz --fail-if tpr@0.01>0.9 --out OUT"),
    "audit_eight_fresh": audit(f"eight.npz {FRESH} --out OUT"),
    "audit_eight_keyed": audit("eight.npz --defense keyed.yaml --out OUT"),
    "audit_model": audit(f"--model m.onnx {TABLES} --defense keyed.yaml --out OUT"),
    "audit_url": audit(f"--url URL {TABLES}"),
    "audit_url_known": audit(
        f"--url URL {TABLES} --defense keyed.yaml --model m.onnx --queries 3 --out OUT"
    ),
    "tune": "tune eight.npz --trials 20 --max-nll 1.3 --seed 5 --workers WORKERS --out OUT",
    "export_fresh": f"export m.onnx {FRESH} --out OUT/m.onnx",
    "export_samples": f"export m.onnx {SAMPLES} --out OUT/m.onnx",
    "export_temperature": "export m.onnx --defense temperature(temperature=4) --out OUT/m.onnx",
    **{f"show_{name}": f"show RESULTS/{name} --markdown" for name in f"{KEPT} sst2".split()},
    "show_overhead": "show RESULTS/overhead --markdown",
}
"""Cases. Words in capitals stand for places, URL for a gateway before m.onnx."""


def canonical(value: Any) -> Any:
    """A value of JSON under canonical names, with hexadecimal numbers and without what varies."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in VARYING and item is not None}
        if isinstance(kept.get("notes"), list):
            kept["notes"] = numerals(" ".join(kept["notes"]))
        named = {CANONICAL.get(key, key): canonical(item) for key, item in kept.items()}
        if len(named) < len(kept):
            raise ValueError(f"{sorted(kept)} hold a field under two names.")
        return named
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, str):
        return CANONICAL.get(value, value)
    return value if isinstance(value, bool) or value is None else float(value).hex()


def numerals(text: str) -> list[str]:
    """Numbers in prose and tables, without those in names; +.5 is 0.5."""
    found = re.findall(r"(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?![\d.]*[A-Za-z_])", text)
    return [re.sub(r"^(-?)\.", r"\g<1>0.", number.removeprefix("+")) for number in found]


def contents(text: str) -> Any:
    """What a file of JSON holds; of results the rows, each with what all share, in fixed order."""
    body = json.loads(text)
    if not isinstance(body, dict) or "shared" not in body:
        return canonical(body)
    name = next(name for name in ("results", "records") if name in body)
    rows = [canonical({**body["shared"], **row}) for row in body[name]]
    names = ("preset", "protocol", "method", "attack", "seed")
    return sorted(rows, key=lambda row: [*(row.get(name, "") for name in names), json.dumps(row)])


def array_of(array: npt.NDArray[Any]) -> dict[str, Any]:
    """The digest and the size of an array."""
    content = f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()
    return {"array": hashlib.sha256(content).hexdigest(), "numbers": array.size}


def samples_of(path: Path) -> dict[str, Any]:
    """Digests of the arrays of samples, and their index without the digest of the results."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    index = canonical(json.loads(arrays.pop("index").tobytes()))
    numbers = {key: item for key, item in index.items() if key != "results"}
    for name, array in arrays.items():
        numbers[".".join(CANONICAL.get(part, part) for part in name.split("."))] = array_of(array)
    return numbers


def answers_of(path: Path) -> dict[str, Any]:
    """What an exported graph answers about a table, given fixed normals."""
    import onnxruntime

    with np.load(path.parents[1] / "inputs" / "out.npz") as table:
        given = {"x": table["X"]}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for entry in session.get_inputs()[1:]:
        shape = entry.shape[0], len(given["x"]), entry.shape[-1]
        given[entry.name] = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    return array_of(session.run(None, given)[0])


READERS: dict[str, Any] = {
    ".json": lambda path: contents(path.read_text()),
    ".yaml": lambda path: canonical(yaml.safe_load(path.read_text())),
    ".csv": lambda path: [row.split(",") for row in path.read_text().splitlines()[1:]],
    ".npz": samples_of,
    ".onnx": answers_of,
}


def count_of(value: Any) -> int:
    """How many numbers a canonical value holds, those of arrays included."""
    if isinstance(value, dict):
        return value["numbers"] if "array" in value else sum(map(count_of, value.values()))
    if isinstance(value, list):
        return sum(map(count_of, value))
    return int(isinstance(value, str) and re.fullmatch(r"-?0x\S+|[-+\d.,e]+", value) is not None)


def write_inputs(folder: Path) -> None:
    """Files that the commands read: answers with a planted leak, a model with tables, images."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    labels, truth = generator.integers(0, 4, 600), generator.integers(0, 4, 300)
    member = (generator.random((8, 600)) < 0.5).astype(np.int8)
    logits = generator.normal(0, 1, (8, 600, 4)) + generator.normal(0, 1, (600, 4))
    logits[:, np.arange(600), labels] += 2 + 2 * member
    test = generator.normal(0, 1, (8, 300, 4)) + 2 * np.eye(4)[truth]
    for name, row in (("eight", slice(None)), ("one", 0)):
        answers: Any = {"logits": logits[row], "test_logits": test[row], "member": member[row]}
        np.savez(folder / f"{name}.npz", labels=labels, test_labels=truth, **answers)
    probs = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=-1, keepdims=True)
    table = np.column_stack([probs, labels, member[0]])
    lines = [",".join(f"{number:.17g}" for number in row) for row in table]
    (folder / "one.csv").write_text("\n".join(["p0,p1,p2,p3,label,member", *lines]))
    kinds = np.arange(120) % 3
    images = generator.integers(60, 200, (3, 8, 8, 3))[kinds]
    images = np.clip(images + generator.normal(0, 40, images.shape), 0, 255)
    np.savez(folder / "images.npz", X=images.astype(np.uint8), y=kinds)
    weights = generator.normal(0, 1, (8, 4)).astype(np.float32)
    inputs = generator.normal(0, 1, (600, 8)).astype(np.float32)
    inputs[:300] += 0.2 * weights.T[labels[:300]]
    np.savez(folder / "in.npz", X=inputs[:300], y=labels[:300])
    np.savez(folder / "out.npz", X=inputs[300:], y=labels[300:])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("x", 8), ("logits", 4))
    ]
    product = helper.make_node("MatMul", ["x", "w"], ["logits"])
    layer = numpy_helper.from_array(weights, "w")
    graph = helper.make_graph([product], "m", ends[:1], ends[1:], [layer])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "m.onnx")
    digest = hashlib.sha256((folder / "m.onnx").read_bytes()).hexdigest()
    (folder / "fixed.key").write_text("5f" * 32)
    (folder / "fixed.key").chmod(0o600)
    noise = {"name": "keyed", "cell_width": 2.0, "model": "m", "weights": digest}
    noise["key"] = "file:fixed.key"
    defense = {"name": "dynanoise", "base_variance": 0.3, "temperature": 4.0, "keep_label": True}
    body = {"version": 1, "defense": defense, "noise": noise}
    (folder / "keyed.yaml").write_text(yaml.safe_dump(body))


class Cases:
    """Runs cases in a folder."""

    def __init__(self, out: Path, workers: int) -> None:
        self.out, self.inputs, self.kept = out, out / "inputs", Path("results").resolve()
        self.places = {"STORE": str(out / "store"), "WORKERS": str(workers)}
        self.environment = {**os.environ, "COLUMNS": "200", "DYNANOISE_API_KEY": ""}
        write_inputs(self.inputs)
        print(self._python("-c", "import dynanoise; print(dynanoise.__file__)").stdout, end="")
        usage = self._python("-m", "dynanoise", "bench", "--help").stdout.split()
        options = {new: old for old, new in CANONICAL.items() if old.startswith("--")}
        self.bench_options = {new: old for new, old in options.items() if old in usage}

    def _python(self, *words: str) -> subprocess.CompletedProcess[str]:
        how: Any = {"cwd": self.inputs, "env": self.environment, "timeout": LIMIT}
        command = [sys.executable, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, **how)

    def run(self, case: str) -> tuple[int, dict[str, Any]]:
        """The exit code and the numbers of a case."""
        folder, numbers, code = self.out / case, {}, 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for command in COMMANDS[case].split(" && "):
            if "URL" in command:
                with self._gateway(folder) as url:
                    done = self._called(command.replace("URL", url), folder)
            else:
                done = self._called(command, folder)
            if done.returncode:
                print(case, "exit", done.returncode, done.stderr.strip()[-300:])
            code = max(code, done.returncode)
            lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
            json_wanted = command.endswith("--json") and done.stdout
            numbers["printed"] = contents(done.stdout) if json_wanted else numerals(" ".join(lines))
        for path in sorted(folder.iterdir()):
            if path.suffix in READERS:
                name = CANONICAL.get(path.stem, path.stem) + path.suffix
                numbers[name] = READERS[path.suffix](path)
        return code, numbers

    def _called(self, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        names = self.places | (self.bench_options if command.startswith("bench ") else {})
        words = [names.get(word, word) for word in command.split()]
        words = [word.replace("OUT", str(folder), word.startswith("OUT")) for word in words]
        for number, word in enumerate(words):
            if word.startswith("RESULTS/"):
                place = self.kept / word.removeprefix("RESULTS/")
                files = [place / f"{name}.json" for name in ("results", "records")]
                words[number] = str(next(path for path in files if path.exists()))
        return self._python("-m", "dynanoise", *words)

    @contextmanager
    def _gateway(self, folder: Path) -> Iterator[str]:
        """The address of m.onnx behind a gateway; its answers to 64 records go into the folder."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "dynanoise", "serve", "--port", str(port), "--no-auth"]
        command += ["--rate", "0", "--budget", "0", "--model", "m.onnx", "--defense", "keyed.yaml"]
        with (folder / "gateway.log").open("w") as log:
            how: Any = {"cwd": self.inputs, "env": self.environment, "stderr": log}
            process = subprocess.Popen(command, **how)
        try:
            url, end = f"http://127.0.0.1:{port}/v2/models/m", time.monotonic() + LIMIT
            with np.load(self.inputs / "in.npz") as table:
                rows = table["X"][:64]
            tensor = {"name": "x", "datatype": "FP32", "shape": rows.shape}
            body = json.dumps({"inputs": [{**tensor, "data": rows.ravel().tolist()}]}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/infer", body, headers)
            while process.poll() is None and time.monotonic() < end:
                with suppress(OSError), urllib.request.urlopen(request, timeout=60) as response:
                    (folder / "answers.json").write_bytes(response.read())
                    break
                time.sleep(0.2)
            yield url
        finally:
            process.kill()
            process.wait()


def run(out: Path, workers: int, only: Sequence[str]) -> None:
    """Runs cases and writes their numbers and digests; all of them begin with an empty store."""
    out.mkdir(parents=True, exist_ok=True)
    if not only:
        shutil.rmtree(out / "store", ignore_errors=True)
    cases, file = Cases(out, workers), out / "digests.json"
    digests = json.loads(file.read_text()) if only and file.exists() else {}
    for case in only or COMMANDS:
        started = time.perf_counter()
        code, numbers = cases.run(case)
        text = json.dumps(numbers, indent=1, sort_keys=True) + "\n"
        (out / f"{case}.numbers.json").write_text(text)
        digest, count = hashlib.sha256(text.encode()).hexdigest(), count_of(numbers)
        digests[case] = {"sha256": digest, "numbers": count, "exit": code}
        file.write_text(json.dumps(digests, indent=1) + "\n")
        seconds = time.perf_counter() - started
        print(f"{case}: {count:,} numbers, exit {code}, {seconds:.0f} s", flush=True)


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Where two canonical values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from differences(before.get(key), after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from differences(*pair, f"{path}[{number}]")
    elif before != after:
        yield f"  {path}: {readable(before)} -> {readable(after)}"


def readable(value: Any) -> str:
    """A canonical value for people."""
    number = isinstance(value, str) and re.match("-?0x", value)
    text = repr(float.fromhex(value)) if number else str(value)
    return f"{len(value)} items" if isinstance(value, list) else text[:80]


def compare(before: Path, after: Path) -> bool:
    """Prints the first differences of each case; True if there are none."""
    folders, same = (before, after), True
    digests = [json.loads((folder / "digests.json").read_text()) for folder in folders]
    for case in sorted({*digests[0], *digests[1]}):
        first, second = (by_case.get(case) for by_case in digests)
        lines = []
        if first and second:
            texts = [(folder / f"{case}.numbers.json").read_text() for folder in folders]
            lines = list(differences(*map(json.loads, texts)))
        if lines or first != second:
            same = False
            print(f"{case}: {first} -> {second}; {len(lines)} differences", *lines[:5], sep="\n")
    print("The numbers are the same." if same else "The numbers differ.")
    return same


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases or compares two runs; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="run the cases")
    runs.add_argument("out", type=Path)
    runs.add_argument("--workers", type=int, default=1)
    runs.add_argument("--only", choices=COMMANDS, action="append", default=[], metavar="CASE")
    compares = commands.add_parser("compare", help="compare two runs")
    compares.add_argument("before", type=Path)
    compares.add_argument("after", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.command == "compare":
        return 0 if compare(chosen.before, chosen.after) else 1
    run(chosen.out.resolve(), chosen.workers, chosen.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
