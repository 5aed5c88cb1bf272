"""Regression of one number on texts, in any language and script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.data.table import Table
from assay.spec import JobSpec, ProfileFacts, Resolved
from assay.tasks._problem import Problem
from assay.tasks._text import about_texts, as_texts, fronted, with_folds
from assay.tasks.regression import Regression

if TYPE_CHECKING:
    from assay.tasks import TaskType


class TextRegression(Regression):
    """Every column of text, category or yes/no is read as text; numbers and dates are left out."""

    name = "text_regression"
    about = "predict a number for every text"
    kinds: tuple[str, ...] = ("regression",)

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        texts, why = as_texts(spec, profile)
        folded, said = with_folds(spec, profile.n_rows)
        return about_texts(super().resolve(folded, texts), texts, why, spec, said)

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        return fronted(super().prepare(table, resolved))


task: TaskType = TextRegression()
