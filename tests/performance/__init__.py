"""The program of ``make perf``, which measures: no test, apart from ``test_page.py``, which tests its page."""
