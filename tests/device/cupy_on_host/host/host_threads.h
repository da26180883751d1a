// The threads of a launch, one after the other: blocks in turn, and in a block each thread to its end, or, if the
// threads wait for one another, each as a fiber to its next barrier.
#pragma once
#include <ucontext.h>

struct host_dim3 { unsigned x, y, z; };
static host_dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

namespace host {

static const size_t STACK = 1 << 16;
static const unsigned MOST_THREADS = 1024;

static ucontext_t scheduler, *fibers;
static char* stacks;
static bool* done;
static unsigned current, room;           // the running thread; for how many there are fibers
static bool in_fibers;
static unsigned arrived[2][MOST_THREADS];  // at how many barriers of the block and of the warp each thread has been
static void (*body)(void**);
static void** arguments;

static unsigned threads() { return blockDim.x * blockDim.y * blockDim.z; }
static unsigned thread() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

static void set_thread(unsigned t) {
  threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
}

static void yield() {
  unsigned me = current;
  swapcontext(&fibers[me], &scheduler);
  set_thread(me);
}

// Waits until every thread of the warp (or the block) has been at as many barriers, or has ended.
static void barrier(bool of_warp) {
  if (!in_fibers) return;
  unsigned me = current, *count = arrived[of_warp];
  unsigned first = of_warp ? me / warpSize * warpSize : 0;
  unsigned last = of_warp ? std::min(first + warpSize, threads()) : threads();
  unsigned mine = ++count[me];
  auto behind = [&] {
    for (unsigned t = first; t < last; t++)
      if (!done[t] && count[t] < mine) return true;
    return false;
  };
  while (behind()) yield();
  yield();
}

static void entry() {
  unsigned me = current;
  set_thread(me);
  body(arguments);
  done[me] = true;
  swapcontext(&fibers[me], &scheduler);
}

static void start_fiber(unsigned t) {
  done[t] = false;
  arrived[0][t] = arrived[1][t] = 0;
  getcontext(&fibers[t]);
  fibers[t].uc_stack.ss_sp = stacks + t * STACK;
  fibers[t].uc_stack.ss_size = STACK;
  fibers[t].uc_link = &scheduler;
  makecontext(&fibers[t], entry, 0);
}

static void run_block_in_fibers() {
  unsigned n = threads();
  if (room < n) {
    room = n;
    fibers = (ucontext_t*)realloc(fibers, n * sizeof(ucontext_t));
    stacks = (char*)realloc(stacks, n * STACK);
    done = (bool*)realloc(done, n);
  }
  in_fibers = true;
  for (unsigned t = 0; t < n; t++) start_fiber(t);
  for (bool more = true; more;) {
    more = false;
    for (unsigned t = 0; t < n; t++) {
      if (done[t]) continue;
      current = t;
      set_thread(t);
      swapcontext(&scheduler, &fibers[t]);
      more = more || !done[t];
    }
  }
  in_fibers = false;
}

static void run_block_in_turn() {
  for (unsigned t = 0; t < threads(); t++) {
    set_thread(t);
    body(arguments);
  }
}

// Runs a kernel. dims: of the grid, then of a block. by_one_thread: the kernel strides over the grid, so that a grid
// of one thread does all the work. waiting: threads wait for one another.
static inline void run(void (*f)(void**), void** args, const unsigned* dims, bool by_one_thread, bool waiting) {
  static const unsigned one[6] = {1, 1, 1, 1, 1, 1};
  if (by_one_thread) dims = one;
  body = f;
  arguments = args;
  gridDim = {dims[0], dims[1], dims[2]};
  blockDim = {dims[3], dims[4], dims[5]};
  for (unsigned z = 0; z < gridDim.z; z++)
    for (unsigned y = 0; y < gridDim.y; y++)
      for (unsigned x = 0; x < gridDim.x; x++) {
        blockIdx = {x, y, z};
        waiting ? run_block_in_fibers() : run_block_in_turn();
      }
}

// Calls f with the arguments that the pointers lead to.
template <class... A, size_t... I>
static inline void call(void (*f)(A...), void** args, std::index_sequence<I...>) { f(*(A*)args[I]...); }
template <class... A>
static inline void call(void (*f)(A...), void** args) { call(f, args, std::index_sequence_for<A...>()); }

// -- exchange within a warp --

static uint64_t slots[MOST_THREADS];

template <class T>
static inline T exchange(T x, unsigned from) {
  memcpy(&slots[thread()], &x, sizeof(T));
  barrier(true);
  T y;
  memcpy(&y, &slots[from], sizeof(T));
  barrier(true);
  return y;
}

}  // namespace host

static inline void __syncthreads() { host::barrier(false); }
static inline void __syncwarp(unsigned = 0) { host::barrier(true); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

template <class T>
static inline T __shfl_xor_sync(unsigned, T x, int mask, int = 32) { return host::exchange(x, host::thread() ^ mask); }
template <class T>
static inline T __shfl_down_sync(unsigned, T x, unsigned d, int w = 32) {
  unsigned t = host::thread();
  return host::exchange(x, t % w + d < (unsigned)w ? t + d : t);
}
template <class T>
static inline T __shfl_up_sync(unsigned, T x, unsigned d, int w = 32) {
  unsigned t = host::thread();
  return host::exchange(x, t % w >= d ? t - d : t);
}
template <class T>
static inline T __shfl_sync(unsigned, T x, int lane, int w = 32) {
  unsigned t = host::thread();
  return host::exchange(x, t - t % w + lane % w);
}

// -- atomic operations: threads run one after the other, so that plain ones will do --

#define HOST_ATOMIC(name, result)                           \
  template <class A, class B>                               \
  static inline A name(A* p, B v) {                         \
    A old = *p;                                             \
    *p = result;                                            \
    return old;                                             \
  }
HOST_ATOMIC(atomicAdd, old + v)
HOST_ATOMIC(atomicSub, old - v)
HOST_ATOMIC(atomicMax, old < (A)v ? (A)v : old)
HOST_ATOMIC(atomicMin, (A)v < old ? (A)v : old)
HOST_ATOMIC(atomicExch, v)
HOST_ATOMIC(atomicAnd, old & v)
HOST_ATOMIC(atomicOr, old | v)
HOST_ATOMIC(atomicXor, old ^ v)
template <class A, class B, class C>
static inline A atomicCAS(A* p, B expected, C v) {
  A old = *p;
  if (old == (A)expected) *p = v;
  return old;
}
