"""Running bundles: runners, sources, sinks, tracking. Knows nothing of torch."""
