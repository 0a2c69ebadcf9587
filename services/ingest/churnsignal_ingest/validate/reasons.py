"""Pure. Every reason why ingest refuses an event or a request: one closed table with cause and remedy."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why one event was refused. Its batch goes on."""

    NOT_AN_OBJECT = "not_an_object"
    MALFORMED = "malformed_event"
    TOO_LARGE = "event_too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_KEYS = "too_many_keys"
    NUL = "nul_character"
    UNKNOWN_TYPE = "unknown_type"
    NO_EVENT_NAME = "no_event_name"
    NO_IDS = "no_user_anon_id"
    NO_GROUP_ID = "no_group_id"
    NO_PREVIOUS_ID = "no_previous_id"
    BAD_ID = "bad_id"
    ID_TOO_LONG = "id_too_long"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_FIELD = "bad_field"
    SCOPE_CALL = "scope_call"
    SCOPE_HISTORY = "scope_history"


class Problem(StrEnum):
    """Why a whole request was refused."""

    MALFORMED_JSON = "malformed_json"
    MALFORMED_BATCH = "malformed_batch"
    BATCH_TOO_LARGE = "batch_too_large"
    TOO_MANY_EVENTS = "too_many_events"
    BAD_GZIP = "bad_gzip"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    UNSUPPORTED_MEDIA = "unsupported_media_type"
    METHOD = "method_not_allowed"
    MALFORMED_HTTP = "malformed_http"
    HEADERS_TOO_LARGE = "headers_too_large"
    UNKNOWN_PATH = "unknown_path"
    NO_KEY = "no_write_key"
    BAD_KEY = "invalid_write_key"
    KEYS_AWAY = "keys_unavailable"
    GUESSING = "too_many_unknown_keys"
    RATE_LIMITED = "rate_limited"
    BUSY = "too_busy"
    KAFKA_AWAY = "kafka_unavailable"
    BROKEN = "internal_error"


