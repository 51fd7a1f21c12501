"""`ablate COMMAND`: the same as `python -m ablate.study` and its sisters."""

from __future__ import annotations

import importlib
import sys

import ablate

COMMANDS = (
    "study",
    "report",
    "judge",
    "ui",
    "predict",
    "information",
    "memory",
    "low_precision",
    "input_sizes",
    "check_block",
)
USAGE = f"""usage: ablate {{{",".join(COMMANDS)}}} ...

  ablate study NAME    train what is missing, judge, report
  ablate report NAME   make the report again from the records
  ablate judge FILE    the verdicts on runs that were trained elsewhere
  ablate ui            browse the results in MLflow
  ablate predict STUDY what a trained net says of images, and its mistakes
  ablate information   what ReLU keeps of its input: a spiral, or the nets of a study
  ablate memory        memory at inference over the depth of nets
  ablate low_precision the trained nets of a study in low precision, arm against control
  ablate input_sizes   accuracy and cost of trained nets at several input sizes
  ablate check_block   whether a block of your own can be used in ablate's nets

`ablate COMMAND --help` lists the options of each, `ablate --version` prints the version."""


def main(given: list[str] | None = None) -> int:
    """Calls the command that the first argument names."""
    arguments = sys.argv[1:] if given is None else given
    if not arguments or arguments[0] in ("-h", "--help"):
        return _say(USAGE) or (0 if arguments else 2)
    if arguments[0] == "--version":
        return _say(f"ablate {ablate.__version__}")
    if arguments[0] not in COMMANDS:
        from ablate.errors import one_of

        print(f"ablate: the command {one_of(arguments[0], COMMANDS)}", file=sys.stderr)  # noqa: T201
        return 2
    command = importlib.import_module(f"ablate.{arguments[0]}")
    return int(command.main(arguments[1:]))


def _say(text: str) -> int:
    """Prints to an output that may be full or that nobody reads any more."""
    from ablate.command_line import exit_status

    return exit_status("--help", lambda: print(text))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
