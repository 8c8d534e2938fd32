"""Bench files: what is wrong with one is told in a line that names the file, the line, the key and what would be right."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import cli, inventory
from bench.data import BadInput
from twins.clock import SteppedClock
from twins.wiring import Contact, Tap

ROOT = Path(__file__).parents[2]
BENCHES = ROOT / "inventory" / "benches"
SMALL = Path(__file__).with_name("one-of-each.yaml")
TWIN = SMALL.read_text(encoding="utf-8")


def refusal(text: str | bytes, tmp_path: Path) -> str:
    """What `load` says to a bench file of this text: one line that begins with the file."""
    file = tmp_path / "bench.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as caught:
        inventory.load(file)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(file)), said
    return said.removeprefix(str(file))


def line_with(text: str, piece: str) -> int:
    """The line (from 1) that holds a piece of text; there is exactly one."""
    # A piece that begins with ^ is the line's beginning.
    (found,) = [number for number, line in enumerate(text.splitlines(), 1) if piece in f"^{line}"]
    return found


def changed(old: str, new: str) -> str:
    """The small bench's file with one place of it changed."""
    assert TWIN.count(old) == 1, f"{old!r} stands {TWIN.count(old)} times"
    return TWIN.replace(old, new)


# What is changed, to what, the text that the named line holds, and what the message has to say.
WRONG: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "key at the top": ("\ntargets:", "\ntarget:", "^target:", ("target", "unknown key", "did you mean 'targets'")),
    "key of a target": ("    drivers:", "    drives:", "drives:", ("targets.site.drives", "did you mean 'drivers'")),
    "attribute of a resource": (
        'port: "twin:meter/optical"}',
        'prot: "twin:meter/optical"}',
        "prot:",
        ("SerialLine.prot", "unknown attribute of SerialLine", "did you mean 'port'"),
    ),
    "attribute of a driver": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, passwort: x, bindings: {line: meter-optical}}",
        "passwort",
        ("AmiMeterDriver.passwort", "did you mean 'password'"),
    ),
    "attribute of the strategy": (
        "          interval_min: 60",
        "          intervall_min: 60",
        "intervall_min",
        ("SiteStrategy.intervall_min", "did you mean 'interval_min'"),
    ),
    "key of the section": ("  seed: 1", "  sead: 1", "sead", ("twinbench.sead", "unknown key", "did you mean 'seed'")),
    "key of a device": (
        "      options: {tap: load-side}",
        "      option: {tap: load-side}",
        "option:",
        ("twinbench.devices.analyzer.option", "did you mean 'options'"),
    ),
    "key of options": (
        "processing_s: 2.0",
        "procesing_s: 2.0",
        "procesing_s",
        ("twinbench.devices.meter.options.procesing_s", "did you mean 'processing_s'"),
    ),
    "key of a face": (
        "optical: {scheme: pty}",
        "optical: {scheme: pty, baud: 9600}",
        "baud:",
        ("twinbench.devices.meter.faces.optical.baud", "unknown key", "paced_baud"),
    ),
    "key of an identity": (
        "identity: {manufacturer: YOKOGAWA, model: WT310E}",
        "identity: {maker: YOKOGAWA}",
        "maker:",
        ("twinbench.devices.analyzer.identity.maker", "manufacturer"),
    ),
    "key of the clock": ("{kind: stepped, ", "{kin: stepped, ", "kin:", ("twinbench.clock.kin", "did you mean 'kind'")),
    "key of the utility": (
        "      minimum_cents: 1000",
        "      minimun_cents: 1000",
        "minimun_cents",
        ("twinbench.utility.payments.minimun_cents", "did you mean 'minimum_cents'"),
    ),
    "key of a customer": (
        "        language: es",
        "        langage: es",
        "langage",
        ("twinbench.utility.customers.0.langage", "did you mean 'language'"),
    ),
    "key of an account": (
        "            at_zero: disconnect",
        "            atzero: disconnect",
        "atzero",
        ("twinbench.utility.customers.0.accounts.0.atzero", "did you mean 'at_zero'"),
    ),
    "key of the mirror": (
        "mirror: {anonymous_read: true}",
        "mirror: {anonymus_read: true}",
        "anonymus_read",
        ("twinbench.mirror.anonymus_read", "did you mean 'anonymous_read'"),
    ),
    "key of a wiring node": (
        "{tap: line-side, behind: supply}",
        "{tap: line-side, behnd: supply}",
        "behnd",
        ("twinbench.wiring.2", "behnd", "did you mean 'behind'"),
    ),
    "wrong type of a number": (
        "          supply_channel: 1",
        "          supply_channel: one",
        "supply_channel",
        ("SiteStrategy", "supply_channel", "'one'"),
    ),
    "wrong type in the section": ("  seed: 1", "  seed: many", "seed: many", ("twinbench.seed", "'many'", "integer")),
    "wrong type in the wiring": (
        "kind: current, value: 2.5",
        "kind: current, value: some",
        "value: some",
        ("twinbench.wiring.6", "value", "'some'"),
    ),
    "wrong type of options": (
        "meter_id: TB-0001, processing_s",
        "meter_id: [1], processing_s",
        "meter_id: [1]",
        ("twinbench.devices.meter.options.meter_id", "string"),
    ),
    "epoch without a zone": (
        "epoch: 2026-01-05T08:00:00Z",
        "epoch: 2026-01-05T08:00:00",
        "epoch:",
        ("twinbench.clock.epoch", "time zone", "2026-01-05T08:00:00Z"),
    ),
    "key twice": ("  seed: 1\n", "  seed: 1\n  seed: 2\n", "seed: 2", ("'seed' stands twice",)),
    "wiring node twice": (
        "{tap: load-side, behind: service}",
        "{tap: line-side, behind: service}",
        "{tap: line-side, behind: service}",
        ("twinbench.wiring.4", "'line-side' stands twice", "own"),
    ),
    "wiring behind nothing": (
        "{contact: service, behind: line-side}",
        "{contact: service, behind: lineside}",
        "behind: lineside",
        ("twinbench.wiring.3", "'lineside' is not in the wiring above", "did you mean 'line-side'"),
    ),
    "resource name twice": (
        "VisaLink: {name: analyzer-lan, ",
        "VisaLink: {name: relay-bus, ",
        "VisaLink",
        ("VisaLink.name", "'relay-bus' stands twice"),
    ),
    "driver name twice": (
        "YokogawaWt310eDriver: {name: analyzer,",
        "YokogawaWt310eDriver: {name: relay,",
        "YokogawaWt310eDriver",
        ("YokogawaWt310eDriver.name", "'relay' stands twice"),
    ),
    "resource class": (
        "- VisaLink:",
        "- VisaLin:",
        "- VisaLin:",
        ("targets.site.resources.1.VisaLin", "unknown resource class", "did you mean 'VisaLink'"),
    ),
    "driver class": (
        "- AmiMeterDriver:",
        "- AmiMetreDriver:",
        "- AmiMetreDriver:",
        ("targets.site.drivers.2.AmiMetreDriver", "unknown driver class", "did you mean 'AmiMeterDriver'"),
    ),
    "import": (
        "  - drivers.relays.waveshare",
        "  - drivers.relays.waveshore",
        "waveshore",
        ("imports.1", "cannot import 'drivers.relays.waveshore'"),
    ),
    "missing attribute": (
        '{name: relay-bus, port: "twin:relay/bus", device_id: 1}',
        "{name: relay-bus, device_id: 1}",
        "ModbusRtuLine",
        ("targets.site.resources.0.ModbusRtuLine", "'port' is missing"),
    ),
    "missing name": (
        '{name: relay-bus, port: "twin:relay/bus", device_id: 1}',
        '{port: "twin:relay/bus", device_id: 1}',
        "ModbusRtuLine",
        ("ModbusRtuLine", "at least a name"),
    ),
    "link to no device": (
        "twin:relay/bus",
        "twin:relais/bus",
        "twin:relais/bus",
        ("ModbusRtuLine.port", "no device 'relais'", "twin:DEVICE/FACE", "did you mean 'relay'"),
    ),
    "link to no face": (
        "twin:meter/optical",
        "twin:meter/optic",
        "twin:meter/optic",
        ("SerialLine.port", "'meter' has no face 'optic'", "did you mean 'optical'"),
    ),
    "scheme": (
        "optical: {scheme: pty}",
        "optical: {scheme: rtu}",
        "optical: {scheme: rtu",
        ("twinbench.devices.meter.faces.optical.scheme", "ami-meter has no such face", "pty"),
    ),
    "link of another kind": (
        "twin:relay/bus",
        "twin:analyzer/lan",
        "ModbusRtuLine",
        ("ModbusRtuLine.port", "analyzer/lan is a vxi11 face", "a ModbusRtuLine reaches rtu"),
    ),
    "link that reaches no twin": (
        '- VisaLink: {name: analyzer-lan, resource: "twin:analyzer/lan"}',
        '- NetworkService: {name: analyzer-lan, address: "twin:analyzer/lan", username: me}',
        "NetworkService",
        ("NetworkService.address", "cannot reach a twin", "VisaLink"),
    ),
    "paced network": (
        "lan: {scheme: vxi11}",
        "lan: {scheme: vxi11, paced_baud: 9600}",
        "paced_baud",
        ("faces.lan.paced_baud", "only a serial line"),
    ),
    "address of a face": (
        "lan: {scheme: vxi11}",
        "lan: {scheme: vxi11, address: localhost}",
        "address: localhost",
        ("faces.lan.address", "HOST:PORT", "'localhost'"),
    ),
    "driver of another role": (
        "      - AmiMeterDriver: {name: meter, bindings: {line: meter-optical}}",
        "      - WaveshareRelayDriver: {name: meter, bindings: {link: relay-bus}}",
        "    meter:",
        ("twinbench.devices.meter", "WaveshareRelayDriver is no driver of a Meter"),
    ),
    "binding": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, bindings: {link: meter-optical}}",
        "AmiMeterDriver",
        ("AmiMeterDriver.bindings.link", "binds no such thing", "did you mean 'line'"),
    ),
    "binding to nothing": (
        "{line: meter-optical}",
        "{line: meter-optics}",
        "meter-optics",
        ("AmiMeterDriver.bindings.line", "nothing above is named 'meter-optics'", "did you mean 'meter-optical'"),
    ),
    "binding to the wrong class": (
        "{line: meter-optical}",
        "{line: relay-bus}",
        "AmiMeterDriver",
        ("AmiMeterDriver.bindings.line", "'relay-bus' is a ModbusRtuLine", "SerialLine"),
    ),
    "binding that is missing": (
        "          bindings: {relay: relay, meter: meter, analyzer: analyzer}\n",
        "",
        "- SiteStrategy",
        (
            "SiteStrategy",
            "more than one thing above is a DeviceDriver",
            "analyzer, meter, relay",
            "bindings: {relay: NAME}",
        ),
    ),
    "nothing to bind": (
        '      - SerialLine: {name: meter-optical, port: "twin:meter/optical"}\n',
        "",
        "AmiMeterDriver",
        ("AmiMeterDriver.bindings.line", "nothing above is named 'meter-optical'"),
    ),
    "meter that isn't there": (
        "            meter_id: TB-0001",
        "            meter_id: TB-0007",
        "TB-0007",
        ("customers.0.accounts.0.meter_id", "no meter of the bench has the id 'TB-0007'", "did you mean 'TB-0001'"),
    ),
    "deviation of nothing": (
        "delivered_wh: 1.0}",
        "deliverd_wh: 1.0}",
        "deliverd_wh",
        ("twinbench.devices.meter.deviation.deliverd_wh", "did you mean 'delivered_wh'"),
    ),
    "name with a slash": ("    analyzer:\n", "    ana/lyzer:\n", "ana/lyzer", ("devices.ana/lyzer", "no `/`")),
    "no driver for a device": (
        "AmiMeterDriver: {name: meter,",
        "AmiMeterDriver: {name: metre,",
        "meter: meter, analyzer",
        ("nothing above is named 'meter'", "did you mean 'metre'"),
    ),
    "no strategy": (
        TWIN[TWIN.index("      - SiteStrategy:") : TWIN.index("twinbench:\n")],
        "\n",
        "    drivers:",
        ("targets.site.drivers", "SiteStrategy"),
    ),
    "target": ("  target: site", "  target: sight", "target: sight", ("twinbench.target", "did you mean 'site'")),
    "model": (
        "      model: ami-meter",
        "      model: ami-metre",
        "model: ami-metre",
        ("twinbench.devices.meter.model", "no twin of model 'ami-metre'", "ami-meter"),
    ),
    "role of another": (
        "role: PowerAnalyzer",
        "role: Meter",
        "PLACE role: Meter",
        ("twinbench.devices.analyzer.role", "yokogawa-wt310e is a PowerAnalyzer"),
    ),
    "role": ("role: Relay", "role: Rely", "role: Rely", ("twinbench.devices.relay.role", "'Relay'", "'Rely'")),
    "tap that isn't there": (
        "options: {tap: load-side}",
        "options: {tap: loadside}",
        "tap: loadside",
        ("twinbench.devices.analyzer.options", "'loadside' is no tap", "load-side"),
    ),
    "contact that isn't there": (
        "{1: supply, 2: load-switch}",
        "{1: supply, 2: load-swich}",
        "load-swich",
        ("twinbench.devices.relay.options", "'load-swich' is no contact", "load-switch"),
    ),
    "contact on two channels": (
        "{1: supply, 2: load-switch}",
        "{1: supply, 2: supply}",
        "2: supply",
        ("twinbench.devices.relay.options", "'supply' hangs on two channels"),
    ),
    "real device on stepped time": (
        "      faces:\n        optical: {scheme: pty}\n",
        "",
        "twin:meter/optical",
        ("'meter' has no face 'optical'",),
    ),
    "stepped time on wall": (
        "kind: stepped, epoch",
        "kind: wall, epoch",
        "kind: wall",
        ("twinbench.clock", "a wall clock has no epoch"),
    ),
    "supplier's declaration": (
        "pics: [ami-meter]",
        "pics: [ami-metre]",
        "ami-metre",
        ("twinbench.pics", "ami-metre", "ami-meter"),
    ),
    "no tariff": (
        "    tariff: {price_millicents_per_kwh: 21500}\n",
        "",
        "  utility:",
        ("twinbench.utility.tariff", "required; add it with price_millicents_per_kwh"),
    ),
    "tariff without a price": (
        "tariff: {price_millicents_per_kwh: 21500}",
        "tariff: {name: D-OTHER}",
        "D-OTHER",
        ("twinbench.utility.tariff.price_millicents_per_kwh", "required"),
    ),
    "option of labgrid": (
        "\ntargets:",
        "\noptions: {coordinator_adress: lab}\ntargets:",
        "coordinator_adress",
        ("options.coordinator_adress", "no such option", "did you mean 'coordinator_address'"),
    ),
    "options that are none": ("\ntargets:", "\noptions: 5\ntargets:", "options: 5", ("options", "is a mapping")),
    "address of the coordinator": (
        "\ntargets:",
        "\noptions: {coordinator_address: 'lab:99999'}\ntargets:",
        "99999",
        ("options.coordinator_address", "needs HOST or HOST:PORT", "99999"),
    ),
    "option of a target": (
        "  site:\n    resources:",
        "  site:\n    options: {colour: red}\n    resources:",
        "colour",
        ("targets.site.options.colour", "no option of a target", "leave it out"),
    ),
    "option of labgrid at a target": (
        "  site:\n    resources:",
        "  site:\n    options: {coordinator_address: lab}\n    resources:",
        "coordinator_address",
        ("targets.site.options.coordinator_address", "at the top of the file"),
    ),
    "features that are none": (
        "  site:\n    resources:",
        "  site:\n    features: 5\n    resources:",
        "features",
        ("targets.site.features", "is a list of names", "5"),
    ),
    "feature that is one text": (
        "  site:\n    resources:",
        "  site:\n    features: camera\n    resources:",
        "features",
        ("targets.site.features", "is a list of names", "'camera'"),
    ),
    "feature without a name": (
        "  site:\n    resources:",
        "  site:\n    features: [camera, 5]\n    resources:",
        "features",
        ("targets.site.features.1", "is the name of a feature", "5"),
    ),
    "timeout -1 of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", timeout: -1',
        "timeout: -1",
        ("SerialLine.timeout", "above 0", "-1"),
    ),
    "timeout .nan of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", timeout: .nan',
        "timeout: .nan",
        ("SerialLine.timeout", "finite", "nan"),
    ),
    "timeout .inf of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", timeout: .inf',
        "timeout: .inf",
        ("SerialLine.timeout", "finite", "inf"),
    ),
    "timeout 0 of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", timeout: 0',
        "timeout: 0",
        ("SerialLine.timeout", "above 0", "not 0"),
    ),
    "timeout soon of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", timeout: soon',
        "timeout: soon",
        ("SerialLine.timeout", "soon"),
    ),
    "baudrate 0 of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", baudrate: 0',
        "baudrate: 0",
        ("SerialLine.baudrate", "baud rate", "50 is near", "not 0"),
    ),
    "baudrate 9601 of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", baudrate: 9601',
        "baudrate: 9601",
        ("SerialLine.baudrate", "9600 is near"),
    ),
    "baudrate true of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", baudrate: true',
        "baudrate: true",
        ("SerialLine.baudrate", "baud rate", "not True"),
    ),
    "baudrate [9600] of a line": (
        'port: "twin:meter/optical"',
        'port: "twin:meter/optical", baudrate: [9600]',
        "baudrate: [9600]",
        ("SerialLine.baudrate", "baud rate"),
    ),
    "device id 300": (
        "device_id: 1}",
        "device_id: 300}",
        "device_id: 300",
        ("ModbusRtuLine.device_id", "a whole number, 1 to 255", "not 300"),
    ),
    "device id -1": (
        "device_id: 1}",
        "device_id: -1}",
        "device_id: -1",
        ("ModbusRtuLine.device_id", "a whole number, 1 to 255", "not -1"),
    ),
    "device id true": (
        "device_id: 1}",
        "device_id: true}",
        "device_id: true",
        ("ModbusRtuLine.device_id", "a whole number, 1 to 255", "not True"),
    ),
    "device id 0": (
        "device_id: 1}",
        "device_id: 0}",
        "device_id: 0",
        ("ModbusRtuLine.device_id", "a whole number, 1 to 255", "not 0"),
    ),
    "device id 1.5": (
        "device_id: 1}",
        "device_id: 1.5}",
        "device_id: 1.5",
        ("ModbusRtuLine.device_id", "a whole number, 1 to 255", "not 1.5"),
    ),
    "password of a meter's driver": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, password: much-too-long-a-password, bindings: {line: meter-optical}}",
        "password: much-too-long-a-password",
        ("AmiMeterDriver.password", "at most 20 bytes", "hidden"),
    ),
    "user of a meter's driver": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, user: elevenletter, bindings: {line: meter-optical}}",
        "user: elevenletter",
        ("AmiMeterDriver.user", "at most 10 ASCII"),
    ),
    "user_id of a meter's driver": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, user_id: 70000, bindings: {line: meter-optical}}",
        "user_id: 70000",
        ("AmiMeterDriver.user_id", "0 to 65535"),
    ),
    "packet_size of a meter's driver": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, packet_size: 8, bindings: {line: meter-optical}}",
        "packet_size: 8",
        ("AmiMeterDriver.packet_size", "9 to 8192"),
    ),
    "packets of a meter's driver": (
        "{name: meter, bindings: {line: meter-optical}}",
        "{name: meter, packets: 0, bindings: {line: meter-optical}}",
        "packets: 0",
        ("AmiMeterDriver.packets", "1 to 255"),
    ),
    "strategy's supply_channel 99": (
        "          supply_channel: 1",
        "          supply_channel: 99",
        "supply_channel: 99",
        ("SiteStrategy.supply_channel", "no contact hangs on channel 99 of relay", "1, 2"),
    ),
    "strategy's supply_channel true": (
        "          supply_channel: 1",
        "          supply_channel: true",
        "supply_channel: true",
        ("SiteStrategy.supply_channel", "whole number", "not True"),
    ),
    "strategy's load_channel 3": (
        "          load_channel: 2",
        "          load_channel: 3",
        "load_channel: 3",
        ("SiteStrategy.load_channel", "no contact hangs on channel 3 of relay"),
    ),
    "strategy's interval_min 7": (
        "          interval_min: 60",
        "          interval_min: 7",
        "interval_min: 7",
        ("SiteStrategy.interval_min", "divide an hour", "not 7"),
    ),
    "strategy's voltage_range_v -300": (
        "          voltage_range_v: 300",
        "          voltage_range_v: -300",
        "voltage_range_v: -300",
        ("SiteStrategy.voltage_range_v", "above 0", "-300"),
    ),
    "strategy's current_range_a .inf": (
        "          current_range_a: 5",
        "          current_range_a: .inf",
        "current_range_a: .inf",
        ("SiteStrategy.current_range_a", "finite", "inf"),
    ),
    "strategy's hold_s .nan": (
        "          current_range_a: 5",
        "          hold_s: .nan",
        "hold_s: .nan",
        ("SiteStrategy.hold_s", "hold_s", "60"),
    ),
    "strategy's settle_s -1": (
        "          current_range_a: 5",
        "          settle_s: -1",
        "settle_s: -1",
        ("SiteStrategy.settle_s", "no less than 0"),
    ),
    "strategy's load_current_a -2": (
        "          current_range_a: 5",
        "          load_current_a: -2",
        "load_current_a: -2",
        ("SiteStrategy.load_current_a", "no less than 0"),
    ),
    "strategy's source_voltage_v 0": (
        "          current_range_a: 5",
        "          source_voltage_v: 0",
        "source_voltage_v: 0",
        ("SiteStrategy.source_voltage_v", "above 0"),
    ),
    "port of a face": (
        "lan: {scheme: vxi11}",
        "lan: {scheme: vxi11, address: 'localhost:70000'}",
        "70000",
        ("faces.lan.address", "ports go up to 65535", "leave it out"),
    ),
    "IPv6 without brackets": (
        "lan: {scheme: vxi11}",
        "lan: {scheme: vxi11, address: '::1:1024'}",
        "::1:1024",
        ("faces.lan.address", "brackets", "[::1]"),
    ),
    "IPv6 that PyVISA-py does not reach": (
        "lan: {scheme: vxi11}",
        "lan: {scheme: vxi11, address: '[::1]:0'}",
        "twin:analyzer/lan",
        ("VisaLink.resource", "no IPv6", "127.0.0.1:0"),
    ),
    "port of a Modbus link": (
        "- VisaLink: {name: analyzer-lan",
        "- ModbusTcpLink: {name: other, address: '192.0.2.7:70000'}\n      - VisaLink: {name: analyzer-lan",
        "70000",
        ("ModbusTcpLink.address", "ports go up to 65535"),
    ),
    "interval that does not divide an hour": (
        "processing_s: 2.0",
        "interval_min: 7",
        "interval_min: 7",
        ("twinbench.devices.meter.options.interval_min", "7 min does not divide an hour"),
    ),
    "processing that never ends": (
        "processing_s: 2.0",
        "processing_s: .inf",
        "processing_s: .inf",
        ("twinbench.devices.meter.options.processing_s", "finite number"),
    ),
    "offset that is none": (
        "processing_s: 2.0",
        "clock_offset_s: .nan",
        "clock_offset_s: .nan",
        ("twinbench.devices.meter.options.clock_offset_s", "finite number"),
    ),
    "voltage that is none": (
        "system: single, volts: 240,",
        "system: single, volts: .nan,",
        "system: single, volts: .nan,",
        ("twinbench.wiring.0", "finite number"),
    ),
    "load that is none": (
        "kind: current, value: 2.5",
        "kind: current, value: .inf",
        "kind: current, value: .inf",
        ("twinbench.wiring.6", "finite number"),
    ),
    "network that never delivers": (
        "  utility:\n",
        "  utility:\n    network: {latency_s: .inf}\n",
        "network: {latency_s: .inf}",
        ("twinbench.utility.network.latency_s", "finite number"),
    ),
    "network that has no time-out": (
        "  utility:\n",
        "  utility:\n    network: {timeout_s: .nan}\n",
        "network: {timeout_s: .nan}",
        ("twinbench.utility.network.timeout_s", "finite number"),
    ),
    "line that never delivers": (
        "optical: {scheme: pty}",
        "optical: {scheme: pty, disturbance: {delay_s: .inf}}",
        "optical: {scheme: pty, disturbance: {delay_s: .inf}}",
        ("twinbench.devices.meter.faces.optical.disturbance.delay_s", "finite number"),
    ),
    "collection that never comes": (
        "  utility:\n",
        "  utility:\n    adcs: {receipt_poll_s: .inf}\n",
        "adcs: {receipt_poll_s: .inf}",
        ("twinbench.utility.adcs.receipt_poll_s", "finite number"),
    ),
    "session that never ends": (
        "  utility:\n",
        "  utility:\n    website: {idle_min: .inf}\n",
        "website: {idle_min: .inf}",
        ("twinbench.utility.website.idle_min", "finite number"),
    ),
    "processing of a century": (
        "processing_s: 2.0",
        "processing_s: 1.0e+300",
        "processing_s: 1.0e+300",
        ("twinbench.devices.meter.options.processing_s", "more than a century", "or less"),
    ),
    "waits of a century": (
        "  utility:\n",
        "  utility:\n    adcs: {no_answer_backoff_s: [15, 1.0e+20]}\n",
        "adcs: {no_answer_backoff_s: [15, 1.0e+20]}",
        ("twinbench.utility.adcs.no_answer_backoff_s.1", "more than a century", "or less"),
    ),
    "balance that no meter holds": (
        "            at_zero: disconnect\n",
        "            opening_balance_cents: 2147483648\n",
        "opening_balance_cents",
        ("twinbench.utility.customers.0.accounts.0.opening_balance_cents", "less than 2147483648"),
    ),
    "time zone": (
        "  utility:\n",
        "  utility:\n    time_zone: America/Los_Angles\n",
        "Los_Angles",
        ("twinbench.utility", "'America/Los_Angles'", "America/Chicago"),
    ),
}
SECOND_METER = """
          - number: "1002"
            meter_id: TB-0001
            service_address: 14 Orchard Lane, Riverside
"""
SECOND_CUSTOMER = """
      - id: CU-001
        name: Ben Brown
        address: 16 Orchard Lane, Riverside
        credential: another word 3
        accounts: [{number: "1003", meter_id: TB-0003, service_address: 16 Orchard Lane}]
"""
SECOND_DEVICE = """
    meter-2:
      role: Meter
      model: ami-meter
      options: {tap: line-side, switch: service, load_side: load-side, meter_id: TB-0001}
      faces: {optical: {scheme: pty}}
"""


