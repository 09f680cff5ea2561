"""Secrets as text and in files."""

from __future__ import annotations

import pytest

from logflow.config.secrets import Secret
from logflow.errors import DeliveryError


def test_text_is_the_secret_and_is_not_shown():
    secret = Secret.parse("hunter2")
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in f"{secret!r} {secret}"


def test_a_file_is_read_again_when_it_changes_and_kept_while_it_is_empty_or_away(tmp_path):
    path = tmp_path / "token"
    secret = Secret.parse({"file": str(path)})
    with pytest.raises(DeliveryError, match="No such file"):
        secret.reveal()
    path.write_text("")
    with pytest.raises(DeliveryError, match="it is empty"):
        secret.reveal()
    path.write_bytes(b"\xff\n")
    with pytest.raises(DeliveryError, match="not UTF-8"):
        secret.reveal()
    path.write_text("one\n")
    assert secret.reveal() == "one"
    path.write_text("")
    assert secret.reveal() == "one"
    path.write_text("other")
    assert secret.reveal() == "other"
    path.unlink()
    assert secret.reveal() == "other"


@pytest.mark.parametrize("value", ["", "  ", None, 5, {}, {"file": ""}, {"file": "x", "other": 1}])
def test_what_is_no_secret_is_refused(value):
    with pytest.raises(ValueError, match="secret"):
        Secret.parse(value)
