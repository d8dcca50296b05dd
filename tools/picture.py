"""Draws the comment of a run as a pull request shows it: `python tools/picture.py RESULTS.yaml PICTURE.png`.

GitHub's colours and sizes are imitated; Chromium draws. The README's picture is of some examples, with the
absolute tolerance of `pooled__1` at 2e-7. It shows the top of the comment.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

from navigator.render.comment import ArtifactLink, Links, comment
from navigator.report.storage import read
from navigator.report.summary import summarize

_RUN = "https://github.com/org/models/actions/runs/1"

_PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 24px; font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", Helvetica, sans-serif;
       color: #1f2328; background: #fff }}
.comment {{ max-width: 1000px; border: 1px solid #d1d9e0; border-radius: 6px }}
.by {{ padding: 8px 16px; background: #f6f8fa; border-bottom: 1px solid #d1d9e0; color: #59636e }}
.by b {{ color: #1f2328 }}
.by i {{ font: 12px sans-serif; border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 6px }}
.body {{ padding: 16px }} .body > :first-child {{ margin-top: 0 }}
h2 {{ font-size: 1.5em; border-bottom: 1px solid #d1d9e0; padding-bottom: .3em }} h3 {{ font-size: 1.25em }}
table {{ border-collapse: collapse; display: block; overflow: auto }}
th, td {{ border: 1px solid #d1d9e0; padding: 6px 13px }} tr:nth-child(2n) td {{ background: #f6f8fa }}
code, pre {{ font: 85% ui-monospace, "DejaVu Sans Mono", monospace; background: #f0f1f2; border-radius: 6px }}
code {{ padding: .2em .4em }} pre {{ padding: 16px; overflow: auto }} pre code {{ padding: 0; font-size: 100% }}
blockquote {{ margin: 0; padding: 0 1em; border-left: .25em solid #9a6700 }}
a {{ color: #0969da }} sub {{ color: #59636e }}
</style><div class="comment"><div class="by"><b>github-actions</b> <i>bot</i> commented</div>
<div class="body">{body}</div></div>"""


def main() -> None:
    """Draw the picture."""
    results, picture = map(Path, sys.argv[1:])
    summary = summarize(read(results))
    size_bytes = sum(each.output_model.size_bytes for each in summary.report.results if each.output_model is not None)
    links = Links(
        run_url=_RUN,
        models=(ArtifactLink(name="models", url=f"{_RUN}/artifacts/2", size_bytes=size_bytes),),
        results_url=f"{_RUN}/artifacts/1",
    )
    markdown = comment(summary, key="Models/navigator.yaml", links=links)
    body = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium here: apt-get install chromium")
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory, "page.html")
        page.write_text(_PAGE.format(body=body.replace("[!WARNING]", "⚠️")), encoding="utf-8")
        size = "--window-size=1060,985"
        where = [f"--user-data-dir={directory}/profile", f"--screenshot={picture.absolute()}", page.as_uri()]
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
        subprocess.run([chromium, *quiet, size, *where], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
