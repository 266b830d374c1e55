"""Prove and measure the toolkit on a GPU, in parts, each within its seconds: `make gpu`.

`python benchmarks/gpu.py [--parts tests,throughput,accuracy] [--budget 120,180,300]`

- `tests`: tests/test_cuda.py, the half that needs CUDA;
- `throughput`: `gpu_throughput.py`, the table gpu.csv;
- `accuracy`: `gpu_accuracy.py` trains `--study` as far as its seconds carry. `--data` names the
  folder of raw data, or an archive that `pack.py` has made of it.

Each part is a process, ended when its seconds are over; what it has measured or trained until then
lies under `--to`. At the end summary.csv says how each part went. On a machine without a GPU
`--device cpu --size 64 --width 0.125 --batches 2 --slices 8 --budget 20` tries everything out.
`--wheels DIR` puts the packages that a machine lacks on the path, see docs/servers.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
PARTS = ("tests", "throughput", "accuracy")


def main() -> None:
    """Run the parts and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--budget", default="120,180,240", help="seconds: one for all, or a part's")
    parser.add_argument("--to", type=Path, default=ROOT / "papermill_runs" / "gpu")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batches", default="8,32,16,64")
    parser.add_argument("--slices", type=int, default=50)
    parser.add_argument("--networks", default="Inf-Net,U-Net of stage 1,U-Net of stage 2")
    parser.add_argument("--block", type=float, default=0.3, help="seconds that are timed at once")
    parser.add_argument("--study", default="covid_semiseg")
    parser.add_argument("--data", type=Path, help="folder of raw data, or its archive")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that this machine lacks")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)}; there are {list(PARTS)}")
    seconds = [float(number) for number in options.budget.split(",")]
    if len(seconds) not in (1, len(parts)):
        parser.error(f"--budget has {len(seconds)} numbers for {len(parts)} parts")
    budgets = dict(zip(parts, seconds * (1 if len(seconds) > 1 else len(parts)), strict=True))
    options.to = options.to.resolve()
    options.to.mkdir(parents=True, exist_ok=True)
    environment = environment_of(options)
    device = device_of(environment)
    if options.device == "cuda" and device == "cpu":
        sys.exit("no CUDA device here; --device cpu tries the parts out on the processor")
    rows = []
    for part in parts:
        began = time.perf_counter()
        outcome = run(
            command(part, budgets[part], options),
            budgets[part],
            environment,
            options.to / f"{part}.log",
        )
        row = {"part": part, "outcome": outcome, "seconds": round(time.perf_counter() - began, 1)}
        rows.append({**row, "result": SUMMARIES[part](options.to)})
        write_rows(options.to / "summary.csv", rows)
    if device != "cpu" and (options.to / "gpu.csv").is_file():
        (HERE / "gpu.csv").write_bytes((options.to / "gpu.csv").read_bytes())
    print(f"on {device}, under {options.to}:")
    for row in rows:
        print(f"{row['part']}: {row['outcome']} after {row['seconds']} s: {row['result']}")
    if any(row["outcome"].startswith("failed") for row in rows):
        sys.exit(1)


