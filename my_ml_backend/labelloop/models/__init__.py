"""Model versions and where they live: the store, bundles, versions, runs and the champion pointer."""
