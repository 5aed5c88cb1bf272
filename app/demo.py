"""`make demo`: the whole story on a real table, from upload to a prediction by the downloaded file."""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from app.cli import main as assay
from app.cli import parser
from app.run import private_service, request_of, watch

SECONDS = 30.0
console = Console()


def main() -> int:
    """Exit code 0 when every step worked."""
    with tempfile.TemporaryDirectory(prefix="assay-demo-") as folder:
        return _demo(Path(folder))


def _demo(folder: Path) -> int:
    train, test, truth = write_tables(folder)
    console.rule("Assay demo: breast cancer, 455 rows to learn from, 114 to be judged on")
    with private_service(folder / "home") as client:
        console.print(f"service at {client.url}")
        dataset = client.upload(train)
        args = parser().parse_args(["run", str(train), "--target", "diagnosis", "--time", str(SECONDS)])
        job = client.call("POST", "/v1/jobs", request_of(args, dataset["id"], "classification"))
        console.print(f"[dim]POST /v1/jobs[/] -> {job['id']}")
        job = watch(client, job["id"], SECONDS)
        if job["status"] != "succeeded":
            console.print(f"[red]the job {job['status']}[/]: {job['error']}")
            return 1
        model_id = job["best"]["model_id"]
        bundle = client.download(model_id, folder / "model.zip")
        console.print(f"downloaded {bundle.name}: {bundle.stat().st_size / 1e3:.0f} kB")
        answer = client.call(
            "POST", f"/v1/models/{model_id}/predict", test.read_bytes(), content_type="text/csv", accept="text/csv"
        )
    service = [row["prediction"] for row in csv.DictReader(answer.decode().splitlines())]
    code = "import sys, assay; print('\\n'.join(map(str, assay.load(sys.argv[1]).predict(sys.argv[2]))))"
    out = subprocess.run(
        [sys.executable, "-c", code, str(bundle), str(test)], capture_output=True, text=True, check=True
    )
    local = out.stdout.split()
    right = sum(a == b for a, b in zip(local, truth, strict=True))
    console.print(f"the downloaded file, loaded in a new process, is right on {right} of {len(truth)} unseen rows")
    if local != service:
        console.print("[red]the file and the service do not answer the same[/]")
        return 1
    console.print("the service answers the same.  Next: [bold]make serve[/], then open http://127.0.0.1:8000/docs")
    return 0


def write_tables(folder: Path) -> tuple[Path, Path, list[str]]:
    """A real table that scikit-learn carries: (training file, test file without the target, its true labels)."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer(as_frame=True)
    frame = data.data.round(5)
    labels = data.target.map(dict(enumerate(data.target_names)))
    x, x_test, y, y_test = train_test_split(frame, labels, test_size=0.2, random_state=0, stratify=labels)
    train, test = folder / "train.csv", folder / "test.csv"
    x.assign(diagnosis=y).to_csv(train, index=False)
    x_test.to_csv(test, index=False)
    return train, test, list(y_test)


if __name__ == "__main__":
    raise SystemExit(main() if len(sys.argv) == 1 else assay(sys.argv[1:]))
