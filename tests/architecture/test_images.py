"""The rules of our images, checked on the text of the Dockerfile: no build is needed to see a broken one."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Instruction:
    name: str
    words: str
    stage: str


def read(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile with their stage; continued lines are joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Instruction] = []
    stage = ""
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, _, words = line.partition(" ")
        if name.upper() == "FROM":
            stage = words.split()[-1]
        found.append(Instruction(name.upper(), words.strip(), stage))
    return found


def ancestors(instructions: list[Instruction], stage: str) -> list[str]:
    """The stage and the stages it is built on, nearest first."""
    parents = {i.words.split()[-1]: i.words.split()[0] for i in instructions if i.name == "FROM"}
    chain = [stage]
    while parents.get(chain[-1]) in parents:
        chain.append(parents[chain[-1]])
    return chain


def problems(text: str) -> list[str]:
    """What is wrong with a Dockerfile; each entry is a sentence."""
    instructions = read(text)
    stages = [i.words.split()[-1] for i in instructions if i.name == "FROM"]
    found: list[str] = []
    for i in instructions:
        if i.name == "FROM" and i.words.split()[0] not in stages:
            image, _, tag = i.words.split()[0].partition(":")
            if not re.match(r"\d+\.\d+", tag):
                found.append(f"the tag of the base image {image} is not pinned: {tag or 'none'}")
        if i.name == "ADD":
            found.append(f"ADD fetches and unpacks unseen; use COPY: {i.words}")
        if i.name in {"CMD", "ENTRYPOINT"} and not _is_exec_form(i.words):
            found.append(f"{i.name} is not in exec form, so signals do not arrive: {i.words}")
        if i.name == "HEALTHCHECK" and not _is_exec_form(i.words.partition("CMD ")[2]):
            found.append(f"HEALTHCHECK is not in exec form: {i.words}")
        if i.name == "RUN" and "apt-get install" in i.words:
            if "rm -rf /var/lib/apt/lists" not in i.words:
                found.append("the lists of apt stay in a layer")
            if "--no-install-recommends" not in i.words or "apt-get update" not in i.words:
                found.append("apt-get install needs `apt-get update &&` before and --no-install-recommends")
        if i.name == "RUN" and "pip install" in i.words and "--no-cache-dir" not in i.words:
            found.append("pip leaves its cache in a layer")
        if i.name == "RUN" and re.search(r"\b(sudo|curl|wget)\b", i.words):
            found.append(f"nothing is downloaded outside the package managers: {i.words}")
        if i.name in {"ENV", "ARG"} and re.search(r"(?i)(password|secret|token|api_?key)", i.words):
            found.append(f"a secret does not belong into an image: {i.words}")
        if i.name == "COPY" and re.match(r"(--\S+\s+)*\.\s", i.words):
            found.append("COPY . takes along whatever lies there; name what is needed")
    for stage in ("api", "worker"):
        if stage not in stages:
            found.append(f"there is no target {stage}")
            continue
        users = [
            i.words
            for name in ancestors(instructions, stage)
            for i in instructions
            if (i.name, i.stage) == ("USER", name)
        ]
        if not users or users[0].split(":")[0] in {"root", "0"}:
            found.append(f"the target {stage} runs as root")
        if not any(i.name in {"CMD", "ENTRYPOINT"} and i.stage == stage for i in instructions):
            found.append(f"the target {stage} does not say what it runs")
    return found


def _is_exec_form(words: str) -> bool:
    try:
        return isinstance(json.loads(words), list)
    except ValueError:
        return False


def test_the_dockerfile_keeps_the_rules() -> None:
    assert problems((ROOT / "Dockerfile").read_text(encoding="utf-8")) == []


GOOD = """
FROM python:3.11-slim-bookworm AS base
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \\
    && rm -rf /var/lib/apt/lists/*
USER 10001
FROM base AS api
CMD ["assay", "serve"]
FROM base AS worker
CMD ["assay", "worker"]
"""


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("python:3.11-slim-bookworm", "python:latest", "not pinned"),
        ("python:3.11-slim-bookworm", "python", "not pinned"),
        ("USER 10001", "USER root", "runs as root"),
        ("USER 10001", "", "runs as root"),
        ('CMD ["assay", "serve"]', "CMD assay serve", "exec form"),
        ("    && rm -rf /var/lib/apt/lists/*", "    && true", "lists of apt"),
        ("USER 10001", "ADD https://example.com/x.tgz /\nUSER 10001", "use COPY"),
        ("USER 10001", "COPY . /src\nUSER 10001", "name what is needed"),
        ("USER 10001", "ENV API_KEY=abc\nUSER 10001", "secret"),
        ("FROM base AS worker", "FROM base AS trainer", "no target worker"),
    ],
)
def test_the_rules_notice(good: str, bad: str, said: str) -> None:
    assert problems(GOOD) == []
    assert any(said in problem for problem in problems(GOOD.replace(good, bad)))


def test_everything_the_dockerfile_copies_is_there_and_let_through_by_dockerignore() -> None:
    kept = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    for i in read((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if i.name != "COPY" or "--from=" in i.words:
            continue
        for source in i.words.split()[:-1]:
            assert (ROOT / source).exists(), f"the Dockerfile copies {source}, which is not there"
            assert source in kept, f".dockerignore keeps {source} from the Dockerfile"


def test_every_shipped_package_is_in_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {
        word
        for i in read((ROOT / "Dockerfile").read_text(encoding="utf-8"))
        if i.name == "COPY"
        for word in i.words.split()
    }
    assert packages <= copied
