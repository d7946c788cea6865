"""The cell that comes first where nothing is installed: Colab, Kaggle, an empty machine. Written, not run there."""

from __future__ import annotations

from fedkit.base.distribution import DISTRIBUTION, HOSTED_EXTRAS, WHEEL, wheel_address

__all__ = ["install_cell"]

_CELL = """\
# Where fedkit is missing (Colab, Kaggle, an empty machine), this installs it. In Colab it also turns widgets on.
import glob, importlib.util, pathlib, subprocess, sys
found = importlib.util.find_spec("fedkit")
if not (found and found.origin and (pathlib.Path(found.origin).parent / "federation").is_dir()):
    wheels = [p for d in (".", "/kaggle/input/**") for p in glob.glob(f"{d}/fedkit_course-*.whl", recursive=True)]
    source = pathlib.Path(max(wheels)).resolve().as_uri() if wheels else "WHEEL_ADDRESS"
    if not source:
        sys.exit("fedkit is missing: upload WHEEL_NAME beside this notebook, then run this cell again")
    if subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"DISTRIBUTION[EXTRAS] @ {source}"]).returncode:
        sys.exit("pip could not install fedkit: see above; is the internet on? (Kaggle: Settings, Internet)")
    importlib.invalidate_caches()
    if getattr(sys.modules.get("ipywidgets"), "__version__", "8") < "8":
        sys.exit("fedkit is installed. Restart the session (Colab: Runtime), then run all cells: older widgets are loaded")
if "google.colab" in sys.modules:
    importlib.import_module("google.colab.output").enable_custom_widget_manager()"""


def install_cell() -> str:
    """Its source: at most 15 lines of Python without a `!`, so that it runs in every kernel."""
    parts = {
        "WHEEL_ADDRESS": wheel_address(),
        "WHEEL_NAME": WHEEL,
        "DISTRIBUTION": DISTRIBUTION,
        "EXTRAS": HOSTED_EXTRAS,
    }
    cell = _CELL
    for mark, text in parts.items():
        cell = cell.replace(mark, text)
    return cell
