"""`python -m deploy.docs.build` writes what is printed from the code: the settings (env-keys.md)
and the states of an urgent question (urgent-states.md). Tests hold both fresh.
"""

from pathlib import Path
from typing import Final

from hub.domain.rules import picture
from hub.plumbing.settings.settings import variables

PAGE: Final = Path(__file__).with_name("env-keys.md")

HEAD: Final = """# Settings

Every variable that a role reads, from the code's own table (`python -m deploy.docs.build`). The
same names on every platform. A secret may come from a file: NAME_FILE with its path.
`dongne check-config` prints what is in force, secrets hidden; every problem at once, with exit
code 1.
"""


def text() -> str:
    lines, part = [HEAD], ""
    for row in variables():
        if row.part != part:
            part = row.part
            lines += [
                f"\n## {part.capitalize()}\n",
                "| Variable | Default | Means |",
                "|---|---|---|",
            ]
        names = ", ".join((row.name, *row.aliases)) + (" (secret)" if row.secret else "")
        note = row.note.replace("|", "\\|")
        lines.append(f"| {names} | {row.default or '–'} | {note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), "utf-8")
    PAGE.with_name("urgent-states.md").write_text(picture.page(), "utf-8")
