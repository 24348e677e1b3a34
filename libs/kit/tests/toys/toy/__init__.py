"""A service that has nothing but the kit."""
