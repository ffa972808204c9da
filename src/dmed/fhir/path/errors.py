"""What can be wrong with an expression: its text, names and types, or a value met at run time."""

from __future__ import annotations

from dmed.kit.errors import InvalidError


class PathError(InvalidError):
    """Base of all faults of FHIRPath."""


class PathSyntaxError(PathError):
    """The text is no FHIRPath; the message names the place."""


class PathSemanticError(PathError):
    """Well formed, but a name, type, function or number of arguments cannot be."""


class PathExecutionError(PathError):
    """A value met at run time breaks a rule: several items where one is allowed, wrong types."""
