"""The tables of moves are whole, lead to an end, and say no in words."""

from __future__ import annotations

import pytest

from assay.search.lifecycle import (
    ACTIVE,
    CLAIMABLE,
    ENDED,
    JOB_MOVES,
    TRIAL_MOVES,
    VERBS,
    JobStatus,
    job_may,
    trial_may,
    verb_target,
)
from assay.search.trial import TERMINAL, TrialStatus

J = JobStatus


def test_every_status_has_its_row() -> None:
    assert set(JOB_MOVES) == set(J)
    assert set(TRIAL_MOVES) == set(TrialStatus)


def test_no_status_leads_to_itself() -> None:
    for moves in (JOB_MOVES, TRIAL_MOVES):
        assert all(status not in then for status, then in moves.items())


def test_ended_jobs_change_by_reopening_alone() -> None:
    assert {J.SUCCEEDED, J.FAILED, J.CANCELLED} == ENDED
    for status in ENDED:
        assert JOB_MOVES[status] == {J.QUEUED}


def test_ended_trials_never_change() -> None:
    assert all(TRIAL_MOVES[status] == frozenset() for status in TERMINAL)


@pytest.mark.parametrize("status", sorted(set(J) - ENDED))
def test_every_job_can_reach_its_end_without_being_reopened(status: JobStatus) -> None:
    reached = {status}
    while not reached & ENDED:
        further = reached | {then for now in reached for then in JOB_MOVES[now]}
        assert further != reached, f"{status} leads nowhere"
        reached = further


def test_groups_do_not_overlap() -> None:
    assert not ACTIVE & ENDED
    assert CLAIMABLE.isdisjoint(ENDED)
    assert ACTIVE | ENDED | {J.QUEUED, J.PAUSED} == set(J)


ANSWERS: dict[tuple[str, JobStatus], JobStatus | None] = {
    ("cancel", J.QUEUED): J.CANCELLING,
    ("cancel", J.RUNNING): J.CANCELLING,
    ("cancel", J.PAUSING): J.CANCELLING,
    ("cancel", J.PAUSED): J.CANCELLING,
    ("cancel", J.CANCELLING): None,
    ("cancel", J.FINISHING): J.CANCELLING,
    ("cancel", J.CANCELLED): None,
    ("finish", J.QUEUED): J.FINISHING,
    ("finish", J.RUNNING): J.FINISHING,
    ("finish", J.PAUSING): J.FINISHING,
    ("finish", J.PAUSED): J.FINISHING,
    ("finish", J.FINISHING): None,
    ("finish", J.SUCCEEDED): None,
    ("pause", J.QUEUED): J.PAUSED,
    ("pause", J.RUNNING): J.PAUSING,
    ("pause", J.PAUSING): None,
    ("pause", J.PAUSED): None,
    ("resume", J.QUEUED): None,
    ("resume", J.RUNNING): None,
    ("resume", J.PAUSING): J.RUNNING,
    ("resume", J.PAUSED): J.QUEUED,
}


@pytest.mark.parametrize("verb", sorted(VERBS))
@pytest.mark.parametrize("status", list(J))
def test_what_a_verb_does(verb: str, status: JobStatus) -> None:
    if (verb, status) in ANSWERS:
        then = verb_target(verb, status)
        assert then is ANSWERS[verb, status]
        assert then is None or job_may(status, then)
        assert then is None or verb_target(verb, then) is None, "asking twice does nothing more"
    else:
        with pytest.raises(ValueError, match=f"(?s){status}.*{verb}|{verb}.*{status}"):
            verb_target(verb, status)


def test_a_lost_trial_may_be_queued_again() -> None:
    assert trial_may(TrialStatus.RUNNING, TrialStatus.QUEUED)
    assert not trial_may(TrialStatus.COMPLETED, TrialStatus.RUNNING)
