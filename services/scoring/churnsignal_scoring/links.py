"""Pure. Which users a call ties to its account: the user, the device and the previous id of group, identify and alias calls."""

from collections.abc import Iterator

import msgspec
from churnsignal_common.contracts.envelope import Envelope, Format


class _Head(msgspec.Struct, rename="camel"):
    type: str = ""
    previous_id: str | int | None = None


_head = msgspec.json.Decoder(_Head)


def ties(envelope: Envelope) -> Iterator[str]:
    """Yield each subject that the call links to its account."""
    if envelope.format is not Format.SEGMENT:
        return
    head = _head.decode(envelope.call)
    if head.type not in ("group", "identify", "alias"):
        return
    if envelope.user:
        yield envelope.user
    if envelope.anonymous and envelope.anonymous != envelope.user:
        yield envelope.anonymous
    if head.type == "alias" and head.previous_id is not None:
        yield str(head.previous_id)
