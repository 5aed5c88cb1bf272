"""From a decision to proposals: what every worker does after every change of a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from assay.families import discover as families
from assay.search.expected import expected_seconds, keeps_time, shortest_share
from assay.search.plan import BuildModel, FinishJob, JobSnapshot, StartTrials, plan, search_seconds_left
from assay.search.store import Ahead, Decided, Outcome, Started, Store, ended, with_work
from assay.search.strategies import discover as strategies
from assay.search.trial import Facts, History, Proposal, Report, Trial, TrialStatus, Verdict
from assay.space import build

MAX_ROUNDS = 20  # a lost race is tried again; this many in a row means that others are advancing the job


def advance(store: Store, job: str) -> int:
    """Plan until nothing is left to decide.  Returns how many trials and builds that queued."""
    new = 0
    for _ in range(MAX_ROUNDS):
        snapshot = store.snapshot(job)
        decisions = decide(snapshot)
        if not decisions:
            break
        if store.apply(job, snapshot.revision, decisions):
            new += queued(decisions)
            if _settled(decided(snapshot, decisions)):
                break
    return new


def queued(decisions: Sequence[Decided]) -> int:
    """How many trials and builds the decisions queue."""
    return sum(len(d.proposals) if isinstance(d, Started) else isinstance(d, BuildModel) for d in decisions)


def look_ahead(snapshot: JobSnapshot, number: int, outcome: Outcome) -> Ahead:
    """What to do once trial `number` has ended so, thought out while it is not yet written."""
    trials = tuple(ended(t, outcome) if t.number == number else t for t in snapshot.trials)
    now = replace(snapshot, trials=trials)
    decisions = decide(now)
    after = decided(now, decisions)
    return Ahead(snapshot.revision, decisions, after, _settled(after))


def decide(snapshot: JobSnapshot) -> tuple[Decided, ...]:
    """The plan, with what the strategy wants tried filled in."""
    return tuple(ask(snapshot, a.n) if isinstance(a, StartTrials) else a for a in plan(snapshot))


def decided(snapshot: JobSnapshot, decisions: Sequence[Decided]) -> JobSnapshot | None:
    """The job as it is once a store has applied the decisions; None where that has to be read from the store."""
    for decision in decisions:
        if isinstance(decision, FinishJob):
            return None
        snapshot = with_work(snapshot, decision)
    return snapshot


def _settled(snapshot: JobSnapshot | None) -> bool:
    return snapshot is not None and not plan(snapshot)


def ask(snapshot: JobSnapshot, n: int) -> Started:
    """The strategy's proposals for the next n trials, cleaned of anything a plug-in may get wrong."""
    past = history(snapshot)
    answer: list[Proposal] = []
    portion = 1 if snapshot.counted else n  # how many are asked for at once must not matter there
    while len(answer) < n:
        seen = with_open(past, answer)
        if snapshot.counted:
            seen = settled(seen, seen.next_number, snapshot.side_by_side)
        found = _proposed(snapshot, seen, min(portion, n - len(answer)))
        answer += found
        if not found or portion > 1:
            break
    proposals: list[Proposal] = []
    steps: list[int] = []
    for p in answer[:n]:
        space = snapshot.spaces[p.family]
        config = space.complete(p.config)
        if not space.contains(config):
            raise ValueError(f"strategy {snapshot.strategy!r} proposed {p.config!r}, which is outside {p.family!r}")
        proposals.append(Proposal(p.family, config, p.note))
        steps.append(_total_steps(p.family, config, past.facts.n_folds))
    return Started(tuple(proposals), snapshot.strategy, tuple(steps))


def _proposed(snapshot: JobSnapshot, seen: History, n: int) -> list[Proposal]:
    rng = np.random.default_rng([snapshot.seed, seen.next_number])
    answer = _warm(snapshot, seen, n)
    if len(answer) < n:
        left = with_open(seen, answer)
        answer += strategies()[snapshot.strategy].propose(left, snapshot.spaces, rng, n - len(answer))
    return answer


def settled(past: History, number: int, side_by_side: int) -> History:
    """What trial `number` of a counted job may know: results of trials up to number - side_by_side, and no seconds.

    Later ones may have ended or not, as chance will have it, so they are shown as waiting.
    """

    def shown(t: Trial) -> Trial:
        if t.number == number:
            return t
        if t.number > number - side_by_side:
            return Trial(t.number, t.family, t.config, TrialStatus.QUEUED, note=t.note)
        return replace(t, seconds=None if t.seconds is None else 1.0)

    left = past.facts.trials_left
    if left is not None:
        left += len(past.trials) - number
    trials = tuple(shown(t) for t in past.trials if t.number <= number)
    return replace(past, trials=trials, facts=replace(past.facts, trials_left=left))


def judge(snapshot: JobSnapshot, trial: Trial, report: Report) -> Verdict:
    """What the strategy says of a running trial's report."""
    seen = history(snapshot)
    if snapshot.counted:
        seen = settled(seen, trial.number, snapshot.side_by_side)
    return strategies()[snapshot.strategy].judge(seen, trial, report)


def _warm(snapshot: JobSnapshot, past: History, n: int) -> list[Proposal]:
    """Up to n untried configurations that did well in the job that this one was told to start from."""
    tried = past.keys(snapshot.spaces)
    found: list[Proposal] = []
    for start in (snapshot.facts or {}).get("warm_starts", ()):
        space = snapshot.spaces.get(start["family"])
        config = (
            None if space is None else space.complete({d.name: start["config"].get(d.name, d.default) for d in space})
        )
        if space is None or config is None or not space.contains(config):
            continue  # another version of the family
        key = (start["family"], space.key(config))
        if key not in tried and len(found) < n:
            tried.add(key)
            found.append(Proposal(start["family"], config, "warm start"))
    return found


def with_open(past: History, proposals: list[Proposal]) -> History:
    """The history as it will be once the proposals wait for a worker."""
    new = [
        Trial(past.next_number + i, p.family, p.config, TrialStatus.QUEUED, note=p.note)
        for i, p in enumerate(proposals)
    ]
    return replace(past, trials=(*past.trials, *new))


def history(snapshot: JobSnapshot) -> History:
    """What a strategy may look at."""
    known: Mapping[str, Any] = snapshot.facts or {}
    left = np.inf if snapshot.counted else search_seconds_left(snapshot)
    facts = Facts(
        kind=str(known.get("kind", "")),
        n_rows=int(known.get("n_rows", 0)),
        n_features=int(known.get("n_features", 0)),
        n_folds=int(known.get("n_folds", 1)),
        n_classes=int(known.get("n_classes", 0)),
        side=int(known.get("side", 0)),
        chars=float(known.get("chars", 0.0)),
        seconds_left=None if np.isinf(left) else left,
        trials_left=None if snapshot.limits.trials is None else snapshot.limits.trials - len(snapshot.trials),
        slots=snapshot.slots,
        perfect=known.get("perfect"),
    )
    if facts.seconds_left is not None:  # without a clock a search must not depend on how fast the machine is
        keep_time = frozenset(f for f in snapshot.spaces if keeps_time(f))
        shortest = {f: share for f in snapshot.spaces if (share := shortest_share(f)) < 1.0}
        facts = replace(
            facts, expected=expected_seconds(snapshot.trials, facts), keep_time=keep_time, shortest=shortest
        )
    return History(snapshot.seed, snapshot.trials, facts)


def _total_steps(name: str, config: Mapping[str, Any], n_folds: int) -> int:
    family = families().get(name)
    return 1 if family is None else max(1, family.steps(build(family.Config, config))) * n_folds
