"""Answers in the order of the requests, each after its receipt."""

from __future__ import annotations

from logflow.forward import acks
from logflow.forward.acks import AckQueue
from logflow.receipt import Receipt


def test_answers_keep_the_order_of_the_requests():
    sent: list[bytes] = []
    queue = AckQueue(sent.append, lambda: None)
    first, second, third = Receipt(1), Receipt(1), Receipt(1)
    for number, receipt in enumerate([first, second, third]):
        queue.add(receipt, b"%d" % number, 10)
    second.settle()
    assert sent == []
    first.settle()
    assert sent == [b"0", b"1"]
    third.settle()
    assert sent == [b"0", b"1", b"2"]
    assert len(queue) == 0


def test_a_receipt_that_is_done_is_answered_at_once():
    sent: list[bytes] = []
    queue = AckQueue(sent.append, lambda: None)
    queue.add(Receipt(0), b"a", 10)
    assert sent == [b"a"]


def test_the_number_and_the_bytes_of_open_requests_are_bounded(monkeypatch):
    monkeypatch.setattr(acks, "MOST_OPEN", 2)
    monkeypatch.setattr(acks, "MOST_OPEN_BYTES", 100)
    changes: list[int] = []
    queue = AckQueue(lambda _: None, lambda: changes.append(1))
    receipt = Receipt(1)
    queue.add(receipt, b"", 10)
    assert not queue.full
    queue.add(Receipt(1), b"", 10)
    assert queue.full
    receipt.settle()
    assert not queue.full
    assert changes == [1]
    queue.add(Receipt(1), b"", 90)
    assert queue.full


def test_nothing_is_sent_after_close():
    sent: list[bytes] = []
    queue = AckQueue(sent.append, lambda: None)
    receipt = Receipt(1)
    queue.add(receipt, b"a", 10)
    queue.close()
    receipt.settle()
    queue.add(Receipt(0), b"b", 10)
    assert sent == []
