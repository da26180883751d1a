"""NumPy code as people write it: lists of traced numbers, and NumPy's functions that have no protocol.

    np.array([x[0], 2 * x[1]])       NumPy asks every element for plain numbers, which would lose the derivative

NumPy hands a call over to `rmad.tracing.traced` if an argument is a traced array. A list is none, and `np.array`,
`np.full` and some others ask no argument at all. So, while a function is recorded, what the module `numpy` gives out
for such names are wrappers: each calls NumPy first, and makes an array of the lists only if NumPy met a traced number
in one.

`lists` makes one traced array of nested lists; `constructors` has the wrappers of functions that make arrays, and of
those that take lists; `own_code` runs NumPy's own code on traced arrays, and `callbacks` is what always does, because
it calls the user's functions; `iteration` has np.ndenumerate and np.nditer; `mathematics` is Python's `math` and its
like; `swap` puts the wrappers in place and takes them away; `callers` tells the user's own code from that of installed
packages; `names` gives the variables of the user's functions arrays that keep derivatives.
"""
