"""Speed and memory beside peers; never imported by the package."""
