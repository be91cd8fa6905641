"""Build the environment that real mxnet 1.9.1 lives in: ``python tests/oracle/environment.py .venv-mxnet``.

mxnet 1.9.1 is the last release. It runs on Python 3.8 to 3.11 and only with numpy < 1.24, so it cannot share an
environment with wds_face. Where no such Python can be had, ``.ready`` says so and tests that need mxnet are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("python3.11", "python3.10", "python3.9", "python3.8")
# some systems ship a Python that cannot make environments
FITS = "import ensurepip, sys, venv; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))"
WORKS = "import mxnet; assert mxnet.__version__ == '1.9.1'"


def runs(*command: str | Path) -> bool:
    """Whether a command can be started and succeeds; a name on PATH may be a shim with nothing behind it."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main(env: Path) -> int:
    python, ready = env / "bin" / "python", env / ".ready"
    if not runs(python, "-c", WORKS):
        if env.exists() and not (ready.exists() or (env / "pyvenv.cfg").exists()):
            sys.exit(f"{env} is something else than an environment; it stays as it is")
        shutil.rmtree(env, ignore_errors=True)
        fitting = (name for name in (sys.executable, *NAMES) if runs(name, "-c", FITS))
        if interpreter := next(fitting, None):
            subprocess.run([interpreter, "-m", "venv", env], check=True)
        elif not with_uv(env):
            reason = "mxnet 1.9.1 needs Python 3.8 to 3.11, and neither PATH nor uv has one"
            print(f"{reason}: the tests against mxnet will be skipped", file=sys.stderr)
            shutil.rmtree(env, ignore_errors=True)
            env.mkdir(parents=True)
            ready.write_text(reason + "\n")
            return 0
        subprocess.run([python, "-m", "pip", "install", "--quiet", "mxnet==1.9.1", "numpy<1.24"], check=True)
        subprocess.run([python, "-c", WORKS], check=True)
    ready.write_text("")
    return 0


def with_uv(env: Path) -> bool:
    """Let uv fetch a Python 3.11; it is installed into the project's environment if need be."""
    project = ROOT / ".venv" / "bin" / "python"
    uv: tuple[str | Path, ...] = ("uv",) if runs("uv", "--version") else (project, "-m", "uv")
    if uv != ("uv",) and not runs(project, "-m", "pip", "install", "--quiet", "uv"):
        return False
    return runs(*uv, "venv", "--quiet", "--seed", "--python", "3.11", env)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        sys.exit(main(Path(sys.argv[1])))
    except subprocess.CalledProcessError as error:
        sys.exit(f"no environment for mxnet: {' '.join(map(str, error.cmd))} failed, see above")
