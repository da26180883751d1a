"""Sweeps over a tape that carry other things than tangents or cotangents.

squares    Σ_n (∂L_n/∂θ)², per-case gradients squared    rows: where cases lie; per_case: the gradients of a block
factors    A ⊗ G of KFAC and KFLR                        uses: where parameters meet activations; reduced: by case
rotated    Σ_n (Lᵀ G_n R)² of EKFAC, per-case gradients squared in the basis of the factors
averaged   Ḡ of KFRA, one (d, d) matrix per edge         case_maps: J_n of one node, by kind
inline     checkpoints replaced by their nodes first

In reading order: inline, rows, per_case, squares, uses, reduced, factors, rotated, case_maps, averaged.
"""

from rmad.sweeps.squares import squares

__all__ = ["squares"]