@dataclass(frozen=True, slots=True)
class Explained:
    """What a reason means and what to do about it."""

    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP side of a problem. `retry_after_s` 0: trying again as it stands is of no use."""

    status: int
    cause: str
    remedy: str
    retry_after_s: int = 0


REASONS: dict[Reason, Explained] = {
    Reason.NOT_AN_OBJECT: Explained("An item of the batch is no JSON object.", "Send each call as an object with a `type`."),
    Reason.MALFORMED: Explained(
        "The event holds bytes or numbers that JSON readers disagree on.", "Send UTF-8, and numbers that fit a double or 64 bits."
    ),
    Reason.TOO_LARGE: Explained("The event is over 32 KB.", "Send fewer or shorter properties."),
    Reason.TOO_DEEP: Explained("Objects and lists are nested over 32 levels.", "Flatten the properties."),
    Reason.TOO_MANY_KEYS: Explained("The event has over 512 keys.", "Send only properties that somebody reads."),
    Reason.NUL: Explained("A string holds the character U+0000, which no database stores.", "Strip it before sending."),
    Reason.UNKNOWN_TYPE: Explained(
        "`type` is none of track, identify, group, page, screen, alias.", "Use an SDK, or set `type` or the matching path."
    ),
    Reason.NO_EVENT_NAME: Explained("A track call has no `event`.", "Name the event with a string."),
    Reason.NO_IDS: Explained("There is neither a `userId` nor an `anonymousId`.", "Send at least one of them."),
    Reason.NO_GROUP_ID: Explained("A group call has no `groupId`.", "Send the account's id as `groupId`."),
    Reason.NO_PREVIOUS_ID: Explained("An alias call has no `previousId` or no `userId`.", "Send both."),
    Reason.BAD_ID: Explained("An id is neither a string nor a number, or a CloudEvent has no `id` or no `source`.", "Send ids as strings."),
    Reason.ID_TOO_LONG: Explained("An id is over 255 bytes of UTF-8.", "Send a shorter id."),
    Reason.BAD_TIMESTAMP: Explained(
        "A time cannot be read, or lies before 2000.", "Send ISO 8601 with a zone, such as 2026-01-31T12:00:00.000Z."
    ),
    Reason.BAD_FIELD: Explained("`context`, `properties` or `traits` is no object.", "Send an object or leave it out."),
    Reason.SCOPE_CALL: Explained(
        "The write key may not make this call: browser keys are public and may only track, page, screen and identify a user.",
        "Send it from a server with a key of scope `server`.",
    ),
    Reason.SCOPE_HISTORY: Explained("The write key may not import history.", "Use a key of scope `import`."),
}

PROBLEMS: dict[Problem, Answer] = {
    Problem.MALFORMED_JSON: Answer(400, "The body is no JSON object.", "Send one object, or a batch of them."),
    Problem.MALFORMED_BATCH: Answer(400, "`batch` is missing or no list.", 'Send {"batch": [...]}.'),
    Problem.BATCH_TOO_LARGE: Answer(413, "The body is over the limit after decompression.", "Send smaller batches: 500 KB (RudderStack 4 MB)."),
    Problem.TOO_MANY_EVENTS: Answer(413, "The batch has over 2500 events.", "Send smaller batches."),
    Problem.BAD_GZIP: Answer(400, "The body is no single whole gzip member.", "Send one complete gzip stream, or none."),
    Problem.UNSUPPORTED_ENCODING: Answer(415, "The Content-Encoding is neither gzip nor identity.", "Send gzip or plain JSON."),
    Problem.UNSUPPORTED_MEDIA: Answer(
        415, "The Content-Type names no CloudEvents mode.", "Send application/cloudevents+json, -batch+json, or ce- headers."
    ),
    Problem.METHOD: Answer(405, "Only POST is allowed here.", "Send the call with POST."),
    Problem.UNKNOWN_PATH: Answer(
        404, "Nothing is served at this path.", "Send to /v1/batch or /v1/{track,identify,group,page,screen,alias}; instead of `merge` use alias."
    ),
    Problem.MALFORMED_HTTP: Answer(400, "This is no HTTP/1.1 request.", "Check the client, or the proxy between."),
    Problem.HEADERS_TOO_LARGE: Answer(431, "The request has over 64 KB of headers.", "Send fewer or shorter headers."),
    Problem.NO_KEY: Answer(
        401, "There is no write key.", "Send it as the user of Basic authentication or as `writeKey` in the body."
    ),
    Problem.BAD_KEY: Answer(401, "The write key is unknown, revoked, or has a typing error.", "Check the key; list keys with `churnsignal-ingest keys list`."),
    Problem.KEYS_AWAY: Answer(503, "The write key cannot be checked right now.", "Send the same request again later.", 5),
    Problem.GUESSING: Answer(429, "Too many unknown write keys are being tried, so that this one was not looked up.", "Check the key, and send the same request again later.", 5),
    Problem.RATE_LIMITED: Answer(429, "The source sends faster than its limit.", "Wait, or raise the source's rate.", 1),
    Problem.BUSY: Answer(429, "The server has as much in hand as it can hold; of bodies that come in slowly it lets go first.", "Send the same request again later.", 5),
    Problem.BROKEN: Answer(500, "The server made a mistake; it is in its log.", "Send the same request again later.", 5),
    Problem.KAFKA_AWAY: Answer(429, "Kafka did not take the events.", "Send the same request again later; duplicates are recognised.", 5),
}  # fmt: skip


class Refusal(Exception):
    """One event is refused. Raised inside the validation rooms, turned into a `Refused` where they end."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class RequestProblem(Exception):
    """The whole request is refused. `retry_after_s` overrides the table's."""

    def __init__(self, problem: Problem, retry_after_s: int | None = None) -> None:
        super().__init__(problem.value)
        self.problem = problem
        self.retry_after_s = PROBLEMS[problem].retry_after_s if retry_after_s is None else retry_after_s
