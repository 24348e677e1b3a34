"""Names for runs that were given none."""

from typing import Final

_FIRST: Final = ("able", "bold", "brave", "bright", "calm", "clear", "clever", "deft", "eager", "fair", "fleet", "glad",
    "keen", "kind", "lively", "lucky", "merry", "mild", "neat", "nimble", "noble", "proud", "quick", "quiet", "rare", "sleek",
    "spry", "steady", "swift", "tidy", "vivid", "warm", "witty")  # fmt: skip
_SECOND: Final = ("ant", "auk", "bear", "bee", "carp", "cod", "colt", "crab", "crane", "crow", "deer", "dove", "eel", "elk",
    "finch", "fox", "frog", "goose", "gull", "hare", "hawk", "jay", "koi", "lark", "lynx", "mole", "newt", "owl", "quail",
    "seal", "shrew", "snail", "stork", "swan", "toad", "trout", "vole", "whale", "wolf", "wren", "yak")  # fmt: skip


def invented(seed: str) -> str:
    """Adjective, animal, number: the same for the same 32 hex digits."""
    number = int(seed, 16)
    number, first = divmod(number, len(_FIRST))
    number, second = divmod(number, len(_SECOND))
    return f"{_FIRST[first]}-{_SECOND[second]}-{number % 1000}"
