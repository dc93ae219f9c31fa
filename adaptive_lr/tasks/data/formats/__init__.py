"""The formats that data sets are published in, from bytes to arrays; nothing is fetched here, and nothing is executed."""
