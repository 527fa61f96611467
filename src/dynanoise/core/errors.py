"""The exceptions a user can meet; each message states the problem and a remedy."""

from __future__ import annotations


class DynaNoiseError(Exception):
    """Base class of every error the package raises on purpose.

    Args:
        problem: a sentence that states what is wrong, with the value.
        remedy: a sentence that states what to do.

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
    """An array or a parameter does not fit the call."""


class UnknownNameError(DynaNoiseError, LookupError):
    """A name is not registered for that kind of component."""

    # LookupError's subclass KeyError would quote the message; this keeps it a sentence.


class MissingExtraError(DynaNoiseError, ImportError):
    """A package that the call needs is not installed."""


class NotFittedError(DynaNoiseError, RuntimeError):
    """A component must be fitted to held-out data before it computes outputs."""


class SecretError(DynaNoiseError, RuntimeError):
    """A secret is missing, malformed, or readable by others. No message shows any part of it."""


class QueryBudgetError(DynaNoiseError, RuntimeError):
    """An attack sent more queries than its threat model allows."""


class TooFewRecordsError(DynaNoiseError, ValueError):
    """There are too few records to resolve a metric, so that a number would mislead."""


class ResultsFileError(DynaNoiseError, ValueError):
    """A file of results cannot be read."""


class MissingDataError(DynaNoiseError, LookupError):
    """A data set is in none of the searched places."""


class MissingModelError(DynaNoiseError, LookupError):
    """A model is not in the store, and training is not allowed."""


class DataFileError(DynaNoiseError, ValueError):
    """A file or a published data set does not have the expected contents."""


class DivergedError(DynaNoiseError, RuntimeError):
    """Training ended with a model at chance accuracy."""


class StoreError(DynaNoiseError, RuntimeError):
    """The store of trained models cannot be reached."""


class ClusterError(DynaNoiseError, RuntimeError):
    """A cluster cannot be joined, or did not finish its tasks."""


class WorkerError(DynaNoiseError, RuntimeError):
    """A worker process died before its work was done."""


def check(condition: bool, problem: str, remedy: str) -> None:
    """Raise an InputError unless a condition holds.

    Args:
        condition: True if the input is good.
        problem: a sentence that states what is wrong.
        remedy: a sentence that states what to do.

    Raises:
        InputError: if the condition is False.

    >>> check(1 > 0, "Not raised.", "Nothing to do.")
    """
    if not condition:
        raise InputError(problem, remedy)