@pytest.mark.parametrize("case", WRONG)
def test_one_thing_wrong_is_one_line_with_place_and_remedy(case: str, tmp_path: Path) -> None:
    old, new, at, says = WRONG[case]
    text = changed(old, new)
    said = refusal(text, tmp_path)
    if not at.startswith("PLACE "):
        assert said.startswith(f":{line_with(text, at)}: "), f"expected line {line_with(text, at)}: {said}"
    assert re.match(r":\d+: \S", said), said
    for piece in says:
        assert piece in said, f"{piece!r} is not said: {said}"


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    for key in ("imports", "targets", "twinbench"):
        data = yaml.safe_load(TWIN)
        del data[key]
        assert repr(key) in refusal(yaml.safe_dump(data), tmp_path)


def test_missing_keys_of_the_section_are_named(tmp_path: Path) -> None:
    for key in ("name", "target", "wiring", "devices", "utility"):
        data = yaml.safe_load(TWIN)
        del data["twinbench"][key]
        said = refusal(yaml.safe_dump(data), tmp_path)
        assert f"twinbench.{key}" in said
        assert "required" in said


@pytest.mark.parametrize(
    ("addition", "says"),
    [(SECOND_METER, "meter 'TB-0001' stands twice"), (SECOND_CUSTOMER, "customer 'CU-001' stands twice")],
)
def test_what_the_utility_knows_stands_once(addition: str, says: str, tmp_path: Path) -> None:
    said = refusal(TWIN.rstrip() + addition, tmp_path)
    assert says in said
    assert "twinbench.utility" in said


