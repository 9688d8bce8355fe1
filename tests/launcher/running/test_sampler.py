"""launcher.running.sampler: use is sampled when somebody looks, and a passed limit becomes an event."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from launcher.children.runtime import ChildRuntime
from launcher.configuration.models import Service
from launcher.lifecycle_values import LimitExceeded
from launcher.records import Record
from launcher.running.sampler import UsageSampler
from tests.launcher.running.bench import ABOUT, Bench, Post


def sampler_of(post: Post) -> UsageSampler:
    """The sampler of a supervisor."""
    return UsageSampler(post.stack, post.around.gpus, cast(asyncio.TaskGroup, post.tasks), post.said.append)


def running(bench: Bench, post: Post, **limits: Any) -> ChildRuntime:
    """A child with a real process and these limits."""
    process = bench.process(ABOUT)
    child = post.add("a", state="ready", generation=1, pid=process.pid)
    none = dict.fromkeys(("memory_bytes", "vram_bytes", "open_files"))
    settings = {**vars(child.service), "limits": Record({**none, **limits})}
    child.service = cast(Service, Record(settings))
    child.take_over(process)
    return child


def passed(post: Post) -> list[LimitExceeded]:
    """The limits that were passed since the last call."""
    found = [event for _, event in post.stack._events if isinstance(event, LimitExceeded)]
    post.stack._events.clear()
    return found


async def test_a_child_is_sampled_when_somebody_asks(bench: Bench) -> None:
    """And not again while the sample is good."""
    post = bench.supervisor()
    child = running(bench, post)
    sampler = sampler_of(post)
    assert child.usage is None
    sampler.refresh()
    first = child.usage
    assert first is not None
    assert child.life.pid in first.pids
    assert first.rss_bytes > 0
    sampler.refresh()
    assert child.usage is first
    assert passed(post) == []


async def test_a_child_whose_process_is_gone_uses_nothing(bench: Bench) -> None:
    """Its last numbers do not stay."""
    post = bench.supervisor()
    child = running(bench, post)
    sampler = sampler_of(post)
    sampler.refresh()
    child.tree = None
    sampler._sample()
    assert child.usage is None


@pytest.mark.parametrize(
    ("limits", "reason", "words"),
    [
        ({"memory_bytes": 4096}, "memory_limit", "bytes of memory; its limit is 4,096"),
        ({"open_files": 1}, "open_files_limit", "open files, all that its limit allows"),
    ],
)
async def test_a_limit_that_is_passed_is_told(
    bench: Bench, limits: dict[str, int], reason: str, words: str
) -> None:
    """Which one, by how much, and of which generation."""
    post = bench.supervisor()
    running(bench, post, **limits)
    sampler_of(post).refresh()
    (event,) = passed(post)
    assert (event.generation, event.reason) == (1, reason)
    assert words in event.text


@pytest.mark.parametrize("limits", [{"memory_bytes": 2**40}, {"open_files": 10_000}, {"vram_bytes": 1}])
async def test_a_limit_that_is_kept_is_not(bench: Bench, limits: dict[str, int]) -> None:
    """Nor one on GPU memory where there is no GPU."""
    post = bench.supervisor()
    running(bench, post, **limits)
    sampler_of(post).refresh()
    assert passed(post) == []


async def test_memory_of_a_gpu_counts_once_the_driver_has_answered(bench: Bench) -> None:
    """Only then is it known."""
    post = bench.supervisor()
    child = running(bench, post, vram_bytes=100)
    sampler = sampler_of(post)
    sampler.refresh()
    child.gpu.vram_bytes = 101
    sampler._check_limits(child)
    (event,) = passed(post)
    assert (event.reason, event.text) == (
        "vram_limit",
        "uses 101 bytes of GPU memory; its limit is 100",
    )


async def test_it_goes_on_only_while_there_is_a_reason(bench: Bench) -> None:
    """Somebody who listens, a limit, or a GPU; otherwise nothing wakes the supervisor."""
    post = bench.supervisor()
    child = running(bench, post)
    sampler = sampler_of(post)
    sampler.wake()
    assert sampler._handle is None
    subscriber = post.stack.publisher.subscribe()
    sampler.wake()
    assert sampler._handle is not None
    sampler.close()
    post.stack.publisher.unsubscribe(subscriber)
    child.prepared = replace(child.prepared, gpu=replace(child.prepared.gpu, ids=("GPU-0",)))
    another = sampler_of(post)
    another.wake()
    assert another._handle is not None
    another.close()


async def test_a_limit_is_a_reason_too(bench: Bench) -> None:
    """Nobody need look for it to be held."""
    post = bench.supervisor()
    running(bench, post, memory_bytes=2**40)
    sampler = sampler_of(post)
    sampler.wake()
    assert sampler._handle is not None
    sampler.close()
