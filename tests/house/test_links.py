"""Every link of every page leads somewhere: to a file of the repository, to a heading of a page."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], capture_output=True, text=True, cwd=ROOT, check=True)
PAGES = LISTED.stdout.split()
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The names that headings have in links: lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name):
    page = ROOT / name
    for link in LINK.findall(page.read_text("utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{name}: {link}"
        assert not anchor or anchor in anchors(place), f"{name}: {link}"


def test_a_heading_becomes_an_anchor_as_on_the_web(tmp_path):
    (tmp_path / "a.md").write_text("# A b, c (`d`)\n\n## Who may: import-whom\n")
    assert anchors(tmp_path / "a.md") == {"a-b-c-d", "who-may-import-whom"}