def test_two_twins_of_one_meter(tmp_path: Path) -> None:
    text = changed("\n  mirror: {anon", SECOND_DEVICE + "\n  mirror: {anon")
    text = text.replace(
        "{name: meter, bindings: {line: meter-optical}}\n",
        "{name: meter, bindings: {line: meter-optical}}\n"
        "      - AmiMeterDriver: {name: meter-2, bindings: {line: meter-optical}}\n",
    )
    said = refusal(text, tmp_path)
    assert "TB-0001" in said
    assert "meter-2" in said
    assert "meter_id" in said


def test_a_device_without_a_driver_of_its_name(tmp_path: Path) -> None:
    text = changed("\n  mirror: {anon", SECOND_DEVICE.replace("TB-0001", "TB-0002") + "\n  mirror: {anon")
    said = refusal(text, tmp_path)
    assert said.startswith(f":{line_with(text, '    meter-2:')}: twinbench.devices.meter-2: no driver of that name")
    assert "target 'site'" in said


def test_a_real_device_wants_the_wall_clock(tmp_path: Path) -> None:
    text = changed('"twin:meter/optical"', "/dev/ttyUSB0")
    text = text.replace("      faces:\n        optical: {scheme: pty}\n", "")
    said = refusal(text, tmp_path)
    assert said.startswith(f":{line_with(text, 'clock:')}: twinbench.clock: meter is real")
    assert "clock: {kind: wall}" in said


