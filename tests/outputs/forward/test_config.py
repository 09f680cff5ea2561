"""Configuration, and closing."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from logflow.outputs.forward import ForwardOutput
from logflow.testing import make_context


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"servers": []}, "at least 1"),
        ({"servers": [{"address": "a"}, {"address": "a:24224"}]}, "there twice"),
        ({"servers": [{"address": "a", "weight": 0}]}, "weight 0"),
        ({"servers": [{"address": "a"}], "ack_timeout": "10m"}, "write_timeout"),
        ({"servers": [{"address": "a b:c"}]}, "not an address"),
        ({"servers": [{"address": "a", "wieght": 1}]}, "Extra inputs"),
    ],
)
def test_mistakes_in_the_configuration_are_found(config, problem):
    with pytest.raises(ValidationError, match=problem):
        ForwardOutput.Config.model_validate({"type": "forward", **config})


def test_secrets_are_not_shown():
    config = ForwardOutput.Config.model_validate(
        {"type": "forward", "servers": [{"address": "a", "shared_key": "hidden1"}], "password": "hidden2"}
    )
    assert "hidden" not in repr(config)


async def test_close_is_safe_without_open_and_twice(tmp_path):
    config = ForwardOutput.Config.model_validate({"type": "forward", "servers": [{"address": "127.0.0.1:1"}]})
    output = ForwardOutput(config, make_context(tmp_path, kind="output"))
    await output.close()
    await output.open()
    await output.close()
    await output.close()
