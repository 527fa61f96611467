"""Titles of attacks in tables."""

from __future__ import annotations

from dynanoise.core.registry import ATTACKS


def title_of(text: str) -> str:
    """Heading of an attack's column: its title, and its parameters as they were written.

    Args:
        text: the attack's specification, such as "lira(variance=example)". One that is not
            installed here is its own title.

    Returns:
        The heading.

    >>> title_of("lira_by_class(shadows=1)"), title_of("theirs")
    ('LiRA by class (shadows=1)', 'theirs')
    >>> title_of("cell_mates(attack=lira)")
    'LiRA, cell-mates'
    """
    name, _, rest = text.partition("(")
    if name not in ATTACKS.names():
        return text
    title = str(ATTACKS.get(name).title)
    if rest.startswith("attack=") and "," not in rest:
        return f"{title_of(rest[len('attack=') : -1])}, {title[0].lower()}{title[1:]}"
    return f"{title} ({rest}" if rest else title
