"""One answer per input: its class, whether to trust it, and a p-value."""

__all__: list[str] = []
