"""Arrays that a function writes into while it is recorded, with NumPy's semantics and without a write on the tape.

    y = np.zeros_like(x, shape=9)    Blank      constant as yet; its plain array is nobody else's
    y[1:4] = x                       Written    a traced array from its first write on
    v = y[::2]                       a view: y and v see each other's writes

No array that a block may hold is ever written into. A write leaves a piece, and for every element of y the place in
the pieces where it lies now; the next read joins the pieces into an ordinary array on the tape. `Memory` holds the
pieces of all arrays that are views of each other, and `Place` says how one of them lies in it.

pieces        joined, and laid out in memory
memory        the pieces of an array and its views, and where each element lies in them
arrays        the classes: Blank, Written
viewers       the calls of NumPy's functions that may make views
views         what NumPy's functions make that shares memory
assignment    y[key] = v
calls         calls of such arrays; ufunc.at, out=, where=, x.flat
"""

from rmad.written import calls
from rmad.written.arrays import Blank, Written, blank, settled
from rmad.written.assignment import plain_key, write, write_by
from rmad.written.memory import Memory, Place

__all__ = ["Blank", "Memory", "Place", "Written", "blank", "calls", "plain_key", "settled", "write", "write_by"]
