"""The `edgeml` command: finds its subcommands by name and turns errors into exit codes, in this one place."""

from __future__ import annotations

import importlib
import os
import sys

import click

from edgeml import __version__
from edgeml.core.errors import EdgeMLError

# command name -> (module, one-line help). The module is imported only when its command runs, so that `edgeml --help`
# stays instant; a test holds the help lines equal to the commands' own.
COMMANDS: dict[str, tuple[str, str]] = {
    "models": ("edgeml.cli.models", "List the networks edgeml builds, or show one."),
    "scale": ("edgeml.cli.scale", "Find the network of a given cost with the tiny formula."),
    "train": ("edgeml.cli.train", "Train a network on a data set."),
    "export": (
        "edgeml.cli.export",
        "Export a network to ONNX, quantize it, and prove it equal to its source.",
    ),
    "lint": ("edgeml.cli.lint", "List the operators a target's path cannot take, and the way round."),
    "compile": ("edgeml.cli.compile", "Compile an ONNX model to a library for a target, with TVM."),
    "check": ("edgeml.cli.check", "Compare an ONNX file with its reference, layer by layer."),
    "bench": ("edgeml.cli.bench", "Measure latency and accuracy of model files on a device."),
    "compare": ("edgeml.cli.compare", "Compare two results: what became faster, what slower."),
    "device": ("edgeml.cli.device", "Name the devices that models run on, and check that they are ready."),
    "serve": ("edgeml.cli.serve", "Serve models over HTTP and gRPC, by the Open Inference Protocol (KServe, Triton)."),
    "doctor": ("edgeml.cli.doctor", "Show what this machine can build and run, and prove a target's tool chain."),
    "results": ("edgeml.cli.results", "List, show and export the runs that were kept."),
    "sweep": ("edgeml.cli.sweep", "Build and measure every combination that a file describes."),
    "report": ("edgeml.cli.report", "Make one HTML report of benchmark results."),
    "demo": ("edgeml.cli.demo", "Train, export, compile, benchmark and report on real data, in minutes."),
}


class _LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on use; each module's command is named `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeml")
def cli() -> None:
    """Take a compact neural network from training to a measured deployment on an edge device.

    Exit codes: 0 ok, 1 failed, 2 usage, 3 missing dependency or device, 4 a check failed.
    """


def main() -> None:
    """Run the command line and leave the process with its documented exit code."""
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EdgeMLError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader (`head`, say) left; Python would print a traceback while flushing stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    click.echo(f"edgeml: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
