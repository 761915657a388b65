"""Text that no batch system prints, and that no person should be able to hurt anybody with."""

from __future__ import annotations

from hypothesis import strategies as st

#: Answers of something else. They have digits, so that "the first number" is an id in most of them.
FOREIGN = [
    "Welcome to node17! 3 messages.\n",
    "<html><body>503 Service Unavailable</body></html>\n",
    "Segmentation fault (core dumped)\n",
]

#: Pieces that do something if any of them is not quoted.
HOSTILE = [
    "'",
    '"',
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}",
    "; touch pwned #",
    "\n#SBATCH --mem=1\n#PBS -l mem=1\n",
    "\ntouch pwned\n",
    "\\",
    " ",
    "%j%A{id}{{id}}$(ClusterId)",
    "*",
    "~",
    "!!",
    "é🐂",
    "\t",
    "=",
    "|",
]


def hostile_texts() -> st.SearchStrategy[str]:
    """Mixtures of the above, and any other text that an argument can be."""
    anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    return st.lists(st.sampled_from(HOSTILE) | anything, max_size=5).map("".join)


def garbled(text: str) -> st.SearchStrategy[str]:
    """The text cut, shuffled, interrupted or replaced."""
    lines = text.splitlines(keepends=True)[:100]
    places = st.integers(0, len(text))
    return st.one_of(
        places.map(lambda end: text[:end]),
        places.map(lambda begin: text[begin:]),
        st.permutations(lines).map("".join),
        st.permutations(list(text[:500])).map("".join),
        st.builds(lambda place, junk: text[:place] + junk + text[place:], places, st.text(max_size=10)),
        st.builds(text.replace, st.sampled_from("0123456789|.=:, \t"), st.text(max_size=3)),
        st.sampled_from(FOREIGN).map(lambda foreign: foreign + text),
        st.sampled_from(FOREIGN),
        st.text(),
    )
