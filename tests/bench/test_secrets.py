"""Nothing that a run leaves behind or says tells a password, a credential, an install code or a key of its bench file."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.data import BadInput
from bench.evidence.mask import HIDDEN, is_secret, masked, masked_text
from bench.inventory import load
from twins import models
from twins.mirror.passwords import hash_password
from twins.premises import han

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")

CODE = han.install_code(b"\x5a\x17\xe2\x9c\x40\xbd")
SECRETS = {
    "install code": CODE,
    "link key": han.link_key(CODE),
    "credential": b"plum tree 7731",
    "reader's password": b"rd-71903-lantern",
    "utility's password": b"ut-55120-harbour",
    "master's password": b"ma-90417-thistle",
    "password in the environment": b"en-32665-marble",
    "password behind a hash": b"ha-18452-violin",
}
HASH = hash_password(SECRETS["password behind a hash"].decode())


def bench_file(tmp_path: Path, packet_size: int = 1024) -> Path:
    """The twin bench with a secret of its own wherever it takes one."""
    data = yaml.safe_load((ROOT / "inventory/benches/twin.yaml").read_text(encoding="utf-8"))
    for entry in data["targets"]["site"]["drivers"]:
        if "AmiMeterDriver" in entry:
            entry["AmiMeterDriver"]["password"] = SECRETS["utility's password"].decode()
            entry["AmiMeterDriver"]["packet_size"] = packet_size
    section = data["twinbench"]
    for level in ("reader", "utility", "master"):
        section["devices"]["meter"]["options"][f"{level}_password"] = SECRETS[f"{level}'s password"].decode()
    section["devices"]["meter"]["options"]["han_devices"] = {"0x00158d0000000004": CODE.hex()}
    section["devices"]["display"]["options"]["install_code"] = CODE.hex()
    section["utility"]["customers"][0]["credential"] = SECRETS["credential"].decode()
    section["mirror"]["users"] = [
        {"name": "olive", "role": "operator", "password_hash": HASH},
        {"name": "otto", "role": "observer", "password_env": "OTTOS_PASSWORD"},
    ]
    path = tmp_path / "secret.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def forms(secret: bytes) -> dict[str, bytes]:
    """How a secret could stand in a file."""
    found = {"hex": secret.hex().encode(), "HEX": secret.hex().upper().encode(), "base64": base64.b64encode(secret)}
    if secret.isascii():
        found["text"] = secret
    else:
        found["hex of its hex"] = secret.hex().encode().hex().encode()
    return found


def told(where: str, content: bytes) -> list[str]:
    """Which secrets some bytes tell."""
    return [
        f"{where} tells the {name} as {form}"
        for name, secret in SECRETS.items()
        for form, text in forms(secret).items()
        if text in content
    ]


def crossed(log: Path) -> dict[str, bytes]:
    """What crossed a link each way, in one piece: a secret may be logged in two."""
    ways: defaultdict[str, bytes] = defaultdict(bytes)
    for line in log.read_text(encoding="utf-8").splitlines():
        _, _, way, data = line.split()
        ways[way] += bytes.fromhex(data)
    return ways


@pytest.mark.parametrize("packet_size", [1024, 20])
def test_no_secret_of_a_bench_is_in_its_record_or_on_the_screen(tmp_path: Path, packet_size: int) -> None:
    out = tmp_path / "run"
    done = subprocess.run(
        [COMMAND, "certify", "--bench", bench_file(tmp_path, packet_size), "--only", "C3-S1", "--out", out, "--json"],
        cwd=ROOT,
        env={**os.environ, "OTTOS_PASSWORD": SECRETS["password in the environment"].decode()},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = told("stdout", done.stdout) + told("stderr", done.stderr)
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        found += told(path.name, content)
        assert HASH.encode() not in content
        if path.suffix == ".log":
            for way, data in crossed(path).items():
                found += [f"{path.name}, {way}: {name}" for name, secret in SECRETS.items() if secret in data]
                found += told(f"{path.name}, {way}", data)
    assert found == []
    # The display was asked for its keys, and the meter for its password: they were there to be told.
    assert b"<LinkKey>*" in crossed(out / "wire" / "display-usb.log")["rx"]
    room = packet_size - 8
    message = (b"\x51" + SECRETS["utility's password"]).ljust(21, b"\0")
    pieces = [message[at : at + room] for at in range(0, 21, room)]
    line = crossed(out / "wire" / "meter-optical.log")["tx"]
    assert b"\x51" + b"*" * (len(pieces[0]) + 1) in line
    assert [piece for piece in pieces if piece.lstrip(b"\x51").strip(b"\0") in line] == []


def test_the_record_s_bench_file_is_hidden_where_it_is_secret_and_nowhere_else(tmp_path: Path) -> None:
    text = (ROOT / "inventory/benches/twin.yaml").read_text(encoding="utf-8")
    hidden = masked_text(text)
    assert yaml.safe_load(hidden) == masked(yaml.safe_load(text))
    changed = [(a, b) for a, b in zip(text.splitlines(), hidden.splitlines(), strict=True) if a != b]
    assert [b.strip() for _, b in changed] == [
        f'han_devices: {{"0x00158d0000000004": {HIDDEN}}}',
        f"clients: [{{name: suite, token: {HIDDEN}}}]",
        *[f"credential: {HIDDEN}"] * text.count("credential:"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: {password: x y, other: 1}\n",
        "a:\n  - link_key: 'x: y'  # why\n  - b: 2\n",
        'a: {tokens: [one, "two"], b: "ü"}\n',
        "a:\n  secret: |\n    one\n    two\n  b: 2\n",
        "a: {password: null, b: [1, 2]}\n",
    ],
)
def test_any_way_to_write_a_secret_is_hidden(text: str) -> None:
    assert yaml.safe_load(masked_text(text)) == masked(yaml.safe_load(text))


@pytest.mark.parametrize("model", models.names())
def test_an_option_that_sounds_secret_is_hidden_and_in_no_repr(model: str) -> None:
    fields = models.find(model).options.model_fields
    for name, field in fields.items():
        sounds = any(word in name for word in ("password", "install_code", "key", "credential", "han_devices"))
        assert is_secret(name) == sounds, name
        assert field.repr is not sounds, f"{model}: {name} shows in a repr"


def _wrong(data: dict[str, Any]) -> None:
    data["devices"]["display"]["options"]["install_code"] = "0102030405060708"


def _mistyped(data: dict[str, Any]) -> None:
    data["devices"]["meter"]["options"]["han_devices"] = {"0x00158d0000000004": "0102030405060708"}


def _too_long(data: dict[str, Any]) -> None:
    data["devices"]["meter"]["options"]["master_password"] = "0102030405060708" * 2


def _no_text(data: dict[str, Any]) -> None:
    data["utility"]["customers"][0]["credential"] = ["0102030405060708"]


@pytest.mark.parametrize("change", [_wrong, _mistyped, _too_long, _no_text])
def test_a_secret_that_is_refused_is_not_quoted(tmp_path: Path, change: Any) -> None:
    path = bench_file(tmp_path)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(data["twinbench"])
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    with pytest.raises(BadInput) as no:
        load(path)
    assert "0102030405060708" not in str(no.value)
    assert json.dumps(HIDDEN)[1:-1] in str(no.value)
