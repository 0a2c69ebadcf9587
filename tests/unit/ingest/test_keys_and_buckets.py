"""Write keys, and how much a source may send."""

import pytest
from churnsignal_ingest.auth.bucket import Bucket
from churnsignal_ingest.auth.directory import key_of_basic, key_of_bearer
from churnsignal_ingest.auth.keys import RANDOM_BYTES, hasher_of, looks_right, make_key
from churnsignal_ingest.validate.judge import Scope

CHANCE = bytes(range(RANDOM_BYTES))
KEY = make_key(Scope.SERVER, CHANCE)


def test_a_key_says_its_scope_and_holds_at_least_128_bits() -> None:
    assert [make_key(scope, CHANCE)[:4] for scope in Scope] == ["csb_", "css_", "csi_"]
    assert RANDOM_BYTES * 8 >= 128
    with pytest.raises(ValueError, match="random bytes"):
        make_key(Scope.SERVER, b"short")


def test_any_single_typing_error_is_seen_without_a_look_up() -> None:
    assert looks_right(KEY)
    for place in range(len(KEY)):
        assert not looks_right(KEY[:place] + ("0" if KEY[place] != "0" else "1") + KEY[place + 1 :])


@pytest.mark.parametrize("text", ["", "x", KEY[:-1], KEY + "0", KEY.upper(), "ü" * len(KEY)])
def test_what_is_no_key_does_not_look_like_one(text: str) -> None:
    assert not looks_right(text)


def test_a_key_hashed_under_an_old_secret_is_still_found() -> None:
    old, new = hasher_of("old-secret-old-secret"), hasher_of("new-secret-new-secret, old-secret-old-secret")

    assert old.sign(KEY) in new.candidates(KEY)
    assert new.sign(KEY) != old.sign(KEY)
    assert KEY.encode() not in old.sign(KEY)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"Basic a2V5Og==", "key"),
        (b"basic a2V5", "key"),
        (b"Basic a2V5OnBhc3N3b3Jk", "key"),
        (b"Basic ", None),
        (b"Basic !!", None),
        (b"Basic /w==", None),
        (b"Basic Og==", None),
        (b"Bearer a2V5Og==", None),
        (b"", None),
    ],
)
def test_the_user_of_basic_credentials_is_the_key(header: bytes, key: str | None) -> None:
    assert key_of_basic(header) == key


def test_a_bearer_token_counts_only_when_it_is_a_write_key() -> None:
    assert key_of_bearer(b"Bearer " + KEY.encode()) == KEY
    assert key_of_bearer(b"Bearer eyJhbGciOi") is None


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(rate=10, burst=100, now_s=0.0)

    assert bucket.take(100, 0.0) == 0
    assert bucket.take(1, 0.0) == 1
    assert bucket.take(5, 0.5) == 0
    assert bucket.take(1, 0.5) == 1
    assert bucket.take(100, 60.0) == 0


def test_a_batch_above_the_burst_passes_once_and_is_paid_for_afterwards() -> None:
    bucket = Bucket(rate=10, burst=10, now_s=0.0)

    assert bucket.take(110, 0.0) == 0
    assert bucket.take(1, 0.0) == 11
    assert bucket.take(1, 10.0) == 1
    assert bucket.take(1, 10.2) == 0
