"""What the documentation shows runs as it stands there."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


def test_the_examples_of_the_simulator_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "simulate.md").read_text(), re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    whole, halved = map(float, capsys.readouterr().out.splitlines()[0].split())
    assert len(blocks) == 3
    assert names["found"].best_result["error"] < 0.04
    assert whole == 34 * 27  # 300 trials on 9 workers
    assert halved < whole / 2
    assert names["halving"].best_result["loss"] < names["everything"].best_result["loss"] + 0.05
    assert names["best_so_far"][-1] == min(names["results"]["value"])


def test_the_page_on_papers_is_what_its_script_writes():
    """The parts that take no time, and whose numbers are whole."""
    path = ROOT / "benchmarks" / "papers" / "papers.py"
    spec = importlib.util.spec_from_file_location("papers", path)
    papers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(papers)
    page = (DOCS / "papers.md").read_text()
    assert papers.hyperband_brackets() in page
    assert papers.first_model() in page
    assert "13/9" in papers.first_model()
    assert papers.toys() in page
