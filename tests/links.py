#!/usr/bin/env python3
"""Checks every relative link in the Markdown files: the file exists, and so does the heading it names.

    python3 tests/links.py [FOLDER]

Prints FILE:LINE: what is wrong, and ends with 1 when something is. Addresses outside are not visited.
"""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

# [text](target), ![text](target), [text]: target, each with an optional title behind the target.
INLINE = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^()<>\s]*(?:\([^()\s]*\)[^()<>\s]*)*)>?(?:\s+[\"'(][^)]*)?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")
ATTRIBUTE = re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)[\"']", re.IGNORECASE)
ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)=[\"']([^\"']+)[\"']", re.IGNORECASE)
HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
OUTSIDE = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*:|^//")


def lines_of_text(path):
    """Number and text of each line outside of code blocks, inline code blanked out."""
    fence = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark = FENCE.match(line)
        if mark:
            if fence is None:
                fence = mark[1]
            elif mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
            continue
        if fence is None:
            yield number, line


def slug(heading):
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    text = re.sub(r"[`*]|<[^>]+>", "", text).strip().lower()
    kept = (c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(path, known={}):
    if path not in known:
        found, seen = set(), {}
        for _, line in lines_of_text(path):
            found.update(ANCHOR.findall(line))
            heading = HEADING.match(line)
            if heading:
                name = slug(heading[2])
                count = seen.get(name, 0)
                seen[name] = count + 1
                found.add(f"{name}-{count}" if count else name)
        known[path] = found
    return known[path]


def problem(source, target, root):
    """What is wrong with one link, or None."""
    if OUTSIDE.match(target):
        return None
    path, _, fragment = target.partition("#")
    path = unquote(path.partition("?")[0])
    if path.startswith("/"):
        file = root / path.lstrip("/")
    else:
        file = source.parent / path if path else source
    if not file.exists():
        return f"there is no {path}"
    if not file.resolve().is_relative_to(root):
        return f"{path} is outside of the repository"
    if fragment and file.suffix == ".md" and unquote(fragment) not in anchors(file.resolve()):
        return f"{file.name} has no heading #{fragment}"
    return None


def documents(root):
    """The Markdown files that belong to the repository: neither ignored nor generated."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        capture_output=True, check=False,
    )
    if listed.returncode == 0:
        files = [root / name for name in listed.stdout.decode().split("\0") if name]
    else:
        files = [file for file in root.rglob("*.md") if "target" not in file.relative_to(root).parts]
    return sorted(file for file in files if file.exists())


def check(root):
    """(place, problem) of every broken link, and how many links there were."""
    broken, count = [], 0
    for source in documents(root):
        for number, line in lines_of_text(source):
            line = re.sub(r"(`+).+?\1", lambda code: " " * len(code[0]), line)
            for target in INLINE.findall(line) + REFERENCE.findall(line) + ATTRIBUTE.findall(line):
                count += 1
                wrong = problem(source, target, root)
                if wrong:
                    broken.append((f"{source.relative_to(root)}:{number}", wrong))
    return broken, count


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    broken, count = check(root)
    for place, wrong in broken:
        print(f"{place}: {wrong}")
    print(f"{count} links, {len(broken)} broken")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
