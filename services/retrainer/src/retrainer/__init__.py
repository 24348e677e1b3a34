"""The retrainer: one request, one dataset, one training, one candidate."""
