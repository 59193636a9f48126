/* SPDX-License-Identifier: MIT */
/* DQG_UNROLL before a loop with a constant count: unroll it whole, so that arrays of accumulators become registers.
 * DQG_EACH(v, count) is the head of such a loop. */
#ifndef DQG_TEMPLATE_UNROLL_H
#define DQG_TEMPLATE_UNROLL_H

#ifdef __clang__
#define DQG_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DQG_UNROLL _Pragma("GCC unroll 16")
#endif

#define DQG_EACH(v, count) DQG_UNROLL for (int v = 0; v < (count); v++)

#endif
