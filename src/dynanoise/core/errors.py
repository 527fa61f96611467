"""The exceptions a user can meet. Each says what is wrong and what to do about it."""

from __future__ import annotations


class DynaNoiseError(Exception):
    """Base class of every error the package raises on purpose.

    >>> str(DynaNoiseError("temperature is 0.0.", "Use a value above 0."))
    'temperature is 0.0. Use a value above 0.'
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class InputError(DynaNoiseError, ValueError):
    """An array or a parameter is not what the call needs."""


class UnknownNameError(DynaNoiseError, LookupError):
    """No component of that kind has that name."""

    # LookupError's subclass KeyError would quote the message; this keeps it a sentence.


class MissingExtraError(DynaNoiseError, ImportError):
    """The call needs a package that is not installed."""


class NotFittedError(DynaNoiseError, RuntimeError):
    """The component must learn something from held-out data before it can answer."""


class SecretError(DynaNoiseError, RuntimeError):
    """A secret is missing, unfit, or open to others. No message shows any part of it."""


class QueryBudgetError(DynaNoiseError, RuntimeError):
    """An attack asked for more answers than its threat model allows."""


class TooFewRecordsError(DynaNoiseError, ValueError):
    """The data are too few to resolve the metric, so a number would mislead."""


class ResultsFileError(DynaNoiseError, ValueError):
    """A file of results cannot be read."""


class MissingDataError(DynaNoiseError, LookupError):
    """No place that was looked in has the data set."""


class MissingModelError(DynaNoiseError, LookupError):
    """A model that should not be trained is not in the store."""


class DataFileError(DynaNoiseError, ValueError):
    """A file or a published data set does not hold what it should."""


class DivergedError(DynaNoiseError, RuntimeError):
    """Training ended with a model no better than guessing."""


class StoreError(DynaNoiseError, RuntimeError):
    """The store of trained models cannot be asked."""


class ClusterError(DynaNoiseError, RuntimeError):
    """A cluster cannot be joined, or could not finish what it was given."""


class WorkerError(DynaNoiseError, RuntimeError):
    """A worker process died before its work was done."""


def check(condition: bool, problem: str, remedy: str) -> None:
    """Raises InputError with both sentences unless the condition holds."""
    if not condition:
        raise InputError(problem, remedy)
