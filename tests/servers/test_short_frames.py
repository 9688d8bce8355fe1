"""Whole text messages are cut out, all else reaches the parser as it came, however the bytes arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, SERVER, Protocol

from servers.short_frames import FrameCutter, text_frame

MOST_BYTES = 70_000
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

payloads = st.one_of(st.binary(max_size=140), st.sampled_from([b"x" * 126, b"y" * 65_535, b"z" * 65_536]))
frames = st.builds(
    lambda opcode, data, fin: Frame(opcode, data[:100] if opcode >= Opcode.CLOSE else data, fin),
    st.sampled_from(
        [Opcode.TEXT, Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.PONG]
    ),
    payloads,
    st.booleans(),
)


def written(frame: Frame) -> bytes:
    """A client's frame; control frames are never fragments."""
    whole = Frame(frame.opcode, frame.data, frame.fin or frame.opcode >= Opcode.CLOSE)
    return whole.serialize(mask=True)


def parser() -> Protocol:
    """The full parser after the handshake."""
    return Protocol(SERVER, state=OPEN, max_size=MOST_BYTES)


def seen(protocol: Protocol) -> list[tuple[int, bytes, bool]]:
    """What the parser has made of its bytes."""
    return [
        (event.opcode, bytes(event.data), event.fin)
        for event in protocol.events_received()
        if not isinstance(event, Request)
    ]


def cut_and_parsed(pieces: list[bytes]) -> list[tuple[int, bytes, bool]]:
    """All frames in order, as a connection sees them: from the cutter, else from the parser."""
    cutter, protocol, found = FrameCutter(MOST_BYTES), parser(), []
    for data in pieces:
        for piece, text in cutter.cut(data):
            if text is not None and protocol.state is OPEN:
                found.append((int(Opcode.TEXT), text, True))
            else:
                protocol.receive_data(piece)
                found += seen(protocol)
    return found


@given(st.lists(frames, max_size=12), st.lists(st.integers(0, 400_000), max_size=12), st.binary(max_size=9))
def test_a_connection_sees_what_the_parser_alone_would(
    sent: list[Frame], cuts: list[int], garbage: bytes
) -> None:
    """Whatever is sent, valid or not, and wherever the packets end."""
    stream = b"".join(map(written, sent)) + garbage
    ends = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(ends)]
    alone = parser()
    alone.receive_data(stream)
    assert cut_and_parsed(pieces) == seen(alone)


def test_a_message_in_one_packet_passes_the_parser_by() -> None:
    """The commonest case: two requests, none of which the parser sees."""
    packet = written(Frame(Opcode.TEXT, b'{"type":"stats"}')) * 2
    assert [text for _, text in FrameCutter(MOST_BYTES).cut(packet)] == [b'{"type":"stats"}'] * 2


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.TEXT, b"x" * (MOST_BYTES + 1)).serialize(mask=True),
        Frame(Opcode.TEXT, b"x").serialize(mask=False),
        b"\xc1\x81" + bytes(4) + b"x",
        Frame(Opcode.BINARY, b"x").serialize(mask=True),
    ],
)
def test_what_is_no_plain_message_is_left_to_the_parser(frame: bytes) -> None:
    """Too large, not masked, with an extension's bit, or binary."""
    assert [text for _, text in FrameCutter(MOST_BYTES).cut(frame)] in ([None], [None, None])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_reply_is_written_as_the_full_writer_does(size: int) -> None:
    """At every form of the length field."""
    assert text_frame(b"x" * size) == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
