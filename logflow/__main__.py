"""``python -m logflow`` is ``logflow``."""

from __future__ import annotations

from logflow.cli.main import main

raise SystemExit(main())
