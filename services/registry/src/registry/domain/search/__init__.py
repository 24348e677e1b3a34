"""MLflow's search language: text to clauses. What a clause means in SQL is the store's business."""

from registry.domain.search.language import BadSearch, Clause, Order, Search, parse, parse_order, without_prompts
from registry.domain.search.rules import EXPERIMENTS, LOGGED_MODELS, MODELS, RUNS, VERSIONS, Rules

__all__ = [
    "EXPERIMENTS", "LOGGED_MODELS", "MODELS", "RUNS", "VERSIONS", "BadSearch", "Clause", "Order", "Rules", "Search", "parse",
    "parse_order", "without_prompts",
]  # fmt: skip
