"""The template's own tests run where a service was made of it (`test_create.py`), not here."""

collect_ignore = ["service"]
