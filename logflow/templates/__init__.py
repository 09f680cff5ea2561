"""Places whose names follow tag, fields and time: paths of files, keys of objects, names of indices.

::

    pieces    the language of templates
    paths     a path whose parts are safe: of a file, an object, a topic      split    cuts a chunk by it
    names     a name that the store cleans: of an index, a table, a tenant
"""

from logflow.templates.paths import PathTemplate, safe_name
from logflow.templates.split import Splitter

__all__ = ["PathTemplate", "Splitter", "safe_name"]
