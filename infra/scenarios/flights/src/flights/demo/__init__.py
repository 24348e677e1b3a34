"""The circle, run on this world: history loaded, a month replayed, the story told and held to its figures."""
