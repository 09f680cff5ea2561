"""The played kubelet: what it judges, and that an agent on it loses, doubles, splits and joins nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from logflow.testing.containers import cri_messages, read_container
from tools.kubelet.__main__ import run
from tools.kubelet.judge import judge
from tools.kubelet.node import Node, Plan
from tools.kubelet.speech import Speaker


def test_every_event_is_in_the_files_once_however_they_rotate(tmp_path: Path) -> None:
    node = Node(tmp_path, Plan(pods=3, keep_files=1000, delete_s=1e9))
    now_s = 0.0
    for _ in range(200):
        for pod in node.pods:
            pod.say()
            pod.write(now_s)
        now_s += 0.05
    node.close()
    for pod in node.pods:
        lines = [
            (stream, text.decode()) for stream, text in cri_messages(read_container(pod.log.path.parent))
        ]
        said = [each.event for each in pod.written]
        assert sorted(text for _, text in lines) == sorted(line for event in said for line in event.lines)
        assert not any(each.gone for each in pod.written)


def test_the_judge_tells_what_is_wrong(tmp_path: Path) -> None:
    node = Node(tmp_path, Plan(pods=1, delete_s=1e9))
    (pod,) = node.pods
    for _ in range(6):
        pod.say()
    node.close()
    texts = [each.event.text for each in pod.written]
    assert judge(node.written(), texts).fine
    assert judge(node.written(), texts[1:]).lost == 1
    assert judge(node.written(), [*texts, texts[0]]).doubled == 1
    joined = judge(node.written(), [texts[0] + "\n" + texts[1], *texts[2:]])
    assert (joined.lost, joined.broken) == (2, 1)
    part = texts[0][-3:]
    assert judge(node.written(), [*texts[1:], part]).broken == 1
    pod.deleted = True
    assert judge(node.written(), texts[1:]).deleted == 1
    assert judge(node.written(), [*texts[1:], part]).fine


def test_marks_are_unique() -> None:
    speaker = Speaker("web-1/stdout", random.Random(1))
    events = [speaker.say() for _ in range(300)]
    assert len({event.text for event in events}) == 300
    assert all(event.mark in event.lines[0] for event in events)


@pytest.mark.slow
def test_an_agent_that_is_killed_loses_doubles_splits_and_joins_nothing(tmp_path: Path) -> None:
    """Rotation each second, compressed files, late reopening; ``python -m tools.kubelet`` does more."""
    plan = Plan(pods=6, events_per_s=60, keep_files=100, delete_s=1e9)
    verdict, node, _ = run(tmp_path, plan, seconds=5.0, kills=1)
    assert verdict.arrived > 100
    assert node.rotations > 10
    assert verdict.fine, verdict
