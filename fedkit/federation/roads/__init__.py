"""Roads to engines that others have made: one module a road."""
