"""A service that notes what it heard, as often as it hears it: no unique key hides a second time."""
