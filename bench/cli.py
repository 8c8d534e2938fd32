"""The command `twinbench`. Each verb imports what it needs when it is called, so that help is quick."""

from __future__ import annotations

import json
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="twinbench",
    help="Test bench and digital twin for smart metering: certifies meters against a utility's use cases.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DEFAULT_BENCH = Path("inventory/benches/twin.yaml")
BAD_INPUT = 4
INTERRUPTED = 130
CLOCK_LIMIT_S = 30.0
"""Provisioning sets a meter's clock before every run: more than this tells of a clock that was lost."""

BenchFile = Annotated[Path, typer.Option("--bench", metavar="FILE", help="Bench file (a labgrid environment file).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of noise and disturbance.")]


Links = Annotated[
    Path | None,
    typer.Option("--links", metavar="FILE", help="Where links lead instead: what `twinbench site` printed."),
]


def _print_json(data: Any) -> None:
    json.dump(data, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def _progress(quiet: bool) -> Any:
    """Where progress is shown: standard error, so that what is printed can be piped."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet)


def _show(result: Any) -> None:
    """A table on a terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(result.table())
    else:
        for line in result.lines():
            print(line)


@app.command()
def certify(
    bench: BenchFile = DEFAULT_BENCH,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Judge only these catalogue ids.")] = None,
    defect: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Seed these defects.")] = None,
    seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the record goes (default: under runs/).")
    ] = None,
    links: Links = None,
    until_failed: Annotated[
        bool,
        typer.Option(
            "--until-failed", help="End as soon as all that --only names has failed (a scenario: any test of it)."
        ),
    ] = False,
    bare: Annotated[
        bool,
        typer.Option("--bare", help="Only judge: no mirror (nor deviations), no pictures of pages, no log of Robot's."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the suites and judge. Exit: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR, 4 bad input."""
    from bench.certify import certify as judge
    from bench.inventory import links_of

    result = judge(
        bench,
        only=tuple(only or ()),
        defects=tuple(defect or ()),
        seed=seed,
        out=out,
        links=links_of(links) if links else None,
        console=_progress(as_json),
        until_failed=until_failed,
        bare=bare,
    )
    if as_json:
        _print_json(result.as_json())
    else:
        _show(result)
        for problem in result.problems:
            print(f"problem: {problem}")
        for one in result.deviations:
            print(
                f"left its model: {one['device']} {one['field']} {one['measured']} instead of {one['modelled']} "
                f"± {one['limit']} at {one['at']:%H:%M:%S}"
            )
        for one in result.disagreements:
            print(f"its model refuses: {one['device']} {one['command']} at {one['at']:%H:%M:%S}: {one['why']}")
        for one in result.shortened:
            print(f"shortened: {one['name']} {one['used']} instead of {one['stated']}")
        print(f"record: {result.record} (SHA-256 of its manifest {result.digest})")
    raise typer.Exit(result.exit_code)


@app.command()
def trace(as_json: Json = False) -> None:
    """Show requirement -> tests -> defects -> last verdict. Exit: 0, 1 if one has no test or no defect."""
    from bench.judge.trace import trace as follow

    result = follow()
    if as_json:
        _print_json(result.as_json())
    else:
        _show(result)
    raise typer.Exit(result.exit_code)


@app.command()
def defects(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these defects.")] = None,
    bench: BenchFile = DEFAULT_BENCH,
    seed: Seed = None,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Run each against every test and show what else falls.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Parallel processes (default: one more than there are cores)."),
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="List the catalogue and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run the seeded defects and show which test caught each. Exit: 0, 1 if one escaped."""
    from rich.console import Console

    from bench.campaign import run_defects, summary, table
    from twins import defects as seeded

    everything = [*seeded.CATALOGUE.values(), *seeded.INSIDE.values()]
    chosen = [seeded.find(name) for name in names] if names else everything
    if list_only:
        if as_json:
            _print_json([vars(d) for d in chosen])
        else:
            for d in chosen:
                ids = f"keeps {' '.join(d.keeps)}" if d.keeps else " ".join(d.breaks)
                print(f"{d.name:<32} {d.of:<12} {ids:<24} {d.does}")
        return
    began = time.monotonic()
    outcomes = run_defects(
        [d.name for d in chosen], bench_file=bench, seed=seed, jobs=jobs, matrix=matrix, console=_progress(as_json)
    )
    if as_json:
        _print_json([outcome.as_json() for outcome in outcomes])
    else:
        console = Console()
        if console.is_terminal:
            console.print(table(outcomes))
        print("; ".join([*summary(outcomes), f"{timedelta(seconds=round(time.monotonic() - began))} on the clock"]))
    raise typer.Exit(1 if any(outcome.escaped for outcome in outcomes) else 0)


@app.command()
def up(
    bench: BenchFile = DEFAULT_BENCH,
    seed: Seed = None,
    defect: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Seed these defects.")] = None,
    links: Links = None,
    as_json: Json = False,
) -> None:
    """Bring a bench up and keep it up, live, until Ctrl-C."""
    from bench.inventory import links_of
    from bench.live import keep_up

    keep_up(bench, seed=seed, defects=tuple(defect or ()), links=links_of(links) if links else None, as_json=as_json)


@app.command()
def twin(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model of the device; an unknown one lists all.")],
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="SCHEME:ADDR",
            help="pty:PATH, rtu:PATH; modbus, tcp, vxi11 or hislip with :HOST:PORT, port 0 for a free one.",
        ),
    ],
    seed: Seed = None,
    defect: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Seed these defects.")] = None,
) -> None:
    """Serve one twin alone in a small site (240 V, 60 Hz, about 5 A); prints a JSON line with its endpoints when ready."""
    from bench.alone import serve

    serve(model, listen, seed=seed or 0, defects=tuple(defect or ()))


@app.command()
def site(
    bench: Annotated[Path, typer.Argument(metavar="FILE", help="Bench file whose twins are served.")],
    seed: Seed = None,
    defect: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Seed these defects.")] = None,
) -> None:
    """Serve all twins of a site in a process of their own, as if they were hardware; prints a JSON line when ready."""
    from bench.site import serve_site

    serve_site(bench, seed=seed, defects=tuple(defect or ()))


@app.command()
def doctor(
    bench: BenchFile = DEFAULT_BENCH,
    links: Links = None,
    seed: Seed = None,
    clock_limit: Annotated[
        float, typer.Option("--clock-limit", metavar="S", min=0, help="By how many seconds a meter's clock may be off.")
    ] = CLOCK_LIMIT_S,
    as_json: Json = False,
) -> None:
    """Look a bench over: links, identities, calibration, clocks, wiring. Exit: 0 all well, 1 something found, 4 bad input."""
    from bench.doctor import doctor as look_over
    from bench.inventory import links_of

    with _progress(as_json).status("looking the bench over") as status:
        report = look_over(
            bench, links=links_of(links) if links else None, seed=seed, clock_limit_s=clock_limit, say=status.update
        )
    if as_json:
        _print_json(report.as_json())
    else:
        _show(report)
    raise typer.Exit(report.exit_code)


@app.command()
def fleet(
    meters: Annotated[int, typer.Option(metavar="N", help="How many meters.")],
    days: Annotated[int, typer.Option(metavar="D", help="For how many days.")],
    engine: Annotated[
        str, typer.Option(metavar="ENGINE", help="local: one process. dask: a scheduler with processes of its own.")
    ] = "local",
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes of dask (default: one a core).")] = None,
    seed: Seed = None,
    defect: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Seed these defects.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where verdict and plot go (default: under runs/).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a fleet and decide its success rates (C3-NFR-12, C3-NFR-13).

    Exit: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR, 4 bad input.
    """
    from bench.fleet import run_fleet

    result = run_fleet(
        meters,
        days,
        seed=1 if seed is None else seed,
        engine=engine,  # type: ignore[arg-type] # looked at there
        workers=workers,
        defects=tuple(defect or ()),
        console=_progress(as_json),
    )
    written = result.write(out or Path("runs") / f"fleet-{meters}x{days}-{result.seed}")
    if as_json:
        _print_json(result.as_json())
    else:
        _show(result)
        for line in result.summary():
            print(line)
        for path in written:
            print(path)
    raise typer.Exit(result.exit_code)


@app.command()
def verify(
    record: Annotated[Path, typer.Argument(metavar="DIR", help="A run's record.")],
    digest: Annotated[
        str | None, typer.Option(metavar="HEX", help="The manifest's digest as `certify` printed it, kept elsewhere.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a run's record against its manifest. Exit: 0, 1 if anything was changed, added or lost."""
    from bench.data import BadInput
    from bench.evidence.verify import sealed_digest
    from bench.evidence.verify import verify as check

    if not record.is_dir():
        raise BadInput(f"{record}: no such directory; records lie under runs/")
    problems, found = check(record), sealed_digest(record)
    if digest is not None and digest.lower() != found:
        problems.append(f"{record}: its manifest has the digest {found}, not {digest}: the record was sealed anew")
    if as_json:
        _print_json({"record": str(record), "digest": found, "problems": problems})
    else:
        for problem in problems:
            print(problem)
        said = "unchanged" if not problems else f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        print(f"{record}: {said} (SHA-256 of its manifest {found})")
    raise typer.Exit(1 if problems else 0)


def _interrupted(number: int, frame: object) -> None:
    # As Ctrl-C: every `with` block on the way out makes its outputs safe.
    raise KeyboardInterrupt


# The parser's own class of errors, which typer hands on only as the base of this one.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code; an error that has a name is one line on standard error."""
    from bench.data import BadInput

    try:
        code = app(args=arguments, standalone_mode=False)
    except _UsageError as no:
        said = " ".join(str(no.format_message()).split())  # type: ignore[attr-defined]
        print(f"twinbench: {said} (see `twinbench --help`)", file=sys.stderr)
        return BAD_INPUT
    except BadInput as no:
        print(f"twinbench: {no}", file=sys.stderr)
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort) as no:
        if isinstance(
            no.__cause__, EOFError
        ):  # which the parser takes for Ctrl-D: something that was read ends too early
            raise no.__cause__ from None
        code = INTERRUPTED
    except Exception as no:
        from bench.bench import BenchError
        from bench.fleet import FleetError
        from drivers.errors import DeviceError
        from twins.defects import UnknownDefect
        from twins.models import UnknownModel

        if isinstance(no, UnknownDefect | UnknownModel):
            print(f"twinbench: {no}", file=sys.stderr)
            return BAD_INPUT
        if isinstance(no, BenchError | FleetError | DeviceError | OSError):
            print(f"twinbench: {no}", file=sys.stderr)
            return 3
        raise
    if code == INTERRUPTED:  # which the parser makes of Ctrl-C itself, and says nothing
        print("twinbench: interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the command."""
    signal.signal(signal.SIGTERM, _interrupted)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a terminal that is closed; under nohup it is ignored
        signal.signal(signal.SIGHUP, _interrupted)
    sys.exit(run())


if __name__ == "__main__":
    main()
