"""The program of ``make perf``, which measures and is not a test; ``test_page.py`` tests the page that it writes."""
