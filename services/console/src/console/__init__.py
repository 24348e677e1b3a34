"""The console: shows the circle to people, live, and takes their commands."""
