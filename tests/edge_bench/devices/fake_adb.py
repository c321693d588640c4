"""A stand-in for `adb` in tests: this machine's own shell and a directory play the device.

It behaves as adb 1.0.41 does in what edgeml uses: serials, states, exit codes 1 for its own failures and 255 for a
connection that ends too early, the words of its messages, and push and pull. What the device is like is told by files
in the directory that FAKE_ADB names: `devices` (lines of `adb devices`), `features`, `unplugged` (cuts every link),
`full` and `calls`, in which every call is noted.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

STATE = Path(os.environ["FAKE_ADB"])


def leave(message: str, code: int = 1) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    os._exit(code)


def devices() -> dict[str, str]:
    if (STATE / "unplugged").exists():
        return {}
    lines = (STATE / "devices").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


def pump(source: IO[bytes], sink: IO[bytes]) -> None:
    with suppress(OSError):
        while data := os.read(source.fileno(), 65536):
            sink.write(data)
            sink.flush()
        sink.close()


def shell(script: str) -> NoReturn:
    process = subprocess.Popen(
        ["sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"HOME": str(STATE / "home"), "DEVICE": "yes"},
        cwd=STATE / "home",
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    threading.Thread(target=pump, args=(sys.stdin.buffer, process.stdin), daemon=True).start()
    readers = [
        threading.Thread(target=pump, args=(process.stdout, sys.stdout.buffer), daemon=True),
        threading.Thread(target=pump, args=(process.stderr, sys.stderr.buffer), daemon=True),
    ]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        if (STATE / "unplugged").exists():
            process.send_signal(signal.SIGHUP)  # as adbd does
            os._exit(255)
        time.sleep(0.01)
    code = process.wait()
    os._exit(128 - code if code < 0 else code)


def copy(command: str, source: str, destination: str) -> None:
    remote = destination if command == "push" else source
    failed = f"adb: error: failed to copy '{source}' to '{destination}': "
    if command == "push" and (STATE / "full").exists():
        Path(destination).write_bytes(Path(source).read_bytes()[:10])
        leave(failed + "remote write failed: No space left on device")
    if command == "pull" and not Path(source).exists():
        leave(f"adb: error: failed to stat remote object '{source}': No such file or directory")
    try:
        if command == "push":
            Path(destination).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination)
    except OSError as error:
        leave(failed + f"remote couldn't create file: {error.strerror}")
    sys.stdout.write(f"{source}: 1 file {command}ed, 0 skipped. 12.3 MB/s ({Path(remote).stat().st_size} bytes)\n")


def main() -> None:
    arguments = sys.argv[1:]
    with (STATE / "calls").open("a") as calls:
        calls.write(" ".join(arguments).replace("\n", " ") + "\n")
    match arguments:
        case ["start-server"]:
            pass
        case ["devices"]:
            sys.stdout.write("List of devices attached\n")
            sys.stdout.writelines(f"{serial}\t{state}\n" for serial, state in devices().items())
            sys.stdout.write("\n")
        case ["-s", serial, *rest]:
            state = devices().get(serial)
            if state is None:
                leave(f"adb: device '{serial}' not found")
            if state != "device":
                leave(f"adb: device {state}")
            match rest:
                case ["features"]:
                    sys.stdout.write((STATE / "features").read_text())
                case ["shell", "-T", script]:
                    shell(script)
                case ["push" | "pull" as command, source, destination]:
                    copy(command, source, destination)
                case _:
                    leave(f"adb: unknown command {' '.join(rest)}")
        case _:
            leave(f"adb: unknown command {' '.join(arguments)}")


if __name__ == "__main__":
    main()
