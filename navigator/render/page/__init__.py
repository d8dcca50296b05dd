"""The report as one HTML file that needs no network: the same facts as the summary, to search, sort and look at."""
