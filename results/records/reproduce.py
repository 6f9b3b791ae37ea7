"""The command that makes a record again, from what its provenance remembers."""

import shlex

from fewdistill.results.records.record import Record

# Options of `fewdistill run` that change the numbers; where things lie and who computes them do not.
_KEPT = ("--set", "--device")
_DROPPED = ("--only", "--runs", "--data", "--engine", "--address", "--track")


def command(record: Record) -> str:
    """``fewdistill run SUITE --only ROW`` with the settings the run was given, quoted for a shell.

    The suite and its ``--set`` come from the provenance's argv; a record without one is taken to be of the suite as
    it stands. A row trained by several processes is started by torchrun.
    """
    argv = [str(part) for part in record.provenance.get("argv") or ()]
    if argv[1:2] == ["run"]:
        suite, settings = _settings(argv[2:])
    else:  # `fewdistill demo` is the suite of that name
        suite, settings = "", []
    processes = record.provenance.get("processes")
    many = isinstance(processes, int) and processes > 1
    start = ["torchrun", "--nproc-per-node", str(processes), "-m", "fewdistill"] if many else ["fewdistill"]
    row = str(record.provenance.get("row") or _row(record))
    words = shlex.join([*start, "run", suite or record.cell.suite, *settings])
    row = row.replace("'", "'\"'\"'")  # a name is whatever the record says, and may hold a quote
    return f"{words} --only '{row}'"


def has_command(record: Record) -> bool:
    """Whether the record says how its run was started, so that the command holds every setting."""
    argv = [str(part) for part in record.provenance.get("argv") or ()]
    return argv[1:2] in (["run"], ["demo"])


def _settings(words: list[str]) -> tuple[str, list[str]]:
    """The suite, and the options worth keeping, of the words after ``run``."""
    suite, kept = "", []
    rest = iter(words)
    for word in rest:
        name = word.partition("=")[0]
        if name in _KEPT:
            kept += [word] if "=" in word else [word, next(rest, "")]
        elif word == "--compile":
            kept.append(word)
        elif word in _DROPPED:
            next(rest, "")
        elif not word.startswith("-") and not suite:
            suite = word
    return suite, kept


def _row(record: Record) -> str:
    cell = record.cell
    model = "teacher" if cell.role == "teacher" else cell.model
    return f"{model}/{cell.distillation}/s{cell.seed}" + (f"@{cell.variant}" if cell.variant else "")