def test_a_load_on_a_leg_that_is_not_there(tmp_path: Path) -> None:
    said = refusal(changed("power_factor: 1.0}", "power_factor: 1.0, legs: [1]}"), tmp_path)
    assert "twinbench.wiring.6" in said
    assert "leg 1" in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "- a\n- list\n",
        "{",
        "a: [1, 2\nb: 3",
        "\t- tab",
        "a: &x [*x]\n",
        "imports: !!python/object/apply:os.system ['true']\n",
        b"\xff\xfe\x00binary",
        b"\x00\x01",
        "imports: {a: 1}\ntargets: {}\ntwinbench: {}\n",
        "? [1, 2]\n: 3\n",
        "a: " + "[" * 5000,
        "9" * 10_000,
        "twinbench: 2026-13-45\n",
    ],
)
def test_what_is_no_bench_file_at_all(text: str | bytes, tmp_path: Path) -> None:
    refusal(text, tmp_path)


def test_a_file_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "twin.yaml").write_text(TWIN)
    with pytest.raises(BadInput, match=r"twim\.yaml: no such file; did you mean .*twin\.yaml\?"):
        inventory.load(tmp_path / "twim.yaml")
    with pytest.raises(BadInput, match="no such file"):
        inventory.load(tmp_path / "nowhere" / "twin.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        inventory.load(tmp_path)


def test_the_command_says_the_same_with_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.yaml"
    for case in ("key of options", "driver class", "wrong type of a number", "link to no face"):
        old, new, _, says = WRONG[case]
        file.write_text(changed(old, new))
        for command in (["certify", "--out", str(tmp_path / "record")], ["up"]):
            assert cli.run([*command, "--bench", str(file)]) == 4
            said = capsys.readouterr()
            assert said.out == ""
            assert len(said.err.splitlines()) == 1
            assert says[-1] in said.err
    assert not (tmp_path / "record").exists(), "nothing was run, so there is no record"


# --- what is right ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["twin.yaml", "transformer-rated.yaml", "lab-example.yaml"])
def test_the_benches_that_come_with_the_house_are_right(name: str) -> None:
    found = inventory.load(BENCHES / name)
    site = found.build_site(SteppedClock())
    for device in found.config.devices.values():
        for place in (device.options.get("tap"), device.options.get("load_side")):
            assert place is None or isinstance(site.nodes[place], Tap)
        for contact in device.options.get("contacts", {}).values():
            assert isinstance(site.nodes[contact], Contact)


def test_the_lab_s_bench_is_real_and_on_real_time() -> None:
    found = inventory.load(BENCHES / "lab-example.yaml")
    assert found.config.clock.kind == "wall"
    assert not [name for name, device in found.config.devices.items() if device.is_twin]
    assert "twin:" not in yaml.safe_dump(dict(found.raw["targets"]))


def test_labgrid_s_own_schema_of_a_bench_file() -> None:
    """What labgrid is handed has no trace of our section, and no link that names a twin."""
    from twins.faces.stream import Endpoint

    found = inventory.load(SMALL)
    ends = {
        ("relay", "bus"): Endpoint("rtu", "/dev/pts/7"),
        ("analyzer", "lan"): Endpoint("vxi11", "127.0.0.1:4711"),
        ("meter", "optical"): Endpoint("pty", "/dev/pts/8"),
    }
    handed = found.resolved(ends)
    assert set(handed) == {"imports", "targets"}
    links = {next(iter(one)): next(iter(one.values())) for one in handed["targets"]["site"]["resources"]}
    assert links["ModbusRtuLine"]["port"] == "/dev/pts/7"
    assert links["VisaLink"]["resource"] == "TCPIP::127.0.0.1,4711::inst0::INSTR"
    assert links["SerialLine"]["port"] == "/dev/pts/8"


# --- anything at all ------------------------------------------------------------------------------------------------------


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(data, dict):
        for key, value in data.items():
            found += _places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            found += _places(value, (*path, index))
    return found


PLACES = _places(yaml.safe_load(TWIN))
WORDS = ("twin", "meter", "twin:meter/optical", "twin:", "twin:a/b/c", "site", "current", "name", "pty", "wall", "")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(WORDS),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from([[], {}, [[]], {"name": "x"}, {1: 2}, {"name": 1}, [None], {None: None}, {"a": {"b": []}}]),
)


