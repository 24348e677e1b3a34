"""The clerk without its bug, as another group: it hears everything the first time."""
