"""The flights of New York in 2013 as a world that moves: predictions, outcomes and weather in event time."""
