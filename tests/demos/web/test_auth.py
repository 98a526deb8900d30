from __future__ import annotations

import pytest

from humar_edge.errors import ConfigError

pytest.importorskip("aiohttp")
auth = pytest.importorskip("humar_edge.demos.web.auth")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.3"])
def test_this_machine_needs_no_token(host):
    assert auth.is_loopback(host)
    assert auth.choose_token(host, None) is None
    assert auth.choose_token(host, "open-sesame") == "open-sesame"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "camera.local", "", "127.0.0.1.evil.example"])
def test_the_network_gets_a_new_token(host):
    first, second = auth.choose_token(host, None), auth.choose_token(host, None)
    assert len(first) >= 20 and first != second


@pytest.mark.parametrize("token", ["", "short", "with spaces in it", 'quotes"quotes', "semi;colons", "ключключ"])
def test_weak_or_unusable_tokens_are_refused(token):
    with pytest.raises(ConfigError, match="at least 8"):
        auth.choose_token("127.0.0.1", token)


def test_only_the_whole_token_is_known():
    guard = auth.Guard("0.0.0.0", "open-sesame")
    assert guard.knows("open-sesame")
    assert not any(guard.knows(token) for token in ("", "open", "open-sesame ", "Open-Sesame", "сезам", "\ud800"))


def test_without_a_token_nothing_is_a_token():
    assert not auth.Guard("127.0.0.1", None).knows("")
