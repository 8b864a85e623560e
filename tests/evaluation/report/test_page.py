import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_moe.evaluation.report.page import contents, data_uri, el, name_of, page, section, table
from sam_moe.files import replace_text

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</style><script>alert(1)</script>",
    "&lt;b&gt;",
    "' onmouseover='alert(1)",
]


class Reader(HTMLParser):
    """What a browser would make of a page: its tags, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("text", ATTACKS)
def test_text_never_becomes_a_tag_or_an_attribute(text):
    made = page(text, el("p", text, title=text), table([text], [[el("td", text, class_="n")]]))
    found = Reader(made)
    assert not {"script", "img", "svg", "b"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.words.count(text) == 4
    assert ("title", text) in found.attributes


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
)
def test_words_come_back_as_they_were(first, second):
    found = Reader(page("t", el("p", first, el("b", "between"), second)))
    place = found.words.index("between")
    assert "".join(found.words[:place]).endswith(first)
    assert "".join(found.words[place + 1 :]).startswith(second)


def test_a_page_forbids_what_it_does_not_need():
    found = Reader(page("t"))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in found.attributes
    assert ("name", "viewport") in found.attributes


def test_a_page_names_nothing_outside_itself():
    assert re.findall(r"https?:|url\(|@import|//", page("t", el("p", "x"))) == []


def test_children_keep_their_order():
    made = page("t", el("p", "a", [el("i", "b"), "c"], None, el("i", "d"), "e"))
    assert "<p>a<i>b</i>c<i>d</i>e</p>" in made


def test_attributes_are_written_as_html_has_them():
    made = page("t", el("rect", class_="n", stroke_width=1.25, x=0.0, fill=None, viewBox="0 0 1 1"))
    assert '<rect class="n" stroke-width="1.25" x="0" viewBox="0 0 1 1"></rect>' in made


def test_columns_are_aligned_as_their_cells():
    made = page("t", table(["case", "Dice"], [[el("th", "a"), el("td", "0.5", class_="n best")]]))
    assert '<th>case</th><th class="n">Dice</th>' in made


def test_contents_link_to_the_sections_that_are_there():
    made = page("t", contents([section("Results", "results"), None]))
    assert '<nav><a href="#results">Results</a></nav>' in made


def test_systems_beyond_the_last_colour_begin_again():
    systems = [str(number) for number in range(10)]
    colours = [
        re.findall(r"--c\d", page("t", name_of(one, systems)).split("<body>")[1])[0] for one in systems
    ]
    assert colours[:2] == colours[8:] == ["--c0", "--c1"]
    assert len(set(colours)) == 8


def test_a_picture_is_held_by_its_address():
    assert data_uri(b"abc", "png") == "data:image/png;base64,YWJj"


def test_a_page_is_written_as_utf8(tmp_path):
    replace_text(tmp_path / "page.html", page("Größe", el("p", "τ ≥ 0.5")))
    assert "τ ≥ 0.5" in (tmp_path / "page.html").read_text("utf-8")
