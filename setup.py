"""The part of the build that depends on the machine: the native engine, where Rust is.

Without a Rust toolchain, or when the crate cannot be built, logflow is installed in pure Python. With
``LOGFLOW_REQUIRE_NATIVE=1`` in the environment that is an error.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any


def native_engine() -> dict[str, Any]:
    """Arguments of ``setup`` that build the native engine, if it can be built."""
    required = os.environ.get("LOGFLOW_REQUIRE_NATIVE") == "1"
    if shutil.which("cargo") is None:
        if required:
            sys.exit(
                "LOGFLOW_REQUIRE_NATIVE=1, but there is no cargo on PATH: install Rust, see https://rustup.rs"
            )
        sys.stderr.write(
            "There is no cargo on PATH: logflow is built without its native engine, in pure Python.\n"
        )
        return {}
    from setuptools_rust import Binding, RustExtension  # noqa: PLC0415 - not needed without cargo

    extension = RustExtension(
        "logflow.engine._native",
        path="native/Cargo.toml",
        binding=Binding.PyO3,
        args=["--locked"],
        debug=False,  # also in editable installs, whose speed would otherwise be a puzzle
        optional=not required,
    )
    # One wheel serves this and all later versions of Python.
    return {"rust_extensions": [extension], "options": {"bdist_wheel": {"py_limited_api": "cp311"}}}


if __name__ == "__main__":
    from setuptools import setup

    setup(**native_engine())
