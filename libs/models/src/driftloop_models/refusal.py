"""The two ways to say no: to a model, and to the rows it is asked about."""


class ModelRefused(ValueError):
    """This is no model that may be stored or served; the text says what was given and what is allowed."""


class RowsRefused(ValueError):
    """These columns do not fit the model's features; the text names the feature."""
