"""Pure. What the demo's client knows it sent."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Sent:
    """The client's own books, against which the pipeline's are held. Times are the machine's, in seconds."""

    sent: set[str] = field(default_factory=set)
    accepted: set[str] = field(default_factory=set)
    rejected: dict[str, str] = field(default_factory=dict)
    suppressed: int = 0
    sent_at: dict[str, float] = field(default_factory=dict)
