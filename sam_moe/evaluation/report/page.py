"""Pages that stand alone: HTML as a tree, so that no text from a file can ever become a tag or a script.

Nothing is fetched and nothing runs: the page forbids both to its reader's browser, too.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

from sam_moe.ownership import GENERATOR

# Okabe and Ito's colours, distinct also where red and green look alike; darker on white paper.
_ON_WHITE = ("#0072b2", "#c9570a", "#00805e", "#a84a86", "#8a6d00", "#2b8cc4", "#5c4bb0", "#666666")
_ON_BLACK = ("#56b4e9", "#f0904a", "#2fc79b", "#e08fc0", "#e3c53a", "#9ad4f5", "#a99cf0", "#aaaaaa")
COLOURS = len(_ON_WHITE)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def _variables(paper: str, ink: str, faint: str, line: str, panel: str, colours: Sequence[str]) -> str:
    named = {"paper": paper, "ink": ink, "faint": faint, "line": line, "panel": panel}
    named |= {f"c{number}": colour for number, colour in enumerate(colours)}
    return "".join(f"--{name}:{value};" for name, value in named.items())


_LIGHT = _variables("#ffffff", "#1a1f24", "#5a646e", "#d3d9df", "#f4f6f8", _ON_WHITE)
_DARK = _variables("#15181b", "#e4e7ea", "#9aa5af", "#363d44", "#1e2226", _ON_BLACK)
_STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1.5rem 1.2rem 4rem;max-width:76rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}}
h1{{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .6rem}}
h2{{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--line)}}
h3{{font-size:1rem;margin:1.4rem 0 .4rem}}
p,ul{{max-width:48rem;margin:.4rem 0 .8rem}}
.faint,figcaption{{color:var(--faint)}}p.faint{{font-size:.9rem}}
nav{{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.8rem 0}}
a{{color:var(--c0)}}
.scroll{{overflow-x:auto;margin:.6rem 0 1.2rem}}
table{{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}}
th,td{{text-align:left;padding:.28rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;
white-space:nowrap}}
th{{font-weight:600}}tr>:first-child{{padding-left:0}}
thead th{{vertical-align:bottom;white-space:normal;border-bottom:2px solid var(--line)}}
td.n,th.n{{text-align:right}}
td.text{{min-width:14rem;white-space:normal;overflow-wrap:anywhere}}
td.best{{font-weight:700}}
tr.first>*{{border-top:2px solid var(--line)}}
td small{{display:block;color:var(--faint);font-weight:400}}
.bad{{color:var(--c1);font-weight:600}}
.name{{display:inline-block;min-width:6.5rem;max-width:15rem;white-space:normal;overflow-wrap:anywhere}}
th.n .name{{min-width:4rem;max-width:9rem}}.name>span{{print-color-adjust:exact}}
.grid{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(27rem,100%),1fr));gap:1.2rem 1.6rem}}
figure{{margin:.4rem 0 1rem;min-width:0}}
figure>svg,figure>img{{display:block;width:100%;height:auto}}
figure.narrow{{max-width:40rem}}
figure.wide{{overflow-x:auto}}figure.wide>svg,figure.wide>img{{min-width:36rem}}
figure>img{{border-radius:4px}}
figcaption{{font-size:.86rem;margin-top:.3rem}}
pre{{background:var(--panel);padding:.7rem .9rem;overflow-x:auto;font-size:.8rem;line-height:1.4;
white-space:pre-wrap;overflow-wrap:anywhere;border-radius:4px}}
dt{{font-weight:600;margin-top:.5rem}}dd{{margin:0 0 .2rem 1.2rem;overflow-wrap:anywhere}}
details>summary{{cursor:pointer;margin:.6rem 0;color:var(--faint)}}
svg text{{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}}
svg .faint{{fill:var(--faint);color:var(--faint)}}
svg .strong{{font-weight:600}}
svg .rule{{stroke:var(--line);stroke-width:1;fill:none}}
svg .axis{{stroke:var(--faint);stroke-width:1;fill:none}}
svg .inverse{{fill:var(--paper)}}
@media (max-width:40rem){{body{{padding:1rem .8rem 3rem;font-size:15px}}}}
@media print{{body{{max-width:none;padding:0;font-size:10pt}}nav{{display:none}}
details>summary{{list-style:none;color:inherit}}
details::details-content{{content-visibility:visible;height:auto}}
.scroll,figure.wide{{overflow:visible}}table{{font-size:7.5pt}}td.text{{min-width:0}}
figure.wide>svg,figure.wide>img{{min-width:0}}h2,h3{{break-after:avoid}}figure,tr{{break-inside:avoid}}
.grid{{grid-template-columns:repeat(2,1fr)}}}}
"""

Child = Element | str | None


def el(tag: str, *children: Child | Iterable[Child], **attributes: str | float | None) -> Element:
    """An element with its children in order; strings are text, None is nothing.

    Underscores in attributes are hyphens, a last one is dropped: `class_="n"`, `stroke_width=2`.
    """
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = Element(tag, {name: _short(value) for name, value in named.items() if value is not None})
    for child in children:
        _append(made, child)
    return made


def data_uri(picture: bytes, kind: str) -> str:
    """A picture as an address that holds it; `kind` is `png`, `webp`, …."""
    return f"data:image/{kind};base64,{b64encode(picture).decode('ascii')}"


def colour(number: int) -> str:
    """The colour of the system of this number, on light and on dark paper."""
    return f"var(--c{number % COLOURS})"


def page(title: str, *body: Child | Iterable[Child]) -> str:
    """A whole page as text."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="generator", content=GENERATOR),  # by which it is known as ours
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", _STYLE),
    )
    root = el("html", head, el("body", *body), lang="en")
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def section(title: str, anchor: str, *children: Child | Iterable[Child]) -> Element:
    """A part of a page, with a heading that can be linked to."""
    return el("section", el("h2", title), *children, id=anchor)


def contents(sections: Iterable[Element | None]) -> Element:
    """Links to the sections."""
    found = [one for one in sections if one is not None]
    return el("nav", [el("a", one[0].text, href=f"#{one.get('id')}") for one in found])


def table(head: Sequence[Child | Iterable[Child]], rows: Sequence[Sequence[Element]]) -> Element:
    """A table that scrolls sideways where it must; a column's title is aligned as its first cell is."""
    kinds = ["n" if "n" in (cell.get("class") or "").split() else None for cell in rows[0]] if rows else []
    titles = [el("th", one, class_=kinds[at] if kinds else None) for at, one in enumerate(head)]
    body = el("tbody", [el("tr", cells) for cells in rows])
    return el("div", el("table", el("thead", el("tr", titles)), body), class_="scroll")


def figure(picture: Element, caption: str | None = None, class_: str | None = None) -> Element:
    """A picture and what it shows."""
    return el("figure", picture, el("figcaption", caption) if caption else None, class_=class_)


def name_of(system: str, systems: Sequence[str]) -> Element:
    """A system's name after a dot in its colour."""
    dot = el("span", "●\u00a0", style=f"color:{colour(systems.index(system))}")
    return el("span", dot, system, class_="name")


def _append(parent: Element, child: Child | Iterable[Child]) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        parent.append(child)
    elif isinstance(child, str):
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        else:
            parent.text = (parent.text or "") + child
    else:
        for inner in child:
            _append(parent, inner)


def _short(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
