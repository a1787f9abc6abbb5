"""Scores of leave-one-subject-out predictions, their intervals and comparisons.

`metrics` scores arrays, `bootstrap` resamples subjects, `comparison` sets methods side by side,
`parts` scores a run's predictions together and by database, `logs` reads and writes predictions,
`paper` is the paper's Table 3. Nothing here loads JAX, Flax or OpenCV.
"""
