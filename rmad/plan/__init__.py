"""Plans: a tape that is swept many times, as lists of NumPy calls whose arguments are bound once.

A sweep over the tape as recorded (`rmad.tapes.tape.push`, `pull`) decides at every node what to call and allocates
every result. A plan decides once:

    tape ──rewrite──▶ fewer nodes ──Program──▶ buffers of inputs and outputs ──Push──▶ [call, call, …]   z ← J v
                                                                            ──Pull──▶ [call, call, …]   u ← Jᵀ z

A product is then `for call in calls: call()`, and each call is a NumPy function bound to its arrays, for example
`partial(np.dot, x, v_W, out)` for the push of x @ W. The words, in the order of the modules:

rewrite   the tape rewritten in place: sums absorb sums, diagonals merge, dead nodes go
Pool      (buffers) the memory of a plan: a node takes a buffer when it is planned, and gives it back after its last
          reader
form      (forms) recognizes the blocks whose push or pull is one NumPy call, or a view of a buffer
Program   the rewritten tape with the buffers of its inputs and outputs; what a push and a pull share
Stack     (program) x @ W + h @ U + b as one product [x h 1] @ [W; U; b], read from the flat vector of inputs
Sweep     (calls) the calls of one sweep so far, and the methods that append one: `product`, `scaled`, `into`, …
Push      one sweep planned forward: for every node the calls that write its tangent
Pull      one sweep planned backward: for every node the calls that add to the cotangents of its inputs
fuse      (fusion) on a GPU, a pass over arrays that only other passes read becomes a part of these: fewer launches
Plan      both sweeps over a Program, planned when first asked for: `push`, `pull`, `Jv`, `JTu`
timing    a plan whose calls are tagged with their nodes and timed, for `rmad.show(lin, repeat=…)`

Each module imports only those that stand before it in this list.
"""

from rmad.plan.plan import Plan

__all__ = ["Plan"]
