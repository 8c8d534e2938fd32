"""Every kind of link that a bench file can give a device: the bench comes up on it, and the device is really there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.bench import Bench
from bench.data import BadInput
from bench.inventory import load
from drivers.links import ModbusTcpLink, VisaLink

TWIN_BENCH = Path(__file__).parents[2] / "inventory/benches/twin.yaml"


def bench_file(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The twin bench with some of its text changed."""
    text = TWIN_BENCH.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "bench.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("scheme", "begins", "ends"),
    [
        ("vxi11", "TCPIP::127.0.0.1,", "::inst0::INSTR"),
        ("hislip", "TCPIP::127.0.0.1::hislip0,", "::INSTR"),
        ("tcp", "TCPIP::127.0.0.1::", "::SOCKET"),
        ("pty", "ASRL/dev/pts/", "::INSTR"),
    ],
)
def test_the_analyzer_is_reached_by_visa(tmp_path, scheme, begins, ends):
    path = bench_file(tmp_path, ("lan: {scheme: vxi11}", f"lan: {{scheme: {scheme}}}"))
    with Bench(load(path)) as bench:
        resource = bench.target.get_resource(VisaLink, name="analyzer-lan").resource
        assert resource.startswith(begins)
        assert resource.endswith(ends)
        analyzer = bench.device("analyzer")
        assert analyzer.identify().model == "WT310E"
        bench.device("relay").close(1)
        bench.device("relay").close(2)
        bench.advance(2)
        assert analyzer.read() == bench.call(bench.twins["analyzer"].read)
        analyzer.start_integration()
        bench.advance(3600)
        assert analyzer.integrated() == bench.call(bench.twins["analyzer"].integrated)


def test_the_relay_is_reached_by_modbus_tcp(tmp_path):
    path = bench_file(
        tmp_path,
        ('ModbusRtuLine: {name: relay-bus, port: "', 'ModbusTcpLink: {name: relay-bus, address: "'),
        ("bus: {scheme: rtu}", "bus: {scheme: modbus}"),
    )
    with Bench(load(path)) as bench:
        host, _, port = bench.target.get_resource(ModbusTcpLink, name="relay-bus").address.partition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        relay = bench.device("relay")
        relay.close(2)
        bench.advance(1)
        assert relay.closed()[1]
        assert bench.site.contact("load-switch").closed
        relay.open_all()
        bench.advance(1)
        assert not bench.site.contact("load-switch").closed


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lan: {scheme: vxi11}", "lan: {scheme: modbus}", "a VisaLink reaches vxi11, hislip, tcp, pty"),
        ("bus: {scheme: rtu}", "bus: {scheme: modbus}", "a ModbusRtuLine reaches rtu"),
    ],
)
def test_a_link_that_cannot_carry_the_face_is_told(tmp_path, old, new, says):
    with pytest.raises(BadInput, match=says):
        load(bench_file(tmp_path, (old, new)))


def test_the_bench_file_itself_names_no_address():
    links = yaml.safe_load(TWIN_BENCH.read_text(encoding="utf-8"))["targets"]["site"]["resources"]
    assert all("twin:" in str(link) for link in links)


def test_a_real_device_is_told_with_the_end_of_its_link():
    bench = Bench(load(TWIN_BENCH.with_name("lab-example.yaml")))
    try:
        bench.serve_twins()
        bench.bind_drivers()
        links = {one["name"]: one["link"] for one in bench.describe() if one["kind"] == "real"}
    finally:
        bench.down()
    assert links["meter"] == "/dev/serial/by-id/usb-optical-probe"
    assert links["analyzer"] == "TCPIP::wt310e.lab.example::INSTR"
    assert all(links.values())
