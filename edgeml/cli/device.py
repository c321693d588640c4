"""`edgeml device`: devices by a name of the user's, and whether they are ready to be measured on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeml.cli.output import json_option, note, print_json
from edgeml.core.device import Device
from edgeml.core.errors import UsageError

if TYPE_CHECKING:
    from edgeml.core.finding import Finding

_NAME_WIDTH = 15


@click.group("device")
def command() -> None:
    """Name the devices that models run on, and check that they are ready."""


@command.command("add")
@click.argument("name")
@click.argument("address")
@click.option("--python", metavar="PATH", help="Interpreter that runs workers there (ssh, adb).  [default: python3]")
@click.option(
    "--directory", metavar="PATH", help="edgeml's own directory there (ssh, adb).  [default: ~/.cache/edgeml]"
)
@click.option("--identity-file", metavar="FILE", help="Private key for ssh, beside the agent's and ~/.ssh's.")
@click.option("--known-hosts", metavar="FILE", help="Host keys that ssh trusts, in place of ~/.ssh/known_hosts.")
@click.option("--through", metavar="DEVICE", help="ssh device, by name or address, that a tunnel goes through (rpc).")
@click.option("--env", "variables", metavar="NAME=VALUE", multiple=True, help="Variable of the worker; repeatable.")
@click.option("--replace", is_flag=True, help="Take the place of a device that has the name already.")
@json_option
def add(
    name: str,
    address: str,
    python: str | None,
    directory: str | None,
    identity_file: str | None,
    known_hosts: str | None,
    through: str | None,
    variables: tuple[str, ...],
    replace: bool,
    as_json: bool,
) -> None:
    """Give a device a name.

    ADDRESS is ssh://user@host[:port], adb://serial, rpc://127.0.0.1:port, rpc-tracker://127.0.0.1:port/key or
    qemu://aarch64. Nothing is contacted: try it with `edgeml device check NAME`.
    """
    from edgeml.edge_bench.devices.profiles import DeviceProfile, profiles_path, resolve_device, save_profile

    given: dict[str, Any] = {
        "python": python,
        "directory": directory,
        "identity_file": _absolute(identity_file),
        "known_hosts": _absolute(known_hosts),
        "environment": _environment(variables),
    }
    if through is not None:
        gate = resolve_device(through)
        given["through"] = gate.device
        given["identity_file"] = given["identity_file"] or gate.identity_file
        given["known_hosts"] = given["known_hosts"] or gate.known_hosts
    profile = DeviceProfile(
        name=name,
        device=Device.parse(address),
        **{option: value for option, value in given.items() if value is not None},
    )
    save_profile(profile, replace_it=replace)
    if as_json:
        print_json({"device": profile.to_json()})
        return
    note(f"{name} is {profile.device}, written to {profiles_path()}; try it with: edgeml device check {name}")


@command.command("list")
@json_option
def list_devices(as_json: bool) -> None:
    """List the named devices."""
    from edgeml.edge_bench.devices.profiles import load_profiles

    profiles = load_profiles().values()
    if as_json:
        print_json({"devices": [profile.to_json() for profile in profiles]})
        return
    if not profiles:
        note("no device has a name yet; give one with: edgeml device add NAME ADDRESS")
        return
    name_width = max(len("name"), *(len(profile.name) for profile in profiles))
    width = max(len("address"), *(len(str(profile.device)) for profile in profiles))
    click.echo(f"{'name':<{name_width}}  {'address':<{width}}  options")
    for profile in profiles:
        options = {key: value for key, value in profile.to_json().items() if key not in {"name", "device"}}
        variables = [f"{key}={value}" for key, value in options.pop("environment").items()]
        told = [f"{key} {value}" for key, value in options.items() if value not in {None, "python3"}]
        click.echo(f"{profile.name:<{name_width}}  {profile.device!s:<{width}}  {', '.join([*told, *variables])}")


@command.command("check")
@click.argument("device")
@json_option
def check(device: str, as_json: bool) -> None:
    """Look whether a device is reached and has what a measurement needs.

    DEVICE is a name or an address. Every check that does not pass tells what mends it. Exit code 3: something needed is
    missing, 1: something does not work.
    """
    from edgeml.core.finding import raise_for
    from edgeml.edge_bench.devices.check import check_device
    from edgeml.edge_bench.devices.profiles import resolve_device

    profile = resolve_device(device)
    findings: list[Finding] = []
    for finding in check_device(profile):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.status:<8} {finding.name:<{_NAME_WIDTH}} {finding.detail}")
    if as_json:
        print_json({"device": profile.to_json(), "findings": [asdict(each) for each in findings]})
    raise_for(tuple(findings), f"{device} is not ready")


@command.command("remove")
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget a device's name; on the device nothing changes."""
    from edgeml.edge_bench.devices.profiles import remove_profile

    profile = remove_profile(name)
    if as_json:
        print_json({"device": profile.to_json()})
        return
    note(f"{name} was {profile.device}")


def _absolute(file: str | None) -> str | None:
    return None if file is None else str(Path(file).expanduser().absolute())


def _environment(variables: tuple[str, ...]) -> dict[str, str]:
    for each in variables:
        if "=" not in each:
            raise UsageError(f"--env is {each!r}; it must be NAME=VALUE")
    return dict(each.split("=", 1) for each in variables)
