"""The attack's frame: attacks have names, and options choose among them."""

from __future__ import annotations

import random

import pytest

from logflow.testing.processes import free_ports
from tools.attack import forward, http
from tools.attack.__main__ import ATTACKS, build_parser
from tools.attack.target import AttackStage


def test_every_attack_has_one_name() -> None:
    assert len(ATTACKS) == len(forward.ATTACKS) + len(http.ATTACKS)


def test_the_options_have_defaults() -> None:
    options = build_parser().parse_args([])
    assert (options.seconds, options.attacks, options.seed) == (120.0, None, None)


@pytest.mark.parametrize("name", ["forward-garbage", "http-bad-requests"])
async def test_an_attack_does_not_mind_that_nobody_is_there(name: str, tmp_path: object) -> None:
    stage = AttackStage.__new__(AttackStage)
    stage.forward_port, stage.http_port, stage.admin_port = free_ports(3)
    await ATTACKS[name](stage.target(1.0), random.Random(1))
