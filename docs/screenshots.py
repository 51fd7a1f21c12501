"""Makes the pictures of docs/screenshots: `python docs/screenshots.py`, from the records that docs/results keeps.

Needs Chromium with its driver, selenium and pillow; optuna-dashboard and JupyterLab for their own pictures.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STUDY = "linear_bottleneck"
SHOWN = ("depthwise", "inverted_residual", STUDY, "relu6")  # the studies of the index
KEPT = Path(__file__).parent / "results"
FOLDER = Path(__file__).parent / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLOURS = 128
TERMINAL = 92  # columns
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
CLOSE_ASSISTANT = """
const title = [...document.querySelectorAll('*')].find(one => one.textContent === 'MLflow Assistant');
if (title) {
  const after = [...document.querySelectorAll('button')].filter(
    one => title.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING);
  after[2].click();
}
const close = document.querySelector('[aria-label="Close"]');
if (close) close.click();
"""


class Pictures:
    """A browser, and what it sees as small PNG files."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser = browser
        self.folder = folder

    def look(self, address: str, width: int, height: int, *, dark: bool = False, media: str = "") -> None:
        """Opens an address in a window of this size, and waits until nothing changes any more."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        self.browser.get(address)
        self.settle()

    def settle(self, most_s: float = 60) -> None:
        """Waits until the page's text has not changed for three seconds."""
        end, last, same = time.monotonic() + most_s, "", 0
        while same < 3 and time.monotonic() < end:
            now = self.browser.execute_script("return document.body ? document.body.innerText : 'svg'")
            same = same + 1 if now == last and now and "Loading" not in now else 0
            last = now
            time.sleep(1)

    def click(self, script: str) -> None:
        """Runs a script in the page, and waits for what comes of it."""
        self.browser.execute_script(script)
        self.settle()

    def take(self, name: str) -> None:
        """Keeps what the window shows, in few colours."""
        from PIL import Image

        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        file = self.folder / f"{name}.png"
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
        print(f"{file} ({file.stat().st_size / 1024:.0f} KB)", flush=True)


def ablate(runs: Path, module: str, *arguments: str, **environment: str) -> str:
    """What a command of ablate prints."""
    command = [sys.executable, "-m", f"ablate.{module}", *arguments, "--runs", str(runs)]
    settings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def unpack(folder: Path) -> None:
    """The kept records of the studies that are shown, as ``folder/runs``."""
    for study in SHOWN:
        with zipfile.ZipFile(KEPT / f"{study}.zip") as kept:
            kept.extractall(folder)


