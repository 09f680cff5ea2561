"""Places whose names follow tag, fields and time: paths of files, keys of objects, names of indices.

:mod:`~logflow.templates.template` says which place an event goes to, :mod:`~logflow.templates.split` cuts a
chunk into the events of each place.
"""

from logflow.templates.split import Splitter
from logflow.templates.template import PathTemplate, safe_name

__all__ = ["PathTemplate", "Splitter", "safe_name"]