def _holder(data: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        data = data[step]
    return data


def _loads_or_is_refused(file: Path) -> None:
    try:
        inventory.load(file)
    except BadInput as no:
        said = str(no)
    else:
        return
    assert "\n" not in said
    assert said.startswith(str(file)), said


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benches") / "bench.yaml"


FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.fuzz
@settings(FUZZ, max_examples=1500)
@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(("replace", "delete", "insert", "double")), VALUES),
        min_size=1,
        max_size=2,
    )
)
def test_changed_data_is_refused_or_right(scratch: Path, changes: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    data = yaml.safe_load(TWIN)
    for path, how, value in changes:
        try:
            holder = _holder(data, path)
            if how == "replace":
                holder[path[-1]] = value
            elif how == "delete":
                del holder[path[-1]]
            elif how == "insert" and isinstance(holder, dict):
                holder[value if isinstance(value, str | int | float | bool) else str(value)] = value
            elif how == "insert":
                holder.insert(path[-1], value)
            elif isinstance(holder, list):
                holder.append(holder[path[-1]])
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # the first change took away the place of the second
    scratch.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    _loads_or_is_refused(scratch)


@pytest.mark.fuzz
@settings(FUZZ, max_examples=800)
@given(
    st.integers(0, len(TWIN) - 1),
    st.integers(0, 12),
    st.one_of(st.text(alphabet="{}[]:,-#&*!|>'\"%@`? \n\tax1.~", max_size=6), st.text(max_size=4)),
)
def test_changed_text_is_refused_or_right(scratch: Path, at: int, gone: int, put: str) -> None:
    scratch.write_bytes((TWIN[:at] + put + TWIN[at + gone :]).encode("utf-8", "surrogatepass"))
    _loads_or_is_refused(scratch)


def test_a_bench_file_is_read_quickly(scratch: Path) -> None:
    scratch.write_text(TWIN)
    inventory.load(scratch)
    started = time.process_time()
    for _ in range(5):
        inventory.load(scratch)
    assert (time.process_time() - started) / 5 < 0.5
