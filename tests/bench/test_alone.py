"""`twinbench twin`: one device alone, on every wire it has, spoken to by programs that are not ours."""

from __future__ import annotations

import json
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from vxi11 import vxi11

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")
NO_MBPOLL = shutil.which("mbpoll") is None


@contextmanager
def serving(model: str, *listen: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A twin alone, ready; gives the process and the address of each scheme."""
    command = [COMMAND, "twin", model]
    for one in listen:
        command += ["--listen", one]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 120)[0], "it was not ready in time"
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        ready = json.loads(line)
        assert set(ready) == {"model", "endpoints"}
        assert ready["model"] == model
        assert [set(one) for one in ready["endpoints"]] == [{"scheme", "address"}] * len(listen)
        assert [one["scheme"] for one in ready["endpoints"]] == [one.partition(":")[0] for one in listen]
        yield process, {one["scheme"]: one["address"] for one in ready["endpoints"]}
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> None:
    """Told to end, it does so cleanly and says nothing more."""
    process.send_signal(number)
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said, complained) == (0, "", "")


def port_of(address: str) -> int:
    host, _, port = address.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    return int(port)


def refused(*arguments: str) -> str:
    """It does not start: exit code 4 and one line."""
    done = subprocess.run(
        [COMMAND, "twin", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


# --- how it starts and ends -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("model", ["waveshare-relay", "yokogawa-wt310e", "ami-meter"])
def test_every_face_at_once_and_a_clean_end(model: str, number: signal.Signals, tmp_path: Path) -> None:
    line = tmp_path / "line"
    faces = {
        "waveshare-relay": (f"rtu:{line}", "modbus:127.0.0.1:0"),
        "yokogawa-wt310e": ("vxi11:127.0.0.1:0", f"pty:{line}", "tcp:127.0.0.1:0"),
        "ami-meter": (f"pty:{line}", "tcp:127.0.0.1:0"),
    }[model]
    with serving(model, *faces) as (process, addresses):
        assert line.is_symlink()
        assert line.resolve().is_char_device()
        assert addresses[next(f.partition(":")[0] for f in faces if str(line) in f)] == str(line)
        ports = [port_of(address) for address in addresses.values() if ":" in address]
        assert len(set(ports)) == len(faces) - 1
        for port in ports:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        ended(process, number)
        assert not line.is_symlink()
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)


def test_two_ports_of_one_kind() -> None:
    with serving("ami-meter", "tcp:127.0.0.1:0", "tcp:127.0.0.1:0") as (process, _):
        ended(process)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ami-metre", "--listen", "pty:/tmp/x"], ["'ami-metre'", "ami-meter"]),
        (["ami-meter", "--listen", "vxi11:127.0.0.1:0"], ["no face 'vxi11'", "pty", "tcp"]),
        (["ami-meter", "--listen", "pyt:/tmp/x"], ["no face 'pyt'", "did you mean 'pty'"]),
        (["ami-meter", "--listen", "pty:"], ["needs a path"]),
        (["ami-meter", "--listen", "pty"], ["--listen pty", "pty:"]),
        (["ami-meter", "--listen", ""], ["--listen"]),
        (["ami-meter", "--listen", "tcp:0"], ["tcp:HOST:PORT"]),
        (["ami-meter", "--listen", "tcp::0"], ["tcp:HOST:PORT"]),
        (["ami-meter", "--listen", "tcp:127.0.0.1:port"], ["tcp:HOST:PORT"]),
        (["ami-meter", "--listen", "tcp:127.0.0.1:65536"], ["tcp:HOST:PORT"]),
        (["ami-meter", "--listen", "tcp:127.0.0.1:²"], ["tcp:HOST:PORT"]),
        (["ami-meter", "--listen", "tcp:::1:0"], ["tcp:HOST:PORT", "brackets"]),
        (["ami-meter", "--listen", "tcp:[::1:0"], ["tcp:HOST:PORT", "brackets"]),
        (["ami-meter", "--listen", "tcp:[127.0.0.1]:0"], ["tcp:HOST:PORT", "brackets"]),
        (
            ["ami-meter", "--listen", "tcp:no-such-host.invalid:0"],
            ["no-such-host.invalid", "no such host", "this machine"],
        ),
        (["ami-meter", "--listen", "tcp:192.0.2.1:4059"], ["192.0.2.1", "none of this machine's; choose one"]),
        (["ami-meter", "--listen", "pty:/no/such/directory/line"], ["/no/such/directory/line"]),
        (["ami-meter", "--listen", "tcp:127.0.0.1:0", "--defect", "no_receit"], ["no_receit", "no_receipt"]),
        (["ami-meter", "--listen", "tcp:127.0.0.1:0", "--defect", "never_commands"], ["never_commands", "css"]),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments: list[str], says: list[str]) -> None:
    said = refused(*arguments)
    for piece in says:
        assert piece in said, said


def test_what_is_taken_is_left_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("keep me")
    line = tmp_path / "line"
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        said = refused("ami-meter", "--listen", f"pty:{line}", "--listen", f"tcp:127.0.0.1:{port}")
        assert f"127.0.0.1:{port}" in said
        assert "choose another port" in said
        assert not line.is_symlink(), "the face that was open already is closed again"
    said = refused("ami-meter", "--listen", f"pty:{mine}")
    assert "exists already" in said
    assert mine.read_text() == "keep me"


def test_a_twin_whose_timer_fails_says_so_and_closes_its_faces(tmp_path: Path) -> None:
    line = tmp_path / "line"
    program = [
        sys.executable,
        "-m",
        "tests.bench.failing_twin",
        "--listen",
        f"pty:{line}",
        "--listen",
        "tcp:127.0.0.1:0",
    ]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done
    (said,) = done.stderr.splitlines()
    assert re.search(r"a timer of the twin failed.*ZeroDivisionError.*failing_twin\.py:\d+.*start it anew", said), said
    assert not line.is_symlink()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(json.loads(done.stdout)["endpoints"][1]["address"])), timeout=5)


@pytest.mark.parametrize(
    ("model", "scheme"),
    [
        ("ami-meter", "tcp"),
        ("waveshare-relay", "modbus"),
        ("yokogawa-wt310e", "vxi11"),
        ("yokogawa-wt310e", "hislip"),
        ("yokogawa-wt310e", "tcp"),
        ("yokogawa-wt310e", "modbus"),
    ],
)
def test_an_ipv6_address_stands_in_brackets_both_ways(model: str, scheme: str) -> None:
    with serving(model, f"{scheme}:[::1]:0") as (process, addresses):
        host, _, port = addresses[scheme].rpartition(":")
        assert host == "[::1]"
        socket.create_connection(("::1", int(port)), timeout=5).close()
        ended(process)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as somebody:
        taken = somebody.getsockname()[1]
        said = refused(model, "--listen", f"{scheme}:[::1]:{taken}")
        assert f"--listen {scheme}:[::1]:{taken}: address already in use; choose another port" in said


def test_a_path_that_a_killed_twin_left_is_taken_over(tmp_path: Path) -> None:
    for turn in range(10):
        line = tmp_path / f"line{turn}"
        with serving("ami-meter", f"pty:{line}") as (process, _):
            process.kill()
            process.wait(60)
        assert line.is_symlink()
        try:
            with serving("ami-meter", f"pty:{line}") as (process, _):
                ended(process)
        except AssertionError as no:
            if "exists already" in str(no):
                continue  # somebody has been given a pseudo-terminal of the same number in between
            raise
        assert not line.is_symlink()
        return
    pytest.fail("the number of the pseudo-terminal was given to somebody else, ten times")


# --- spoken to from outside ---------------------------------------------------------------------------------------------


def mbpoll(*arguments: str) -> str:
    return subprocess.run(
        ["mbpoll", "-o", "10", *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.skipif(NO_MBPOLL, reason="mbpoll is not installed")
def test_mbpoll_and_the_relay(tmp_path: Path) -> None:
    line = str(tmp_path / "bus")
    rtu = ("-m", "rtu", "-b", "9600", "-P", "none", "-a", "1", "-t", "0", "-r")
    with serving("waveshare-relay", f"rtu:{line}", "modbus:127.0.0.1:0") as (process, addresses):
        tcp = ("-m", "tcp", "-p", str(port_of(addresses["modbus"])), "-a", "1", "-t", "0", "-r")
        assert "Written 1 references" in mbpoll(*rtu, "3", line, "1")
        found = {
            "rtu": mbpoll(*rtu, "1", "-c", "8", "-1", line),
            "tcp": mbpoll(*tcp, "1", "-c", "8", "-1", "127.0.0.1"),
        }
        for said in found.values():  # both faces are one board
            assert re.findall(r"^\[(\d+)\]:\s+1", said, re.M) == ["3"], said
        ended(process)


def test_a_vxi11_client_and_the_analyzer() -> None:
    with serving("yokogawa-wt310e", "vxi11:127.0.0.1:0") as (process, addresses):
        client: Any = vxi11.CoreClient("127.0.0.1", port_of(addresses["vxi11"]))
        error, link, _, largest = client.create_link(1, False, 0, b"inst0")
        assert (error, largest > 0) == (0, True)

        def ask(question: bytes) -> str:
            error, written = client.device_write(link, 20_000, 0, 8, question + b"\n")
            assert (error, written) == (0, len(question) + 1)
            error, _, answer = client.device_read(link, 4096, 20_000, 0, 0, 0)
            assert error == 0
            return str(answer.decode()).strip()

        assert ask(b"*IDN?").startswith("YOKOGAWA,WT310E,")
        client.device_write(link, 20_000, 0, 8, b":INPUT:VOLTAGE:AUTO ON;:INPUT:CURRENT:AUTO ON\n")
        asked = b":NUMERIC:NORMAL:NUMBER 4;ITEM1 U,1;ITEM2 I,1;ITEM3 P,1;ITEM4 LAMBDA,1;:NUMERIC:FORMAT ASCII;"
        volts = amperes = watts = factor = 0.0
        until = time.monotonic() + 30
        while abs(amperes - 5) > 0.05 and time.monotonic() < until:
            time.sleep(0.5)  # an update period, which is real on the wall clock: its ranges change from one to the next
            volts, amperes, watts, factor = map(float, ask(asked + b":NUMERIC:NORMAL:VALUE?").split(","))
        assert volts == pytest.approx(240, rel=0.005)
        assert amperes == pytest.approx(5, rel=0.01)
        assert watts == pytest.approx(1200, rel=0.01)
        assert factor == pytest.approx(1, abs=0.005)
        assert ask(b":STATUS:ERROR?").startswith("0,")
        assert client.destroy_link(link) == 0
        client.close()
        ended(process)


def test_a_c1218_client_and_the_meter(tmp_path: Path) -> None:
    line = str(tmp_path / "optical")
    with serving("ami-meter", f"pty:{line}") as (process, _):
        done = subprocess.run(
            [sys.executable, ROOT / "tests" / "clients" / "c1218_client.py", line],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["manufacturer"] == "TWBN"
        assert (said["logoff"], said["terminate"]) == (0, 0)
        ended(process)
