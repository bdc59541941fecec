"""What the documentation shows runs as it stands there."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


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
