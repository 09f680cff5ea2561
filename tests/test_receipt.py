"""Receipts."""

from __future__ import annotations

import asyncio

from logflow.receipt import Receipt


async def test_resolves_when_every_part_is_settled() -> None:
    """A receipt of two parts waits for both."""
    receipt = Receipt(2)
    waiter = asyncio.ensure_future(_wait(receipt))
    receipt.settle()
    await asyncio.sleep(0)
    assert not waiter.done()
    assert not receipt.done
    receipt.settle()
    await waiter
    assert receipt.done


async def test_callbacks_run_once_in_order() -> None:
    """Callbacks run when the receipt resolves, and at once when it has."""
    receipt, calls = Receipt(1), []
    receipt.add_done_callback(lambda: calls.append("first"))
    receipt.add_done_callback(lambda: calls.append("second"))
    receipt.settle()
    receipt.add_done_callback(lambda: calls.append("late"))
    assert calls == ["first", "second", "late"]


async def test_a_cancelled_waiter_does_not_disturb() -> None:
    """Settling after a waiter was cancelled is harmless."""
    receipt = Receipt(1)
    waiter = asyncio.ensure_future(_wait(receipt))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    receipt.settle()
    assert receipt.done


async def test_nothing_to_wait_for() -> None:
    """A receipt of no parts is resolved from the start."""
    await Receipt(0)


async def _wait(receipt: Receipt) -> None:
    await receipt
