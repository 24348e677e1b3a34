"""The registry's decisions, pure: which evidence lets which version serve."""
