"""Every document that a comment cites is in the project, and so is the section."""
import pathlib
import re
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Made by tools, or not the project's.
SKIPPED = {"target", ".venv", ".git", "node_modules"}
SOURCES = ("host", "guest", "tests", "wit")
# `wal.md` 5, `wal.md` 1.1 and 5, `wal.md 1`, wal.md 1.4, `architecture.md`, Sandbox
CITATION = re.compile(r"`?(?P<name>[A-Za-z0-9_./-]*[A-Za-z0-9_-]\.md)(?P<rest>[^\n]{0,60})")
NUMBERS = re.compile(r"`?,? ?`?(\d+(?:\.\d+)*)((?:(?:, | and | to `?)\d+(?:\.\d+)*)*)")
HEADING = re.compile(r"`, ([A-Z][A-Za-z]+(?: [a-z]+){0,2})")
COMMENT = re.compile(r"^\s*(?://[/!]?|#)\s?")


def walk(root, suffixes):
    for path in sorted(root.rglob("*")):
        if path.suffix in suffixes and path.is_file() and not SKIPPED & set(path.relative_to(root).parts):
            yield path


def documents(root):
    """File name -> the headings of every document of that name."""
    found = {}
    for path in walk(root, {".md"}):
        headings = re.findall(r"^#+ +(.*?) *$", path.read_text(), re.M)
        found.setdefault(path.name, []).extend(headings)
    return found


def paragraphs(text):
    """The text with comments that run over several lines joined, each with its first line number."""
    joined, begun = "", 1
    for number, line in enumerate(text.splitlines(), 1):
        if COMMENT.match(line):
            joined = f"{joined} {COMMENT.sub('', line).strip()}" if joined else COMMENT.sub("", line).strip()
            continue
        if joined:
            yield begun, joined
        yield number, line
        joined, begun = "", number + 1
    if joined:
        yield begun, joined


def missing(cited, headings):
    """The sections of one citation that no heading has."""
    name_end = NUMBERS.match(cited)
    if name_end:
        numbers = re.findall(r"\d+(?:\.\d+)*", name_end.group(0))
        return [n for n in numbers if not any(re.match(rf"{re.escape(n)}[. ]", h + " ") for h in headings)]
    heading = HEADING.match(cited)
    if heading:
        words = heading.group(1).split()
        starts = {" ".join(words[:count]).lower() for count in range(1, len(words) + 1)}
        return [] if starts & {h.lower() for h in headings} else [heading.group(1)]
    return []


def dead_citations(root):
    """One line for each citation of a document or section that is not there."""
    known, dead = documents(root), []
    for folder in SOURCES:
        for path in walk(root / folder, {".rs", ".wit", ".py"}):
            if path.name == pathlib.Path(__file__).name:
                continue
            for line, text in paragraphs(path.read_text()):
                for found in CITATION.finditer(text):
                    name = found["name"].rsplit("/", 1)[-1]
                    place = f"{path.relative_to(root)}:{line}: {name}"
                    if name not in known:
                        dead.append(f"{place}: no such document")
                    dead += [f"{place}: no section {s}" for s in missing(found["rest"], known.get(name, [])) if name in known]
    return dead


class Citations(unittest.TestCase):
    def test_every_citation_has_its_document_and_section(self):
        self.assertEqual("\n".join(dead_citations(ROOT)), "")

    def test_dead_ones_are_found_in_every_form(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "docs").mkdir()
            (root / "docs/wal.md").write_text("# Log\n## 1. File\n### 1.2 Old\n## Sandbox\n")
            for comment, dead in [
                ("// `wal.md` 1.2", 0), ("// (`wal.md` 1 and 1.2)", 0), ("// `wal.md 1`", 0), ("# wal.md 1.2)", 0),
                ("/// (`wal.md`\n/// 1.2).", 0), ("// `wal.md`, Sandbox", 0), ("// see `wal.md`.", 0),
                ("// `gone" + ".md` 1", 1), ("// `wal.md` 2", 1), ("// `wal.md` 1 and 3", 1), ("// `wal.md 12`", 1),
                ("/// (`wal.md`\n/// 1.3).", 1), ("// `wal.md`, Engine", 1), ("# wal.md 4)", 1),
            ]:
                (root / "host").mkdir(exist_ok=True)
                (root / "host/a.rs").write_text(comment + "\n")
                self.assertEqual(len(dead_citations(root)), dead, comment)


if __name__ == "__main__":
    unittest.main()
