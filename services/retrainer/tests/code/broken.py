"""Code that asks for what is not there."""

import a_library_that_nobody_has  # type: ignore[import-not-found]  # that is its fault

train = a_library_that_nobody_has.train
