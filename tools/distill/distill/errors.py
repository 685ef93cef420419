"""The one kind of failure that a user can mend; everything else is a bug and keeps its traceback."""


class DistillError(Exception):
    """Says who, what was found, what was expected and what to do."""
