"""The ranks of this program: those of the MPI job that mpiexec, or a queue, has started it in."""

from __future__ import annotations

import functools
import os

import optim

__all__ = ["is_first", "job_size", "ranks"]

SIZES = "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"
"""Environment variables in which MPICH, Open MPI, MVAPICH and srun tell a program the number of ranks."""


NUMBERS = "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID"
"""The same for the number of this one."""


def job_size() -> int:
    """Returns the number of ranks that the program was started with; 1 without mpiexec."""
    return max(int(os.environ.get(name, "") or 1) for name in SIZES)


@functools.cache
def ranks() -> optim.Ranks:
    """Returns the ranks of the job, this process alone if there is none. ModuleNotFoundError if mpi4py is missing."""
    if job_size() == 1:
        return optim.Ranks()
    try:
        from mpi4py import MPI  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ModuleNotFoundError(
            f"started on {job_size()} ranks, but mpi4py is not installed: pip install -e '.[mpi]'"
        ) from None
    if MPI.COMM_WORLD.Get_size() != job_size():
        raise ImportError(
            f"started on {job_size()} ranks, of which mpi4py finds {MPI.COMM_WORLD.Get_size()}: mpiexec and the "
            "library that mpi4py loads are of different MPIs"
        )
    return optim.Ranks(MPI.COMM_WORLD)


def is_first() -> bool:
    """Returns True on rank 0, which writes files and prints, and in a process by itself."""
    return job_size() == 1 or not any(int(os.environ.get(name, "") or 0) for name in NUMBERS)
