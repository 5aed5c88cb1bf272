"""The error tree: who is at fault decides what happens next.

AssayError
├── UserError            the request or the data is at fault: a 4xx, or the job's failure reason
│   ├── SpecError        the job request (carries a JSON pointer)
│   └── DataError        the dataset (carries file, row and column)
├── TrialError           one configuration failed; the search goes on
│   ├── OutOfMemory  Diverged  Memorised  TimedOut  FamilyUnavailable  Crashed
└── LeaseLost            somebody else owns the work now: drop the result

TrialStopped is not an AssayError: it is the way out of a training loop.
"""

from __future__ import annotations


class AssayError(Exception):
    """Base of everything Assay raises on purpose.  `code` is stable and documented in docs/errors.md."""

    code: str = "internal"


class UserError(AssayError):
    """Something a user can mend: the message says what was found, what was expected and the way out."""

    code = "validation_error"


class SpecError(UserError):
    """A job request that cannot be honoured.  `pointer` is the JSON pointer of the field at fault."""

    def __init__(self, message: str, *, pointer: str = "", code: str = "validation_error") -> None:
        super().__init__(message)
        self.pointer = pointer
        self.code = code


class DataError(UserError):
    """Data that cannot be read or used.  `row` counts data rows from 1; `column` is the column's name."""

    code = "unsupported_format"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        row: int | None = None,
        column: str | None = None,
        code: str = "unsupported_format",
    ) -> None:
        super().__init__(message)
        self.file = file
        self.row = row
        self.column = column
        self.code = code


class TrialError(AssayError):
    """One trial failed; it is recorded with its cause and the search goes on."""

    code = "trial_failed"


class OutOfMemory(TrialError):
    """The trial needed more memory than its limit."""

    code = "out_of_memory"


class Diverged(TrialError):
    """Training produced NaN or infinite values."""

    code = "diverged"


class Memorised(TrialError):
    """A generator draws copies of its training data."""

    code = "memorised"


class TimedOut(TrialError):
    """The trial outlived its time limit."""

    code = "timed_out"


class Crashed(TrialError):
    """The training process died: a segmentation fault, an exit, a kill from outside."""

    code = "crashed"


class FamilyUnavailable(TrialError):
    """The family needs a library or a device that is not here."""

    code = "family_unavailable"


class LeaseLost(AssayError):
    """The lease of a piece of work passed to somebody else; whatever was computed is dropped."""

    code = "lease_lost"


class TrialStopped(Exception):
    """Raised by `TrialContext.report` to leave a training loop: stop, deadline, cancel and lost lease alike."""
