"""Passwords, settings and the cache of standard nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.mirror.conftest import Bench, node
from twins.mirror import standard_nodes
from twins.mirror.passwords import check_hash, hash_password, verify_password
from twins.mirror.server import MirrorConfig, MirrorError


def test_a_password_is_known_by_its_hash_alone() -> None:
    stored = hash_password("näive pass$word")
    assert verify_password("näive pass$word", stored)
    assert not verify_password("naive pass$word", stored)
    assert not verify_password("", stored)
    assert "pass" not in stored
    assert stored != hash_password("näive pass$word"), "each has a salt of its own"


def test_a_hash_made_elsewhere_is_understood() -> None:
    # RFC 7914, section 12: password "pleaseletmein", salt "SodiumChloride", N 16384, r 8, p 1, here its first 32 bytes
    stored = "scrypt$16384$8$1$U29kaXVtQ2hsb3JpZGU=$cCO9yzr9c0hGHAbNgV047/2ohDG+934O/+V227+o+98="
    assert not verify_password("pleaseletmein ", stored)
    expected = bytes.fromhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2")
    import base64

    assert verify_password(
        "pleaseletmein", f"scrypt$16384$8$1$U29kaXVtQ2hsb3JpZGU=${base64.b64encode(expected).decode()}"
    )


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==",
        "scrypt$x$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt$16383$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt$1073741824$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt$16384$8$1$????$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt$16384$8$1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "bcrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_what_is_no_hash_is_refused(stored: str) -> None:
    with pytest.raises(ValueError, match="password hash"):
        check_hash(stored)


def test_an_empty_password_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one character"):
        hash_password("")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"users": [{"name": "a"}]}, "either password_hash or password_env"),
        ({"users": [{"name": "a", "password_hash": "x"}]}, "scrypt\\$N"),
        ({"users": [{"name": "a", "password_env": "A"}, {"name": "a", "password_env": "B"}]}, "'a' stands twice"),
        ({"users": [{"name": "a", "password": "x"}]}, "password"),
        ({"users": [{"name": "a", "password_env": "A", "role": "admin"}]}, "observer"),
        ({"port": 70000}, "65535"),
        ({"cadence_s": 0}, "greater than 0"),
        ({"application_uri": "http://x y"}, "pattern"),
        ({"prot": 4840}, "prot"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MirrorConfig.model_validate(settings)


def test_by_default_nobody_may_read_and_nobody_from_outside_can_connect() -> None:
    config = MirrorConfig()
    assert not config.anonymous_read
    assert config.host == "127.0.0.1"


def test_hashes_stay_out_of_what_is_printed() -> None:
    config = MirrorConfig.model_validate({"users": [{"name": "a", "password_hash": hash_password("x")}]})
    assert "scrypt" not in repr(config)


def test_a_password_may_come_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [{"name": "erin", "role": "operator", "password_env": "ERINS_PASSWORD"}]
    with pytest.raises(MirrorError, match="'erin' is wanted in the environment variable ERINS_PASSWORD; set it"):
        bench.start(users=users)
    monkeypatch.setenv("ERINS_PASSWORD", "erin's secret")
    bench.start(users=users)
    assert bench.talk(lambda client: node(client, "Bench/Clock/Stepped").read_value(), "erin")


def test_certificates_that_cannot_be_kept_are_named(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MirrorError, match=r"set mirror\.certificates"):
        bench.start(certificates=tmp_path / "file")


def test_standard_nodes_are_built_anew_where_the_cache_is_damaged_or_not_ours(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = standard_nodes.cache_file()
    assert path.is_relative_to(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"\x80\x05 not a pickle")
    bench.start()
    assert path.stat().st_size > 1_000_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    bench.talk(lambda client: client.nodes.server.get_children())
    assert bench.mirror is not None
    bench.thread.run(bench.mirror.stop())
    path.chmod(0o666)
    assert standard_nodes._read(path) is None


def test_cached_nodes_are_the_ones_that_asyncua_builds(bench: Bench) -> None:
    bench.start()

    async def ids(client: object) -> set[object]:
        server = bench.mirror._server  # type: ignore[union-attr]
        assert server is not None
        space = server.iserver.aspace
        return {key for key in space.keys() if key.NamespaceIndex == 0}  # noqa: SIM118 - not a mapping

    from asyncua.server.internal_server import InternalServer

    plain = InternalServer()
    bench.thread.run(InternalServer.load_standard_address_space(plain))
    assert bench.thread.run(ids(None)) == set(plain.aspace.keys())
