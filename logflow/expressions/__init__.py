"""The expression language: Python's own syntax for conditions and computed fields.

::

    text ──parse──► tree of Constant, Field and Operation ──┬── evaluate: a Python function
                                                            └── program: what the native engine compiles

==============  ===========================================================================
module          what it knows
==============  ===========================================================================
``tree``        what an expression consists of
``event``       what an expression reads
``expression``  one that was checked; imports the others when they are needed
``parse``       Python's syntax to a tree, with errors that point at the place
``operations``  every operator and function: arguments, meaning, documentation
``values``      what values there are, and how operators treat each kind of them
``evaluate``    a tree as a Python function of an event: the specification of the native one
``program``     a tree as plain values, which the native engine compiles
``reference``   the tables of docs/expressions.md
==============  ===========================================================================

An expression never raises and never hangs: there are no loops, a missing field is ``None``, and values that
do not fit an operation give ``None``. Every size is bounded, of the expression and of the values it makes.
"""

from logflow.expressions.event import Evaluate, Event
from logflow.expressions.expression import Expression, ExpressionError

__all__ = ["Evaluate", "Event", "Expression", "ExpressionError", "compile_expression"]


def compile_expression(text: str) -> Expression:
    """Check an expression and make its tree.

    Raises:
        ExpressionError: it is not one; the text begins with the place.
    """
    from logflow.expressions import parse  # noqa: PLC0415 - nothing of it is needed until there is one

    return parse.compile_expression(text)
