"""What a scrape says, as numbers by series."""

from prometheus_client.parser import text_string_to_metric_families


def samples(text):
    """Every sample of a scrape: ``(name, labels)`` → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
