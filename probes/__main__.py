"""python -m probes NAME MODEL... [options]: run a probe. python -m probes report RUN...: one page of what was found."""

import difflib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from probes import PROBES, ProbeError
from probes.command import Parser, conduct
from probes.report import write_page
from probes.terminal import plain, print_results

USER_ERROR, INTERRUPTED = 2, 130
"""Exit statuses: a mistake of the user's, and Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 a mistake of the user's (one message on standard error),
    130 after Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to fail
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_listing())
        elif words[0] == "report":
            _report(words[1:])
        else:
            _probe(words[0], words[1:])
        sys.stdout.flush()
    except ProbeError as error:
        print(plain(str(error)), file=sys.stderr)
        return USER_ERROR
    except BrokenPipeError:  # a reader that has seen enough; what was found is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _listing() -> str:
    width = max(map(len, [*PROBES, "report"]))
    return "\n".join(
        [
            "python -m probes NAME MODEL... [options]    MODEL: a transformers folder, run, checkpoint or word vectors",
            *(f"  {name:{width}}  {probe.summary}" for name, probe in PROBES.items()),
            "python -m probes report RUN|DIR... [--out FILE]",
            f"  {'report':{width}}  one offline HTML page of a run and of what the probes found",
            "python -m probes NAME --help lists a probe's options.",
        ]
    )


def _probe(name: str, arguments: list[str]) -> None:
    if name not in PROBES:
        known = [*PROBES, "report"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ProbeError(
            f"got the probe {name!r}, expected one of: {', '.join(known)}. {hint}python -m probes lists them."
        )
    done = conduct(name, PROBES[name], arguments)
    print_results(done.results, done.path)


def _report(arguments: list[str]) -> None:
    parser = Parser(prog="python -m probes report", allow_abbrev=False)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN|DIR", help="a run, or a folder of results")
    parser.add_argument("--out", type=Path, metavar="FILE", help="[report.html in the only folder given, else here]")
    print(f"Report: {write_page(**vars(parser.parse_args(arguments)))}")


if __name__ == "__main__":
    sys.exit(main())