def environment_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the environment of the parts: this checkout, unpacked wheels, the device asked for."""
    paths = [str(ROOT)]
    if options.wheels is not None:
        site = options.to / "wheels"
        for wheel in sorted(options.wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:  # what pip does for a wheel without scripts
                archive.extractall(site)
        paths.append(str(site))
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    more = {"PYTHONPATH": os.pathsep.join(paths), "MPLBACKEND": "Agg"}
    more["SSINFNET_ROOT"] = os.environ.get("SSINFNET_ROOT", str(ROOT))
    # Sums of matrix products in one order, where a test asks for it
    more["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    if options.device == "cpu":
        more["CUDA_VISIBLE_DEVICES"] = ""
    return {**os.environ, **more, "PYTHONUNBUFFERED": "1"}


def device_of(environment: dict[str, str]) -> str:
    """Return the name of the device that the parts will take."""
    asked = (
        "import torch; c = torch.cuda; print(c.get_device_name() if c.is_available() else 'cpu')"
    )
    answer = subprocess.run(
        [sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def command(part: str, seconds: float, options: argparse.Namespace) -> list[str]:
    """Return what to run for a part."""
    shared = ["--to", str(options.to), "--seconds", str(seconds)]
    if part == "tests":
        # Another machine's packages may warn of what ours do not.
        return ["-m", "pytest", "tests/test_cuda.py", "-v", "-rs", "-W", "default", "-p",
                "no:cacheprovider", "-k", options.device]  # fmt: skip
    if part == "throughput":
        measured = ["size", "width", "batches", "slices", "networks", "block"]
        more = [word for key in measured for word in (f"--{key}", str(getattr(options, key)))]
        return [str(HERE / "gpu_throughput.py"), *shared, *more]
    data = ["--data", str(unpacked(options))] if options.data else []
    return [str(HERE / "gpu_accuracy.py"), options.study, *shared, *data]


def unpacked(options: argparse.Namespace) -> Path:
    """Return the folder of raw data, which an archive is unpacked into."""
    if options.data.is_dir():
        return options.data
    with zipfile.ZipFile(options.data) as archive:
        archive.extractall(options.to / "data")
    return options.to / "data"


def run(words: list[str], seconds: float, environment: dict[str, str], log: Path) -> str:
    """Run Python, its output into a log; return how it ended."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return "ended at its budget"
        finally:
            try:  # what the part has started ends with it
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    if status:
        return f"failed with status {status}, see {log}"
    return "finished"


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write a table, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text.getvalue(), encoding="utf-8")
    temporary.replace(path)


def tests_result(folder: Path) -> str:
    """Count how tests ended and write tests.csv, from the log, which a killed run leaves too."""
    text = (folder / "tests.log").read_text(encoding="utf-8")
    ended = re.findall(r"^\S+::(\S+) (PASSED|FAILED|ERROR|SKIPPED)", text, re.MULTILINE)
    rows = [{"test": name, "outcome": outcome.lower()} for name, outcome in ended]
    if not rows:
        return "no test ran"
    write_rows(folder / "tests.csv", rows)
    outcomes = [row["outcome"] for row in rows]
    kinds = [kind for kind in ("passed", "failed", "error", "skipped") if kind in outcomes]
    return ", ".join(f"{outcomes.count(kind)} {kind}" for kind in kinds)


def throughput_result(folder: Path) -> str:
    """Say the epochs' ratios, and the fastest step of each network."""
    rows = read_rows(folder / "gpu.csv")
    measured = [row for row in rows if row["images_per_second"]]
    said = [
        f"{row['network']} trains at {row['times_plain']} of the plain loop"
        for row in measured
        if row["pass"] == "epoch" and row["variant"] == "ours"
    ]
    steps = [row for row in measured if row["pass"] == "step"]
    for network in dict.fromkeys(row["network"] for row in steps):
        best = max(
            (row for row in steps if row["network"] == network),
            key=lambda row: float(row["images_per_second"]),
        )
        said.append(
            f"{network} {best['images_per_second']} images/s a step ({best['variant']}, batch "
            f"{best['batch']}, {float(best['share_of_bf16_peak']):.1%} of the bf16 peak)"
        )
    failed = len(rows) - len(measured)
    return "; ".join([f"{len(measured)} rows", *([f"{failed} failed"] if failed else []), *said])


def accuracy_result(folder: Path) -> str:
    """Say which networks are trained, with their F1."""
    rows = read_rows(folder / "accuracy.csv")
    scored = [f"{row['parameters']}: F1 {row['F1_mean']}" for row in rows if row.get("F1_mean")]
    return "; ".join([f"{len(rows)} notebooks", *scored])


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, none where there is no table."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


SUMMARIES = {
    "tests": tests_result,
    "throughput": throughput_result,
    "accuracy": accuracy_result,
}


if __name__ == "__main__":
    main()
