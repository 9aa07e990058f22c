"""The plain text of an HTML mail, for those who read mail as text, and for filters that distrust mail without."""

import re
from typing import Final
from urllib.parse import unquote

from inscriptis.html_engine import Inscriptis
from inscriptis.model.config import ParserConfig
from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring

_LAYOUT: Final = ParserConfig(display_images=True)
_LEADS_SOMEWHERE: Final = ("http:", "https:", "mailto:", "tel:")
_DECLARATION: Final = re.compile(r"\A\s*<\?xml[^>]*>")
_UNREADABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NO_TEXT: Final = ("head", "script", "style", etree.Comment)
_HIDES: Final = re.compile(r"\bdisplay\s*:\s*none\b", re.IGNORECASE)
_LARGEST_TABLE: Final = 50_000_000  # characters, if each row were as wide as all the text: cells are padded
_BLANK_LINES: Final = re.compile(r"\n{3,}")


def text_of(source: str) -> str:
    """What a reader sees of an HTML mail, with the addresses that its links lead to; "" if that is nothing.

    Layout tables are common in mails, so what they indent is set flush. Never raises.
    """
    source = _UNREADABLE.sub(" ", _DECLARATION.sub("", source.encode("utf-8", "replace").decode()))
    try:
        text = _laid_out(document_fromstring(source, parser=HTMLParser(huge_tree=True)))
    except (etree.LxmlError, ValueError):  # nothing but comments
        return ""
    lines = [line.rstrip() if _is_visible(line) else "" for line in text.splitlines()]
    indent = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return _BLANK_LINES.sub("\n\n", "\n".join(line[indent:] for line in lines)).strip("\n")


def _laid_out(tree: HtmlElement) -> str:
    etree.strip_elements(tree, etree.ProcessingInstruction, with_tail=False)  # Outlook's namespaces
    rows, characters = len(tree.findall(".//tr")), sum(map(len, tree.itertext()))
    for link in tree.iter("a"):
        _name_target(link)
    for element in tree.iterfind(".//*[@style]"):
        _keep_whether_shown(element)
    if rows * characters > _LARGEST_TABLE:
        return _words(tree)
    try:
        return str(Inscriptis(tree, _LAYOUT).get_text())
    except Exception:  # whatever the layout holds that the library cannot follow, a mail is not lost for it
        return _words(tree)


def _words(tree: HtmlElement) -> str:
    """The text without its layout."""
    etree.strip_elements(tree, *_NO_TEXT, with_tail=False)
    return "\n".join(tree.itertext())


def _keep_whether_shown(element: HtmlElement) -> None:
    """Of a style keep what hides an element: its margins would become spaces and lines, however many they are."""
    if _HIDES.search(element.get("style")):
        element.set("style", "display: none")
    else:
        del element.attrib["style"]


def _name_target(link: HtmlElement) -> None:
    """Write behind a link where it leads, unless its text says so already."""
    target, shown = link.get("href", "").strip(), "".join(link.itertext()).strip()
    if not target.lower().startswith(_LEADS_SOMEWHERE) or _bare(target) == _bare(shown):
        return
    last = link[-1] if len(link) else None
    named = f" ({target})" if shown or link.find(".//img") is not None else f" {target}"
    if last is None:
        link.text = (link.text or "") + named
    else:
        last.tail = (last.tail or "") + named


def _bare(address: str) -> str:
    """An address without what people leave out when they write it."""
    return unquote(re.sub(r"^(?:https?://|mailto:|tel:)", "", address, flags=re.IGNORECASE)).rstrip("/")


def _is_visible(line: str) -> bool:
    """Whether a line shows anything; previews are padded with characters that do not."""
    return any(character.isprintable() and not character.isspace() for character in line)
