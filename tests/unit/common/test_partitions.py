"""Keys go where Kafka's own clients would put them."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from churnsignal_common.contracts.partitions import partition_of
from hypothesis import given
from hypothesis import strategies as st


@given(st.text(min_size=1), st.integers(1, 200))
def test_our_partition_is_the_client_librarys(key: str, count: int) -> None:
    everything = list(range(count))

    assert partition_of(key, count) == DefaultPartitioner()(key.encode(), everything, everything)


@pytest.mark.parametrize(("key", "murmur2"), [("21", -973932308), ("foobar", -790332482), ("abc", 479470107)])
def test_the_hash_is_the_one_of_kafkas_own_test_vectors(key: str, murmur2: int) -> None:
    assert partition_of(key, 8) == (murmur2 & 0x7FFFFFFF) % 8
