"""What a mutation run found: the committed JSON, the arguments for survivors, the table."""

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunet.io import write_json
from tests.full.mutants import Mutant

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "mutation.json"
ARGUMENTS = HERE / "equivalent.toml"
VERDICTS = ("killed", "survived", "identical", "stillborn")

Key = tuple[str, str, str, str]  # file, where, line, mutated


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: a verdict, and the stage that it reached (see tests/full/forkserver.py)."""

    mutant: Mutant
    verdict: str
    stage: str
    detail: str


def key(mutant: Mutant) -> Key:
    """By what an argument names a mutant. An edit of the line makes the argument void."""
    return mutant.file, mutant.where, mutant.line, mutant.mutated


def read_arguments(known: Iterable[Mutant], path: Path = ARGUMENTS) -> tuple[dict[Key, str], list[str]]:
    """Return the proofs by mutant, and what is wrong with the file: entries that name no mutant, or two for one."""
    keys = {key(mutant) for mutant in known}
    proofs: dict[Key, str] = {}
    problems = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", []):
        for mutated in entry["mutated"] if isinstance(entry["mutated"], list) else [entry["mutated"]]:
            name = (entry["file"], entry["where"], entry["line"], mutated)
            if name not in keys:
                problems.append(f"{path.name}: no mutant of {name[0]} in {name[1]} turns {name[2]!r} into {name[3]!r}")
            if name in proofs:
                problems.append(f"{path.name}: two proofs for {name[0]}, {name[1]}: {name[3]!r}")
            proofs[name] = entry["proof"].strip()
    return proofs, problems


def killed_though_argued(fates: Iterable[Fate], proofs: dict[Key, str]) -> list[str]:
    return [
        f"{ARGUMENTS.name}: a mutant that is argued to be equivalent is {fate.verdict} in {fate.stage}: {fate.mutant}"
        for fate in fates
        if fate.verdict != "survived" and key(fate.mutant) in proofs
    ]


def part(text: str, fates: Iterable[Fate], proofs: dict[Key, str]) -> dict[str, Any]:
    """The results of one file."""
    fates = list(fates)
    operators: dict[str, Counter[str]] = {}
    for fate in fates:
        operators.setdefault(fate.mutant.operator, Counter())[fate.verdict] += 1
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "source": _digest(text),
        "operators": {name: {v: count[v] for v in VERDICTS if count[v]} for name, count in sorted(operators.items())},
        "killers": dict(Counter(_killer(fate) for fate in fates if fate.verdict == "killed").most_common()),
        "survivors": [
            {
                "line": fate.mutant.number,
                "where": fate.mutant.where,
                "operator": fate.mutant.operator,
                "original": fate.mutant.line,
                "mutated": fate.mutant.mutated,
                "proof": proofs.get(key(fate.mutant)),
            }
            for fate in fates
            if fate.verdict == "survived"
        ],
    }


def _killer(fate: Fate) -> str:
    return "timeout" if fate.detail == "timeout" else fate.stage


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _commit() -> str:
    def git(*command: str) -> str:
        result = subprocess.run(["git", *command], cwd=HERE, capture_output=True, text=True, check=False)
        return result.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "kernels", ":/kernels", ":/tests", ":/gpunet")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def save(parts: dict[str, Any], texts: dict[str, str], seconds: float, path: Path = RESULTS) -> dict[str, Any]:
    """Put the results of some files among those that are there; return those of all files that exist."""
    old = json.loads(path.read_text())["files"] if path.exists() else {}
    files = {file: {**old, **parts}[file] for file in sorted(texts) if file in parts or file in old}
    result: dict[str, Any] = {"total": summary(files), "files": files}
    if set(parts) == set(texts):
        result["total"]["seconds"] = round(seconds)
    path.parent.mkdir(exist_ok=True)
    write_json(path, result)
    return files


def counts(files: Iterable[dict[str, Any]], operator: str | None = None) -> Counter[str]:
    """Count verdicts, of one operator or of all; "argued" are survivors with a proof."""
    total: Counter[str] = Counter()
    for file in files:
        for name, verdicts in file["operators"].items():
            if operator in (None, name):
                total.update(verdicts)
        total["argued"] += sum(s["proof"] is not None and operator in (None, s["operator"]) for s in file["survivors"])
    return total


def summary(files: dict[str, Any]) -> dict[str, Any]:
    total = counts(files.values())
    mutants = total["killed"] + total["survived"]
    killers = sum((Counter(file["killers"]) for file in files.values()), Counter())
    return {
        "mutants": mutants,
        "killed": total["killed"],
        "score": round(total["killed"] / mutants, 4) if mutants else 1.0,
        "survived": total["survived"],
        "argued": total["argued"],
        "identical": total["identical"],
        "stillborn": total["stillborn"],
        "killers": dict(killers.most_common()),
    }


def table(files: dict[str, Any], texts: dict[str, str]) -> Iterator[str]:
    """Lines for people: by file, by operator, by killer, and each survivor."""
    columns = (*VERDICTS[:2], "argued", *VERDICTS[2:])

    def row(name: str, total: Counter[str]) -> str:
        mutants = total["killed"] + total["survived"]
        share = f"{total['killed'] / mutants:8.1%}" if mutants else f"{'-':>8}"
        return f"{name:18}{mutants:8}" + "".join(f"{total[column]:10}" for column in columns) + share

    heading = f"{'':18}{'mutants':>8}" + "".join(f"{column:>10}" for column in columns) + f"{'killed':>8}"
    yield heading
    for file, result in files.items():
        stale = "  (the file has changed since)" if result["source"] != _digest(texts[file]) else ""
        yield row(file, counts([result])) + stale
    yield row("all", counts(files.values()))
    yield ""
    yield heading
    for operator in sorted({operator for result in files.values() for operator in result["operators"]}):
        yield row(operator, counts(files.values(), operator))
    yield ""
    yield "killed by: " + ", ".join(f"{stage} {count}" for stage, count in summary(files)["killers"].items())
    for file, result in files.items():
        for survivor in result["survivors"]:
            yield f"\n{file}:{survivor['line']} in {survivor['where']}, {survivor['operator']}"
            yield f"  - {survivor['original']}\n  + {survivor['mutated']}"
            yield f"  {survivor['proof'] or 'SURVIVED WITHOUT A PROOF'}"
