from __future__ import annotations

from threading import Barrier, Thread

from chopmark.replay_cache import REPLAY_WINDOW, ReplayCache

CREDENTIAL = b"c" * 32
TOKEN = b"t" * 32
NOW = 1_795_339_800


def test_a_presentation_is_taken_once() -> None:
    cache = ReplayCache()
    assert cache.remember(CREDENTIAL, TOKEN, NOW) is None
    assert cache.remember(CREDENTIAL, TOKEN, NOW) == "replayed"
    assert cache.remember(CREDENTIAL, TOKEN, NOW + 1) == "replayed"


def test_another_token_of_the_same_credential_is_another_presentation() -> None:
    cache = ReplayCache()
    assert cache.remember(CREDENTIAL, TOKEN, NOW) is None
    assert cache.remember(CREDENTIAL, b"u" * 32, NOW) is None
    assert cache.remember(b"d" * 32, TOKEN, NOW) is None


def test_a_presentation_is_remembered_as_long_as_it_could_be_shown() -> None:
    # First shown 60 s before its own time, at the latest 90 s after it.
    cache = ReplayCache()
    assert cache.remember(CREDENTIAL, TOKEN, NOW) is None
    assert cache.remember(CREDENTIAL, TOKEN, NOW + REPLAY_WINDOW) == "replayed"
    assert cache.remember(CREDENTIAL, TOKEN, NOW + REPLAY_WINDOW + 1) is None


def test_showing_it_again_does_not_prolong_the_memory() -> None:
    cache = ReplayCache()
    cache.remember(CREDENTIAL, TOKEN, NOW)
    assert cache.remember(CREDENTIAL, TOKEN, NOW + 100) == "replayed"
    assert cache.remember(CREDENTIAL, TOKEN, NOW + REPLAY_WINDOW + 1) is None


def test_a_clock_set_back_forgets_nothing() -> None:
    cache = ReplayCache()
    assert cache.remember(CREDENTIAL, TOKEN, NOW) is None
    assert cache.remember(CREDENTIAL, TOKEN, NOW - 86_400) == "replayed"
    assert cache.remember(CREDENTIAL, b"u" * 32, NOW - 86_400) is None
    assert cache.remember(CREDENTIAL, b"u" * 32, NOW) == "replayed"


def test_a_full_cache_accepts_nothing_rather_than_forget() -> None:
    cache = ReplayCache(capacity=2)
    assert cache.remember(CREDENTIAL, b"1", NOW) is None
    assert cache.remember(CREDENTIAL, b"2", NOW) is None
    assert cache.remember(CREDENTIAL, b"3", NOW) == "replay_cache_full"
    assert cache.remember(CREDENTIAL, b"1", NOW) == "replayed"
    assert cache.remember(CREDENTIAL, b"3", NOW + REPLAY_WINDOW + 1) is None


def test_of_many_threads_one_is_the_first() -> None:
    cache = ReplayCache()
    barrier = Barrier(8)
    answers: list[str | None] = []

    def show() -> None:
        barrier.wait()
        for number in range(200):
            answers.append(cache.remember(CREDENTIAL, number.to_bytes(2, "big"), NOW))

    threads = [Thread(target=show) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(None) == 200
    assert answers.count("replayed") == 1400


def test_its_content_is_not_printed() -> None:
    cache = ReplayCache()
    cache.remember(CREDENTIAL, TOKEN, NOW)
    assert "ccc" not in repr(cache)
