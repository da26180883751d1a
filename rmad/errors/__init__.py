"""What is said in place of a lost derivative or of a name that is not here, and the way round.

In reading order: source (the line of the user's code that runs), plain_calls (calls in it that take plain numbers
only), scipy_names (functions of SciPy that do), instead (what to write), refusals (the errors), other_names (names of
other libraries).
"""