@contextmanager
def served(command: list[str], **environment: str) -> Iterator[str]:
    """A server; its address, which it prints."""
    settings = {**os.environ, "DISPLAY": "", "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        yield next(word for line in process.stdout for word in line.split() if word.startswith("http://127.0.0.1"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def of_terminal(pictures: Pictures, runs: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    said = ablate(runs, "study", STUDY, "--quiet", FORCE_COLOR="1", COLUMNS=str(TERMINAL), TERM="xterm-256color")
    console = Console(record=True, width=TERMINAL, file=io.StringIO())
    console.print(Text.from_ansi(said.replace(f" --runs {runs}", "").replace(str(runs), "runs")))
    frame = console.export_svg(title=f"python -m ablate.study {STUDY} --quiet")
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "terminal.html"
        page.write_text(f"<style>body {{ margin: 0 }} svg {{ width: 900px }}</style>{frame}", encoding="utf-8")
        pictures.look(page.as_uri(), 900, 100)
        height = pictures.browser.execute_script("return document.querySelector('svg').getBoundingClientRect().height")
        pictures.look(page.as_uri(), 900, int(height) + 1)
        pictures.take("terminal")


def of_report(pictures: Pictures, runs: Path) -> None:
    ablate(runs, "report", "--all")
    page = (runs / "reports" / STUDY / "latest" / "report.html").resolve().as_uri()
    for name, width, height, dark, media in (
        ("report", 1200, 1500, False, ""),
        ("report_phone", 390, 1500, False, ""),
        ("report_dark", 1200, 900, True, ""),
        ("report_printed", 794, 1123, False, "print"),
    ):
        pictures.look(page, width, height, dark=dark, media=media)
        if media == "print":  # the paper's margin, which a printer adds
            pictures.browser.execute_script("document.body.style.padding = '12mm'")
        pictures.take(name)
    pictures.look((runs / "reports" / "index.html").resolve().as_uri(), 1200, 1000)
    pictures.take("index")


def of_mlflow(pictures: Pictures, runs: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{runs}/mlflow.db")
    experiment = client.get_experiment_by_name(STUDY).experiment_id
    found: dict[str, str] = {}
    for run in client.search_runs([experiment], order_by=["attributes.start_time ASC"]):
        name = " ".join(filter(None, (run.data.tags["ablate.kind"], run.data.tags.get("arm"))))
        found.setdefault(name, run.info.run_id)
    pair = ",".join(f'"{found[name]}"' for name in ("trial control", "trial relu_bottleneck"))
    training = "?workflowType=machine_learning"
    with served([sys.executable, "-m", "ablate.ui", STUDY, "--runs", str(runs), "--port", "0"]) as link:
        base = link.partition("/?")[0]
        run = f"{base}/#/experiments/{experiment}/runs"
        pictures.look(link, 1300, 560)
        pictures.click(CLOSE_ASSISTANT)
        pictures.take("mlflow_runs")
        for name, address, height in (
            ("mlflow_campaign", f"{run}/{found['campaign']}{training}", 760),
            ("mlflow_report", f"{run}/{found['campaign']}/artifacts/report/report.html{training}", 760),
            ("mlflow_arm", f"{run}/{found['arm relu_bottleneck']}/model-metrics{training}", 1020),
            ("mlflow_compare", f'{base}/#/compare-runs?runs=[{pair}]&experiments=["{experiment}"]&{training[1:]}', 760),
        ):
            pictures.look(address, 1300, height)
            pictures.take(name)


def of_optuna(pictures: Pictures, runs: Path) -> None:
    with served([sys.executable, "-m", "ablate.ui", STUDY, "--optuna", "--runs", str(runs), "--port", "0"]) as link:
        pictures.look(link, 1300, 900)
        pictures.take("optuna_dashboard")


def of_notebook(pictures: Pictures, runs: Path) -> None:
    jupyter = shutil.which(os.environ.get("JUPYTER", "jupyter-lab"))
    if jupyter is None:
        print("No jupyter-lab on the PATH or in $JUPYTER: the notebook's picture stays as it is.")
        return
    ablate(runs, "report", STUDY, "--notebook")
    (notebook,) = (runs / "reports" / STUDY).glob("quick-*/report.ipynb")
    with tempfile.TemporaryDirectory() as place:
        command = [
            *(jupyter, "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--IdentityProvider.token="),
            *(f"--ServerApp.root_dir={notebook.parent}", "--LabApp.news_url="),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        with served(command, HOME=place, JUPYTER_CONFIG_DIR=place, JUPYTER_RUNTIME_DIR=place) as address:
            pictures.look(f"{address.partition('/lab')[0]}/lab/tree/report.ipynb", 1300, 1000)
            pictures.click("[...document.querySelectorAll('button')].find(one => one.innerText === 'No')?.click()")
            pictures.take("notebook")


PARTS: dict[str, Callable[[Pictures, Path], None]] = {
    "terminal": of_terminal,
    "report": of_report,
    "mlflow": of_mlflow,
    "optuna": of_optuna,
    "notebook": of_notebook,
}


def main() -> None:
    from selenium import webdriver

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"which pictures ({', '.join(PARTS)}; default: all)")
    options.add_argument("--runs", type=Path, help="a runs folder with the study (default: the kept records)")
    options.add_argument("--out", type=Path, default=FOLDER, help="where they go (%(default)s)")
    asked = options.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    driver, chromium = shutil.which("chromedriver"), next(filter(None, map(shutil.which, BROWSERS)), None)
    if driver is None or chromium is None:  # selenium would ask the internet for them
        sys.exit("the pictures need Chromium with its driver: apt-get install chromium chromium-driver")
    settings = webdriver.ChromeOptions()
    settings.binary_location = chromium
    for flag in FLAGS:
        settings.add_argument(flag)
    with tempfile.TemporaryDirectory() as place, webdriver.Chrome(settings, webdriver.ChromeService(driver)) as browser:
        runs = (asked.runs or Path(place) / "runs").resolve()
        if asked.runs is None:
            unpack(runs.parent)
        ablate(runs, "study", STUDY, "--quiet")  # trains nothing, and fills MLflow and Optuna
        for part in asked.parts or PARTS:
            PARTS[part](Pictures(browser, asked.out), runs)


if __name__ == "__main__":
    main()
