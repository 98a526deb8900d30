"""Latency, memory and power of bundles and networks, measured side by side: `humar-edge bench`."""
